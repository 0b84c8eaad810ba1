"""What the training scripts share: their options, and how stores, statement tables and configurations are opened."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Json, tell

if TYPE_CHECKING:
    from ..ecg.store.recordings import Recordings
    from ..text.table import StatementTable
    from ..training.config import Config

MODEL = "or a model folder, 'default' for the one in the package"
Stores = Annotated[
    list[Path], typer.Option("--store", help="made by `ecgtwin data prepare`, or a simulated cohort; repeat to mix")
]
Output = Annotated[Path, typer.Option(help="folder for checkpoints, weights and losses")]
Configuration = Annotated[Path, typer.Option("--config", help="model and training, YAML")]
Overrides = Annotated[list[str], typer.Option("--set", help="override, section.key=value; repeat")]
Resume = Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint in OUTPUT")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print shapes, parameters, memory and time, and keep nothing")]
Seed = Annotated[int | None, typer.Option(help="instead of the configuration's")]
Cpu = Annotated[bool, typer.Option("--cpu", help="leave GPUs alone")]
Vae = Annotated[Path, typer.Option(help=f"weights.safetensors of train_vae.py, {MODEL}")]
Base = Annotated[Path, typer.Option(help=f"weights.safetensors of train_base.py, {MODEL}")]
Start = Annotated[Path | None, typer.Option(help=f"fine-tune: begin from these weights of the same stage; {MODEL}")]
Statements = Annotated[
    Path | None, typer.Option(help="statement table of embed_statements.py; left out: the one inside the package")
]

__all__ = ["Json"]


def settings_of(config: Path, overrides: list[str], stages: tuple[str, ...], seed: int | None = None) -> "Config":
    """The configuration with its overrides; seed: of these stages, instead of the configuration's."""
    from ..training.config import read_config

    more = [] if seed is None else [f"train.{stage}.seed={seed}" for stage in stages]
    return read_config(config, [*overrides, *more])


def recordings_of(stores: list[Path], settings: "Config") -> "Recordings":
    """The recordings of stores that fit the model."""
    from ..ecg.store.recordings import Recordings, fitting

    signal = settings.model.signal
    return Recordings.of([fitting(folder, signal.rate, signal.samples) for folder in stores])


def table_of(path: Path | None, settings: "Config") -> "StatementTable":
    """The statement table at a path, or the default model's. ValueError where it is not as
    wide as the model expects."""
    from ..text.table import StatementTable
    from ..twin.model import DEFAULT

    table = StatementTable.load(path or DEFAULT / "statements")
    if table.width != settings.model.text.width:
        raise ValueError(
            f"statement vectors are {table.width} wide ({table.encoder}), the configuration says "
            f"{settings.model.text.width}: "
            "give the table of the encoder it was written for (--statements), or set model.text.width"
        )
    return table


def told(figures: dict[str, Any], as_json: bool) -> None:
    """Print a stage's figures."""
    tell(figures, " ".join(f"{k}={v:.4g}" for k, v in figures.items()), as_json)


def needed(found: dict[str, Any], as_json: bool) -> None:
    """Print what a dry run found."""
    from ..train.dry_run import summary

    tell(found, summary(found), as_json)
