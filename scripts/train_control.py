"""Train a control of a model's denoiser: ECGs that follow some of their leads, such as lead I of a watch.

python scripts/train_control.py default --store STORE --output runs/control [--resume]

MODEL: a model folder, or "default"; it stays as it is. OUTPUT/weights.safetensors is the control, for
`ecgtwin follow --control` and `ECGTwin.load_control`.
"""

from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.ecg.store.recordings import Recordings, fitting
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.dry_run import dry_run
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.run import Run
from ecgtwin.training.control import ControlStage, read_settings
from ecgtwin.twin.model import named
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: Annotated[Path, typer.Argument(help='a model folder, or "default"')],
    store: o.Stores,
    output: o.Output,
    config: o.Configuration = Path("configs/control.yaml"),
    records: o.Records = None,
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    resume: o.Resume = False,
    dry: o.DryRun = False,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        settings = read_settings(config, set_)
        run, accelerator = Run(output, resume or dry), accelerator_of(cpu)
        twin = ECGTwin.from_pretrained(named(model), device=str(accelerator.device))
        signal = twin.config.signal
        recordings = o.only(Recordings.of([fitting(path, signal.rate, signal.samples) for path in store]), records)
        stage = ControlStage.of(twin, recordings, settings)
        training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
        if dry:
            return o.needed(dry_run(training, stage), as_json)
        with run.of(training, stage):
            for step in fit(training, stage):
                run.log(step)
                if stage.plan.due(step.number):
                    run.keep(run.validate())
                if stage.plan.saves(step.number) or step.stopping:
                    run.save()
        o.told(run.kept, as_json)


if __name__ == "__main__":
    app()
