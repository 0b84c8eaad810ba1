"""Train stage 0, the auto-encoder, on the training patients of one or more stores.

python scripts/train_vae.py --store STORE --output runs/vae [--config configs/base.yaml]
    [--set train.vae.steps=100] [--resume]
"""

from pathlib import Path

import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.dry_run import dry_run
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.run import Run
from ecgtwin.training.vae import VAEStage

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    store: o.Stores,
    output: o.Output,
    config: o.Configuration = Path("configs/small.yaml"),
    start: o.Start = None,
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    resume: o.Resume = False,
    dry: o.DryRun = False,
    seed: o.Seed = None,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        settings = o.settings_of(config, set_, ("vae",), seed)
        run, accelerator = Run(output, resume or dry), accelerator_of(cpu)
        stage = VAEStage(settings, o.recordings_of(store, settings), accelerator, start)
        training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
        if dry:
            return o.needed(dry_run(training, stage), as_json)
        with run.of(training, stage):
            for step in fit(training, stage):
                run.finish(step)  # its figures are logged; where due, it is validated, kept and saved
        o.told(run.kept, as_json)


if __name__ == "__main__":
    app()
