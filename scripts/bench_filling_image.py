"""What is filled in, varied and followed of pictures: held-out digits, read by a classifier trained on real ones.

python scripts/bench_filling_image.py runs/unet/model --data digits [--control FILE] [--pictures 60] [--picture out.png]

"recognised": by the classifier. Inpainting: the lower half is drawn anew under the digit's caption; "left grey": the
half in mid-grey; "another caption": under that of the next digit, and read as that. Variations: recognised as the next
digit, and RMS difference from the picture, at each strength. Control: pictures that follow the edges of a held-out
digit under its caption; "edges": correlation of their edges with those asked for, beside pictures of the same caption
and seed without the control.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ecgtwin.atomic import write_file
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.cli.pictures import Data, read_pictures
from ecgtwin.image.control import edges
from ecgtwin.image.dataset import as_pixels
from ecgtwin.image.judge import train_judge
from ecgtwin.image.picture import as_images, grid
from ecgtwin.image.pipeline import ImagePipeline
from ecgtwin.train.device import accelerator_of

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def pixels_of(images: list[Image.Image]) -> Tensor:
    return torch.stack([as_pixels(torch.from_numpy(np.array(image))[None]) for image in images])


def correlation(a: Tensor, b: Tensor) -> float:
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a, b))
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-9)).mean())


@app.command(help=__doc__)
def main(
    model: Annotated[Path, typer.Argument(help="a model folder of `ecgtwin image train`, of grey pictures")],
    data: Data = "digits",
    control: Annotated[Path | None, typer.Option(help="a control that reads edges")] = None,
    pictures: Annotated[int, typer.Option(help="held-out pictures", min=10)] = 60,
    steps: Annotated[int, typer.Option(help="denoising steps", min=1)] = 10,
    resample: Annotated[int, typer.Option(help="times that each step of filling is made", min=1)] = 4,
    judge_steps: Annotated[int, typer.Option(help="training steps of the classifier", min=1)] = 300,
    picture: Annotated[Path | None, typer.Option(help="rows of pictures: what was given, and what was made")] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing():
        pipeline = ImagePipeline.from_pretrained(model, device="cpu")
        settings = pipeline.parts.data
        seen, held = read_pictures(data, pipeline.config, settings).split(settings.held)
        held, _ = held.readable(pipeline.text)
        held = held.select(list(range(0, len(held), max(1, len(held) // pictures)))[:pictures])
        judge = train_judge(seen, steps=judge_steps, accelerator=accelerator_of(cpu=True))
        real, captions = held.centred().pixels, list(held.captions)
        names = sorted(set(captions))
        others = [names[(names.index(c) + 1) % len(names)] for c in captions]
        given, size = as_images(real), pipeline.config.picture.size
        known = torch.ones(size, size, dtype=torch.bool)
        known[size // 2 :] = False
        how = {"steps": steps, "resample": resample}
        rows = [real]

        def made(name: str, draw: Any) -> Tensor:
            return pixels_of([draw(k)[0] for k in tqdm(range(len(given)), desc=name)])

        grey = torch.where(known, real, torch.zeros(()))
        filled = made("filled", lambda k: pipeline.fill(given[k], known, captions[k], seed=k, **how))
        other = made("another", lambda k: pipeline.fill(given[k], known, others[k], seed=k, **how))
        rows += [grey, filled, other]
        figures: dict[str, Any] = {
            "pictures": len(given),
            "real": {"recognised": judge.accuracy(real, captions)},
            "left grey": {"recognised": judge.accuracy(grey, captions)},
            "filled": {"recognised": judge.accuracy(filled, captions)},
            "another caption": {"recognised": judge.accuracy(other, others)},
        }
        for strength in STRENGTHS:
            more = {"strength": strength, "steps": steps}
            varied = made(f"{strength}", lambda k, more=more: pipeline.vary(given[k], others[k], seed=k, **more))
            rms = float((varied - real).square().mean().sqrt())
            figures[f"strength {strength}"] = {"recognised": judge.accuracy(varied, others), "rms": rms}
        if control is not None:
            pipeline.load_control(control)
            followed = made("followed", lambda k: pipeline.follow(given[k], captions[k], seed=k, steps=steps))
            free = made("free", lambda k: pipeline.generate(captions[k], seed=k, steps=steps))
            wanted = edges(real)
            for name, x in (("followed", followed), ("without control", free)):
                alike = correlation(edges(x), wanted)
                figures[name] = {"recognised": judge.accuracy(x, captions), "edges": alike}
            rows += [wanted * 2 - 1, followed, free]
        if picture is not None:
            chosen = torch.linspace(0, len(given) - 1, 12).long()
            sheet = grid([image for x in rows for image in as_images(x[chosen])], len(chosen), scale=6)
            write_file(picture, lambda part: sheet.save(part, format="PNG"))
        lines = [f"{name}: {', '.join(f'{k} {v:.3f}' for k, v in found.items())}" for name, found in figures.items()
                 if isinstance(found, dict)]  # fmt: skip
        tell(figures, "\n".join(lines), as_json, output)


if __name__ == "__main__":
    app()
