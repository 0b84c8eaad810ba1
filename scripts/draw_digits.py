"""Draw digits of 32 x 32 pixels in the fonts that come with matplotlib, turned, slanted and stretched at random.

python scripts/draw_digits.py --output digits32 [--n 3000] [--seed 0]
python scripts/draw_digits.py --handwritten --output canvases

--handwritten: scikit-learn's digits of 8 x 8 pixels instead, a third as they are, a third each at a random place of a
black canvas of 8 x 12 and of 12 x 8. OUTPUT is a folder of pictures with captions, as `ecgtwin image train --data` and
train_cascade_image.py read it.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from PIL import Image

from ecgtwin.atomic import write_text
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, tell
from ecgtwin.image.dataset import DIGITS

SIZE, FINE = 32, 4
FAMILIES = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral", "cmr10", "cmss10", "cmtt10")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def digit(number: int, rng: np.random.Generator) -> Image.Image:
    """One digit, white on black."""
    font = FontProperties(
        family=str(rng.choice(FAMILIES)),
        weight=str(rng.choice(["normal", "bold"])),
        style=str(rng.choice(["normal", "italic"])),
    )
    path = TextPath((0, 0), str(number), size=10, prop=font)
    angle, slant = rng.normal(0, 0.12), rng.normal(0, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = path.vertices @ (turn @ np.array([[1, slant], [0, 1]])).T
    low, high = points.min(0), points.max(0)
    side = np.array([rng.uniform(14, 22), rng.uniform(22, 28)]) / np.maximum(high - low, 1e-6)
    side = np.minimum(side, 3.0 * side.min())
    points = (points - (low + high) / 2) * side + SIZE / 2 + rng.uniform(-1.5, 1.5, 2)
    grid = (np.arange(SIZE * FINE) + 0.5) / FINE
    x, y = np.meshgrid(grid, SIZE - grid)
    inside = np.zeros(x.size, int)
    # Holes turn the other way round: what is inside an even number of outlines is outside.
    for outline in Outline(points, path.codes).to_polygons():
        inside += Outline(outline).contains_points(np.stack([x.ravel(), y.ravel()], 1))
    ink = (inside % 2).reshape(SIZE, FINE, SIZE, FINE).mean((1, 3))
    return Image.fromarray((255 * ink).round().astype(np.uint8))


def canvases(seed: int) -> list[tuple[Image.Image, str]]:
    from ecgtwin.image.config import DataConfig, PictureConfig
    from ecgtwin.image.dataset import read_digits

    digits, rng = read_digits(PictureConfig(size=8, channels=1), DataConfig()), np.random.default_rng(seed)
    found = []
    for k, (image, caption) in enumerate(zip(digits.images, digits.captions, strict=True)):
        canvas = Image.new("L", ((8, 8), (12, 8), (8, 12))[k % 3])
        canvas.paste(Image.fromarray(image[0].numpy()), [int(rng.integers(n - 8 + 1)) for n in canvas.size])
        found.append((canvas, caption))
    return found


@app.command(help=__doc__)
def main(
    output: Annotated[Path, typer.Option(help="folder for the pictures")],
    n: Annotated[int, typer.Option("-n", "--n", help="how many", min=10)] = 3000,
    seed: Annotated[int, typer.Option(help="of all chance")] = 0,
    handwritten: Annotated[bool, typer.Option("--handwritten", help="handwritten digits on canvases")] = False,
    as_json: Json = False,
) -> None:
    with refusing():
        output.mkdir(parents=True, exist_ok=True)
        printed = ((digit(k % 10, np.random.default_rng([seed, k])), f"a printed {DIGITS[k % 10]}") for k in range(n))
        lines = []
        for k, (image, caption) in enumerate(canvases(seed) if handwritten else printed):
            image.save(output / f"{k:05d}.png")
            lines.append(json.dumps({"file_name": f"{k:05d}.png", "text": caption}))
        write_text(output / "metadata.jsonl", "\n".join(lines) + "\n")
        tell({"pictures": len(lines), "folder": str(output)}, f"{len(lines)} pictures in {output}", as_json)


if __name__ == "__main__":
    app()
