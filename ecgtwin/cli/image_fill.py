"""`ecgtwin image fill` and `ecgtwin image vary`: a part of a picture drawn anew, and variations of a whole one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import refusing, say
from .fill import N, Strength
from .options import Adapters, Device, Overwrite
from .pictures import Folder, Guidance, Model, Picture, Seed, Steps, kept, pipeline_of, read_picture, refuse_used

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..image.pipeline import ImagePipeline


def fill(
    model: Model,
    picture: Picture,
    caption: Annotated[str, typer.Argument(help="what the picture shows")],
    box: Annotated[str, typer.Option(help="TOP,LEFT,BOTTOM,RIGHT in pixels of the model: what is drawn anew")],
    n: N = 1,
    seed: Seed = 0,
    steps: Steps = 20,
    resample: Annotated[int, typer.Option(help="times that each step is made", min=1)] = 8,
    guidance: Guidance = 1.5,
    output: Folder = Path("filled"),
    adapter: Adapters = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Draw a part of PICTURE anew, N times. What lies outside the box stays."""
    with refusing():
        import torch

        refuse_used(output, overwrite)
        pipeline = pipeline_of(model, adapter, device)
        height, width = pipeline.config.picture.shape
        try:
            top, left, bottom, right = map(int, box.split(","))
        except ValueError:
            raise ValueError(f"--box {box}: expected TOP,LEFT,BOTTOM,RIGHT such as 0,0,4,{width}") from None
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise ValueError(
                f"--box {box}: expected corners within {height} x {width} pixels, top above bottom, left before right"
            )
        known = torch.ones(height, width, dtype=torch.bool)
        known[top:bottom, left:right] = False
        options = {"steps": steps, "resample": resample, "guidance": guidance, "seed": seed}
        images = pipeline.fill(read_picture(picture), known, caption, n, **options)
        written(pipeline, images, output, "filled", model, picture, caption, {"box": box, **options})


def vary(
    model: Model,
    picture: Picture,
    caption: Annotated[str, typer.Argument(help="what the variations show")],
    strength: Strength = 0.5,
    n: N = 1,
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(help="denoising steps of a whole run", min=1)] = 20,
    guidance: Guidance = 1.5,
    output: Folder = Path("varied"),
    adapter: Adapters = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """N variations of PICTURE: noise is added up to STRENGTH and taken away again under CAPTION (SDEdit)."""
    with refusing():
        refuse_used(output, overwrite)
        pipeline = pipeline_of(model, adapter, device)
        options = {"strength": strength, "steps": steps, "guidance": guidance, "seed": seed}
        images = pipeline.vary(read_picture(picture), caption, n, **options)
        written(pipeline, images, output, "varied", model, picture, caption, options)


def written(
    pipeline: "ImagePipeline",
    images: list["Image"],
    output: Path,
    name: str,
    model: Path,
    picture: Path,
    caption: str,
    settings: dict[str, Any],
) -> None:
    """Pictures, a grid of them and a sidecar that says how they were made."""
    rows = [
        {"file": f"{name}_{k:03d}.png", "caption": caption, "seed": settings["seed"] + k} for k in range(len(images))
    ]
    facts = {"model": str(model), "device": str(pipeline.device), "picture": str(picture)}
    facts["settings"] = {**settings, "adapters": pipeline.adapters}
    kept(images, rows, output, facts, columns=len(images))
    say(f"{len(images)} pictures in {output}")
