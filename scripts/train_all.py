"""The whole recipe: auto-encoder, base extractor, denoiser, and the model folder that `ECGTwin.from_pretrained` loads.

python scripts/train_all.py configs/small.yaml STORE OUT [--store COHORT] [--statements TABLE]

Run it again after an interruption: stages that are finished and whose inputs are unchanged are skipped, others go on.
"""

from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import tell
from ecgtwin.train.device import accelerator_of
from ecgtwin.training.recipe import train_all

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    config: Annotated[Path, typer.Argument(help="model and training, YAML")],
    store: Annotated[Path, typer.Argument(help="made by `ecgtwin data prepare`, or a simulated cohort")],
    out: Annotated[Path, typer.Argument(help="folder for the stages and the model")],
    more: Annotated[
        list[Path], typer.Option("--store", help="further stores, such as a simulated cohort; repeat")
    ] = [],  # noqa: B006
    statements: o.Statements = None,
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    least: Annotated[int, typer.Option(help="training ECGs that a statement needs to count as known", min=1)] = 5,
    half: Annotated[bool, typer.Option("--half", help="store the model as float16")] = False,
    seed: o.Seed = None,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        accelerator = accelerator_of(cpu)
        settings = o.settings_of(config, set_, ("vae", "base", "denoiser"), seed)
        recordings = o.recordings_of([store, *more], settings)
        table = o.table_of(statements, settings)
        found = train_all(settings, recordings, table, out, least=least, half=half, accelerator=accelerator, report=say)
        tell(found, "\n".join(f"{name}: {figures}" for name, figures in found.items()), as_json)


if __name__ == "__main__":
    app()
