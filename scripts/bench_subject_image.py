"""A style of digits as a learned word: does it show, and do plain digits stay plain?

python scripts/bench_subject_image.py pictures --style inverted --output inverted
python scripts/train_subject.py image MODEL --data inverted --word inverted --like handwritten --output runs/word
… the same with --adapter --output runs/both
python scripts/bench_subject_image.py compare MODEL --style inverted --learned runs/word --learned runs/both

A judge is trained on real digits, plain and in the style, that are not among the 20. hit: it reads the digit that was
asked for, in the style; kept: asked for plain digits, it reads them as plain ones.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, Output, as_table, tell
from ecgtwin.image.config import DataConfig, PictureConfig
from ecgtwin.image.dataset import DIGITS, Pictures, read_digits
from ecgtwin.image.evaluation import generate_like
from ecgtwin.image.judge import Judge, train_judge
from ecgtwin.image.picture import as_images, grid
from ecgtwin.image.pipeline import ImagePipeline

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
STYLES = {
    "inverted": lambda x: 255 - x,
    "turned": lambda x: torch.rot90(x, 1, (1, 2)),
    "mirrored": lambda x: x.flip(2),
    "faint": lambda x: x // 3,
}
Style = Annotated[str, typer.Option(help=", ".join(STYLES))]
EACH = 2
"""Pictures of each digit that are taught."""


def styled(style: str) -> tuple[Pictures, Pictures, Pictures]:
    """Digits in a style that are taught; and others, plain and in the style. ValueError for an unknown style."""
    if style not in STYLES:
        raise ValueError(f"style {style!r}: expected one of {', '.join(STYLES)}")
    found = read_digits(PictureConfig(size=8, channels=1), DataConfig())
    rows = [k for d in DIGITS for k in [i for i, c in enumerate(found.captions) if c.endswith(d)][:EACH]]
    rest = found.select([k for k in range(len(found)) if k not in rows])
    return changed(found.select(rows), style), rest, changed(rest, style)


def changed(pictures: Pictures, style: str) -> Pictures:
    captions = tuple(c.replace("handwritten", style) for c in pictures.captions)
    return Pictures(tuple(STYLES[style](x) for x in pictures.images), (), pictures.originals, captions, pictures.size)


@app.command()
def pictures(
    output: Annotated[Path, typer.Option(help="folder of pictures with captions.csv")],
    style: Style = "inverted",
    as_json: Json = False,
) -> None:
    """Write the digits that are taught."""
    with refusing():
        found = styled(style)[0]
        output.mkdir(parents=True, exist_ok=True)
        lines = ["file,caption"]
        for k, (image, caption) in enumerate(
            zip(as_images(torch.stack(found.images) / 127.5 - 1), found.captions, strict=True)
        ):
            image.save(output / f"{k:02d}.png")
            lines.append(f"{k:02d}.png,{caption}")
        (output / "captions.csv").write_text("\n".join(lines) + "\n")
        tell({"pictures": len(found)}, f"{len(found)} pictures in {output}", as_json)


@app.command()
def compare(
    model: Annotated[Path, typer.Argument(help="model folder")],
    learned: Annotated[list[Path], typer.Option(help="OUTPUT of train_subject.py; repeat for several rows")],
    style: Style = "inverted",
    n: Annotated[int, typer.Option("-n", help="images of each digit", min=1)] = 20,
    picture: Annotated[Path | None, typer.Option(help="PNG: two images of each digit, a row for each model")] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Print a table: the prompt alone, and each learned word."""
    with refusing():
        _, plain, other = styled(style)
        both = Pictures(
            plain.images + other.images, (), torch.cat([plain.originals, other.originals]),
            plain.captions + other.captions, plain.size,
        )  # fmt: skip
        judge = train_judge(both)
        in_words = [f"a handwritten {d}" for d in DIGITS for _ in range(n)]
        in_style = [c.replace("handwritten", style) for c in in_words]
        real = other.select(np.random.default_rng(0).permutation(len(other))[:200].tolist())
        rows: list[dict[str, Any]] = [
            {
                "drawn by": "real digits in the style",
                "hit %": 100 * judge.accuracy(real.centred().pixels, real.captions),
            }
        ]
        drawn = []
        pipeline = ImagePipeline.from_pretrained(model, device="cpu")
        made = generate_like(pipeline, in_words)
        rows.append(row("the prompt alone", judge, made, made, in_words, in_style))
        drawn.append(made)
        for folder in learned:
            pipeline = ImagePipeline.from_pretrained(model, device="cpu")
            pipeline.load_word(folder / f"{style}.safetensors")
            if (folder / "adapter.safetensors").is_file():
                pipeline.load_adapter(folder / "adapter.safetensors")
            made = generate_like(pipeline, in_style)
            rows.append(row(folder.name, judge, made, generate_like(pipeline, in_words), in_words, in_style))
            drawn.append(made)
        if picture is not None:
            shown = [k * n + j for k in range(10) for j in range(min(2, n))]
            grid([one for x in drawn for one in as_images(x[shown])], len(shown), scale=4).save(picture)
        text = ["| drawn by | hit | kept |", "|---|---|---|"]
        text += [f"| {r['drawn by']} | {r['hit %']:.1f} % | {said(r.get('kept %'))} |" for r in rows]
        tell(rows, "\n".join(text), as_json, output)


@app.command()
def weigh(
    model: Annotated[Path, typer.Argument(help="model folder")],
    learned: Annotated[Path, typer.Option(help="OUTPUT of train_subject.py")],
    style: Style = "inverted",
    n: Annotated[int, typer.Option("-n", help="images of each digit", min=1)] = 6,
    picture: Annotated[Path | None, typer.Option(help="PNG: a row for each weight")] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Print what the weight of the style's word does to its share of light pixels."""
    with refusing():
        pipeline, rows, drawn = ImagePipeline.from_pretrained(model, device="cpu"), [], []
        pipeline.load_word(learned / f"{style}.safetensors")
        if (learned / "adapter.safetensors").is_file():
            pipeline.load_adapter(learned / "adapter.safetensors")
        for weight in (0.0, 0.5, 1.0, 1.5, 2.0):
            made = [one for d in DIGITS for one in pipeline.rewrite(f"a {style} {d}", weights={style: weight}, n=n)]
            light = np.mean([np.asarray(one, float).mean() / 255 for one in made])
            rows.append({"weight": weight, "mean brightness": float(light)})
            drawn += made[::n]
        if picture is not None:
            grid(drawn, len(DIGITS), scale=4).save(picture)
        tell(rows, as_table(rows), as_json, output)


def row(name: str, judge: Judge, made: torch.Tensor, plain: torch.Tensor, in_words: list, in_style: list) -> dict:
    hit, kept = judge.accuracy(made, in_style), judge.accuracy(plain, in_words)
    return {"drawn by": name, "hit %": 100 * hit, "kept %": 100 * kept}


def said(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} %"


if __name__ == "__main__":
    app()
