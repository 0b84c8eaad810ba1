"""What the training scripts share: their options, and how stores, statement tables and configurations are opened."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Json, tell

if TYPE_CHECKING:
    import numpy as np

    from ..ecg.store.recordings import Recordings
    from ..ecg.store.store import Store
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
Adapter = Annotated[
    bool,
    typer.Option(
        "--adapter", help="train an adapter (LoRA) of the weights in --start; kind, rank: train.denoiser.adapter"
    ),
]
Records = Annotated[
    Path | None,
    typer.Option(
        help="text file of names of recordings, one a line: only these are used, so name validation patients too"
    ),
]
Others = Annotated[
    Path | None,
    typer.Option(
        help="with --adapter and --records: the same of recordings for whose persons the model shall stay as it is; "
        "their share of a batch: train.denoiser.preserve"
    ),
]
Statements = Annotated[
    Path | None, typer.Option(help="statement table of embed_statements.py; left out: the one inside the package")
]

__all__ = ["Json"]


def settings_of(
    config: Path, overrides: list[str], stages: tuple[str, ...], seed: int | None = None, *, adapter: bool = False
) -> "Config":
    """The configuration with its overrides; seed: of these stages, instead of the configuration's. adapter: of the
    denoiser, as the configuration says or else by default."""
    from ..training.config import read_config

    more = [] if seed is None else [f"train.{stage}.seed={seed}" for stage in stages]
    found = read_config(config, [*overrides, *more])
    if adapter and found.train.denoiser.adapter is None:
        found = read_config(config, [*overrides, *more, "train.denoiser.adapter={}"])
    return found


def recordings_of(stores: list[Path], settings: "Config", records: Path | None = None) -> "Recordings":
    """The recordings of stores that fit the model; only those that are named in the file
    `records`, where there is one."""
    from ..ecg.store.recordings import Recordings, fitting

    signal = settings.model.signal
    return only(Recordings.of([fitting(folder, signal.rate, signal.samples) for folder in stores]), records)


def with_others(
    stores: list[Path], settings: "Config", records: Path | None, others: Path | None
) -> tuple["Recordings", "np.ndarray | None"]:
    """The recordings that both files name, and which of them are those of `records`; None: there are no others."""
    found = recordings_of(stores, settings)
    if others is None:
        return only(found, records), None
    if records is None:
        raise ValueError("--others without --records: name those that the adapter is of, too")
    found = found.where(found.are_named(names_in(records)) | found.are_named(names_in(others)))
    return found, found.are_named(names_in(records))


def names_in(file: Path) -> list[str]:
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def only(found: "Recordings", records: Path | None) -> "Recordings":
    """The recordings that the file `records` names; all where there is none."""
    if records is None:
        return found
    return found.named(names_in(records))


def at_rate(store: "Store", rate: float) -> "Store":
    """ValueError where a store has another rate."""
    if store.rate != rate:
        raise ValueError(f"{store.folder} is at {store.rate:g} Hz: prepare it with --rate {rate:g}")
    return store


def table_of(path: Path | None, settings: "Config") -> "StatementTable":
    """The statement table at a path, or the default model's. ValueError where it is not as
    wide as the model expects."""
    from ..text.table import StatementTable
    from ..twin.model import DEFAULT

    table = StatementTable.load(path or DEFAULT / "statements")
    if table.width != settings.model.text.width:
        raise ValueError(
            f"statement vectors are {table.width} wide ({table.encoder}), the configuration says "
            f"{settings.model.text.width}: give the table of the encoder it was written for (--statements), or set "
            "model.text.width"
        )
    return table


def told(figures: dict[str, Any], as_json: bool) -> None:
    """Print a stage's figures."""
    tell(figures, " ".join(f"{k}={v:.4g}" for k, v in figures.items()), as_json)


def needed(found: dict[str, Any], as_json: bool) -> None:
    """Print what a dry run found."""
    from ..train.dry_run import summary

    tell(found, summary(found), as_json)
