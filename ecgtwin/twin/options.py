"""What the training scripts share: their options, and how stores and statement tables are opened."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

Stores = Annotated[list[Path], typer.Option("--store", help="made by `ecgtwin data prepare`, or a simulated cohort; repeat to mix")]
Output = Annotated[Path, typer.Option(help="folder for checkpoints, weights and losses")]
Configuration = Annotated[Path, typer.Option("--config", help="model and training, YAML")]
Overrides = Annotated[list[str], typer.Option("--set", help="override, section.key=value; repeat")]
Resume = Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint in OUTPUT")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print shapes, parameters, memory and time, and keep nothing")]
Seed = Annotated[int | None, typer.Option(help="instead of the configuration's")]
Cpu = Annotated[bool, typer.Option("--cpu", help="leave GPUs alone")]
Json = Annotated[bool, typer.Option("--json", help="print the report as JSON")]
Vae = Annotated[Path, typer.Option(help="weights.safetensors of train_vae.py")]
Base = Annotated[Path, typer.Option(help="weights.safetensors of train_base.py")]
Statements = Annotated[
    Path | None, typer.Option(help="statement table of embed_statements.py; left out: the one inside the package (MiniLM)")
]


def settings_of(config: Path, overrides: list[str], stages: tuple[str, ...], seed: int | None = None):
    from .config import read_config

    more = [] if seed is None else [f"train.{stage}.seed={seed}" for stage in stages]
    return read_config(config, [*overrides, *more])


def recordings_of(stores: list[Path], settings):
    from .data import Recordings, fitting

    signal = settings.model.signal
    return Recordings.of([fitting(folder, signal.rate, signal.samples) for folder in stores])


def table_of(path: Path | None, settings):
    from ..text.table import StatementTable
    from .files import DEFAULT

    table = StatementTable.load(path or DEFAULT / "statements")
    if table.width != settings.model.text.width:
        raise ValueError(
            f"statement vectors are {table.width} wide ({table.encoder}), the configuration says {settings.model.text.width}: "
            "give the table of the encoder it was written for (--statements), or set model.text.width"
        )
    return table


def accelerator_of(cpu: bool):
    if cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        from accelerate import Accelerator
    except ImportError:
        raise ValueError('training needs the package accelerate: pip install "ecgtwin[train]"') from None
    return Accelerator(cpu=cpu)


def reported(found: dict[str, Any], dry_run: bool, as_json: bool) -> None:
    """Print a stage's figures, or what its dry run found."""
    from ..train.dry import summary

    if as_json:
        typer.echo(json.dumps(found, indent=1))
    elif dry_run:
        typer.echo(summary(found))
    else:
        typer.echo(" ".join(f"{k}={v:.4g}" for k, v in found.items()))
