"""What the commands on pictures share: their options, how models and pictures are read, the folder that they leave."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import adapted

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..image.config import DataConfig, ModelConfig
    from ..image.dataset import Pictures
    from ..image.pipeline import ImagePipeline

Model = Annotated[Path, typer.Argument(help="model folder, as `train` writes it to OUTPUT/model")]
Picture = Annotated[Path, typer.Argument(help="a picture; it is scaled and cut to the model's size")]
Data = Annotated[str, typer.Option(help="'digits' (inside scikit-learn), or a folder of images with captions")]
Steps = Annotated[int, typer.Option(help="denoising steps", min=1)]
Guidance = Annotated[float, typer.Option(help="how strongly the caption acts; 1 = as learned")]
Seed = Annotated[int, typer.Option(help="sample k has seed SEED + k")]
Folder = Annotated[Path, typer.Option(help="folder for images, grid and sidecar")]
SIDECAR, GRID = "images.json", "grid.png"


def pipeline_of(model: Path, adapter: list[str] | None, device: str) -> "ImagePipeline":
    from ..image.pipeline import ImagePipeline

    return adapted(ImagePipeline.from_pretrained(model, device=device), adapter)


def read_pictures(data: str, model: "ModelConfig", settings: "DataConfig") -> "Pictures":
    """The set that an option names."""
    from ..image.dataset import read_digits, read_folder

    if data == "digits":
        return read_digits(model.picture, settings)
    return read_folder(Path(data), model.picture, settings)


def read_picture(path: Path) -> "Image":
    """ValueError for what is no picture."""
    from PIL import UnidentifiedImageError

    from ..image.dataset import read_image

    try:
        return read_image(path)
    except (UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def refuse_used(output: Path, overwrite: bool) -> None:
    """ValueError where the folder holds another run, whose pictures would stand beside a sidecar that does not list
    them."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file: give the name of a folder as --output")
    if (output / SIDECAR).exists() and not overwrite:
        raise ValueError(
            f"{output} holds another run ({SIDECAR}): give another folder as --output, or --overwrite to replace it"
        )


def kept(
    images: Sequence["Image"],
    rows: Sequence[dict[str, Any]],
    output: Path,
    facts: dict[str, Any],
    *,
    columns: int,
    scale: int = 1,
) -> str:
    """Write pictures under the names in their rows, a grid of them and the sidecar, in the place of an earlier run's.
    Returns the sidecar's text."""
    from .. import __version__
    from ..atomic import write_text
    from ..image.picture import grid

    output.mkdir(parents=True, exist_ok=True)
    for old in earlier(output / SIDECAR):
        (output / old).unlink(missing_ok=True)
    for row, image in zip(rows, images, strict=True):
        image.save(output / row["file"])
    grid(images, columns, scale=scale).save(output / GRID)
    text = json.dumps({"ecgtwin": __version__, **facts, "images": list(rows)}, indent=2)
    write_text(output / SIDECAR, text + "\n")
    return text


def earlier(sidecar: Path) -> list[str]:
    """Names of the pictures that a sidecar lists; none where it is missing or damaged."""
    try:
        return [Path(row["file"]).name for row in json.loads(sidecar.read_text())["images"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
