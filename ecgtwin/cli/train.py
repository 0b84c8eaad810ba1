"""What the training scripts share: their options, and how stores and statement tables are opened."""

import inspect
import json
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
MODEL = "or a model folder, 'default' for the one in the package"
Vae = Annotated[Path, typer.Option(help=f"weights.safetensors of train_vae.py, {MODEL}")]
Base = Annotated[Path, typer.Option(help=f"weights.safetensors of train_base.py, {MODEL}")]
Start = Annotated[
    Path | None, typer.Option(help=f"fine-tune: begin from these weights of the same stage in place of chance; {MODEL}")
]
Statements = Annotated[
    Path | None, typer.Option(help="statement table of embed_statements.py; left out: the one inside the package (MiniLM)")
]


def stage_app(name: str, doc: str | None, *needs: str) -> typer.Typer:
    """The command of one stage's script. needs: what it takes beside the store: "vae", "base", "statements"."""
    takes = {"vae": (Vae, ...), "base": (Base, ...), "statements": (Statements, None)}
    options = {"store": (Stores, ...), "output": (Output, ...)} | {need: takes[need] for need in needs}
    options |= {"start": (Start, None), "config": (Configuration, Path("configs/small.yaml"))}
    options |= {"overrides": (Overrides, []), "resume": (Resume, False)}
    options |= {"dry_run": (DryRun, False), "seed": (Seed, None), "cpu": (Cpu, False), "as_json": (Json, False)}

    def main(**given: Any) -> None:
        from .errors import refusing

        with refusing():
            from ..train.device import accelerator_of

            accelerator = accelerator_of(given["cpu"])
            from ..train.dry import dry
            from ..training import base, denoiser, vae, weights

            settings = settings_of(given["config"], given["overrides"], (name,), given["seed"])
            measure = dry if given["dry_run"] else None
            where = weights.Where(given["output"], given["resume"], given["start"], measure, accelerator)
            more = [table_of(given[need], settings) if need == "statements" else given[need] for need in needs]
            train = {"vae": vae.train_vae, "base": base.train_base, "twin": denoiser.train_twin}[name]
            found = train(settings, recordings_of(given["store"], settings), *more, where)
            reported(found, given["dry_run"], given["as_json"])

    # What typer reads: the options as if they had been written out in each script.
    main.__annotations__ = {key: kind for key, (kind, _) in options.items()}
    missing = inspect.Parameter.empty
    main.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=missing if default is ... else default, annotation=kind)
            for key, (kind, default) in options.items()
        ]
    )
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=doc)(main)
    return app


def settings_of(config: Path, overrides: list[str], stages: tuple[str, ...], seed: int | None = None):
    from ..training.config import read_config

    more = [] if seed is None else [f"train.{stage}.seed={seed}" for stage in stages]
    return read_config(config, [*overrides, *more])


def recordings_of(stores: list[Path], settings):
    from ..ecg.store.recordings import Recordings, fitting

    signal = settings.model.signal
    return Recordings.of([fitting(folder, signal.rate, signal.samples) for folder in stores])


def table_of(path: Path | None, settings):
    from ..text.table import StatementTable
    from ..twin.model import DEFAULT

    table = StatementTable.load(path or DEFAULT / "statements")
    if table.width != settings.model.text.width:
        raise ValueError(
            f"statement vectors are {table.width} wide ({table.encoder}), the configuration says {settings.model.text.width}: "
            "give the table of the encoder it was written for (--statements), or set model.text.width"
        )
    return table


def reported(found: dict[str, Any], dry_run: bool, as_json: bool) -> None:
    """Print a stage's figures, or what its dry run found."""
    from ..train.dry import summary

    if as_json:
        typer.echo(json.dumps(found, indent=1))
    elif dry_run:
        typer.echo(summary(found))
    else:
        typer.echo(" ".join(f"{k}={v:.4g}" for k, v in found.items()))
