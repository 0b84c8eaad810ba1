"""Distil a model: a low-rank student that needs one call of the network a step, and few steps.

python scripts/distill.py MODEL --store STORE --output runs/student [--set adapter.rank=8] [--resume]

MODEL: a model folder, or "default". OUTPUT/student.safetensors is what was learned; put it into the model's folder.
"""

from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import ModelFolder
from ecgtwin.ecg.store.recordings import Recordings, fitting
from ecgtwin.nets import student as students
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training
from ecgtwin.train.run import Run, complete
from ecgtwin.train.strict import parse, read_yaml
from ecgtwin.training.distill import DistillConfig, stage_of
from ecgtwin.twin.model import named
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: ModelFolder,
    store: o.Stores,
    output: o.Output,
    config: o.Configuration = Path("configs/distill.yaml"),
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    paths: Annotated[Path | None, typer.Option(help="folder of the teacher's paths; OUTPUT if left out")] = None,
    resume: o.Resume = False,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        settings = parse(DistillConfig, read_yaml(config, set_), str(config))
        run, accelerator = Run(output, resume), accelerator_of(cpu)
        twin = ECGTwin.from_pretrained(named(model), device=str(accelerator.device))
        signal = twin.config.signal
        recordings = Recordings.of([fitting(folder, signal.rate, signal.samples) for folder in store])
        stage = stage_of(twin, recordings, settings, paths or output)
        training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
        kept = complete(run, training, stage)
        with run.averaged() as student:
            facts = {"calls": list(settings.calls), "figures": kept, "steps": training.done}
            students.save(student, output / "student.safetensors", facts)
        o.told(kept, as_json)


if __name__ == "__main__":
    app()
