"""Teach a model a subject: a statement or word of its own (Textual Inversion), with --adapter a LoRA too (DreamBooth).

python scripts/train_subject.py ecg --store STORE --subject "patient A=records_a.txt" --output runs/patient
python scripts/train_subject.py image MODEL --data FOLDER --word tilted --like handwritten --output runs/tilted

ecg: each --subject is a name and a file of its recordings' names, one a line; several are learned side by side. image:
the pictures' captions have the word. OUTPUT has a file for each subject, and adapter.safetensors with --adapter:

ecgtwin generate record.hea --report "sinus rhythm" --report "patient A" --learned "runs/patient/patient A.safetensors"
ecgtwin image generate MODEL "a tilted seven" --learned runs/tilted/tilted.safetensors
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import tell

if TYPE_CHECKING:
    from ecgtwin.train.subject import SubjectPlan, SubjectStage

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Like = Annotated[str | None, typer.Option(help="a known one that the new one begins as; the mean of all if left out")]
Adapter = Annotated[bool, typer.Option("--adapter", help="also train an adapter; rank and layers: adapter.rank=4 …")]
Set = Annotated[list[str] | None, typer.Option("--set", help="of the training: steps=200, prior=0.5, adapter.rank=8 …")]
PLAN = {"steps": 200, "batch": 32, "lr": 1.0e-2, "warmup": 10, "ema_decay": 0.98, "validate_every": 1000}
WITH_ADAPTER = {"lr": 2.0e-3, "adapter": {}}


@app.command()
def ecg(
    store: o.Stores,
    subject: Annotated[list[str], typer.Option(help="NAME=FILE; repeat")],
    output: o.Output,
    model: Annotated[str, typer.Option(help='a model folder, or "default"')] = "default",
    like: Like = None,
    adapter: Adapter = False,
    set_: Set = None,
    resume: o.Resume = False,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    """A patient with a few ECGs, or a hospital, as a statement."""
    with refusing():
        from ecgtwin.ecg.store import Store
        from ecgtwin.ecg.store.recordings import Recordings
        from ecgtwin.nets import adapters
        from ecgtwin.train.device import accelerator_of
        from ecgtwin.training.subject import subject_stage
        from ecgtwin.twin import subject as statements
        from ecgtwin.twin.twin import ECGTwin

        plan, accelerator = plan_of(set_, adapter), accelerator_of(cpu)
        twin = ECGTwin.from_pretrained(model, device=str(accelerator.device))
        recordings, rows = Recordings.of([Store.open(folder) for folder in store]), {}
        names = np.array([r.split(" (")[0] for r in map(recordings.name, range(len(recordings)))])
        for text in subject:
            name, _, file = text.rpartition("=")
            lines = [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
            rows[name] = np.flatnonzero(np.isin(names, lines)).tolist()
            if not name or len(rows[name]) != len(lines) or not lines:
                raise ValueError(f"--subject {text}: {len(rows[name])} of {len(lines)} recordings are in the store")
        base = adapters.fingerprint(twin.parts.denoiser)
        stage = subject_stage(twin, recordings, rows, plan, like=like)
        trained(stage, output, resume, accelerator)
        found = {}
        for name, vector in zip(rows, stage.network.learned.detach().cpu(), strict=True):
            found[name] = str(statements.save(output / f"{file_name(name)}.safetensors", name, vector, base))
        told(found, twin.parts.denoiser, output, plan, as_json)


@app.command()
def image(
    model: Annotated[Path, typer.Argument(help="model folder, as `ecgtwin image train` writes it to OUTPUT/model")],
    data: Annotated[Path, typer.Option(help="folder of images with captions that have the word")],
    word: Annotated[str, typer.Option(help="of the captions, that the model does not know")],
    output: o.Output,
    like: Like = None,
    adapter: Adapter = False,
    set_: Set = None,
    resume: o.Resume = False,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    """A style or a thing as a word of captions."""
    with refusing():
        from ecgtwin.image.config import DataConfig
        from ecgtwin.image.dataset import read_folder
        from ecgtwin.image.pipeline import ImagePipeline
        from ecgtwin.image.subject import save_word, subject_stage
        from ecgtwin.train.device import accelerator_of

        plan, accelerator = plan_of(set_, adapter), accelerator_of(cpu)
        pipeline = ImagePipeline.from_pretrained(model, device=str(accelerator.device))
        pictures = read_folder(data, pipeline.config.picture, DataConfig())
        stage = subject_stage(pipeline, pictures, word, plan, like=like)
        trained(stage, output, resume, accelerator)
        found = {word: str(save_word(output / f"{file_name(word)}.safetensors", pipeline, word))}
        told(found, pipeline.network, output, plan, as_json)


def plan_of(overrides: list[str] | None, adapter: bool) -> "SubjectPlan":
    from ecgtwin.train.strict import overridden, parse
    from ecgtwin.train.subject import SubjectPlan

    return parse(SubjectPlan, overridden(PLAN | (WITH_ADAPTER if adapter else {}), overrides), "--set")


def trained(stage: "SubjectStage", output: Path, resume: bool, accelerator) -> None:
    """Train a stage to its end; its network then has the averaged weights."""
    from ecgtwin.train.loop import Training, fit
    from ecgtwin.train.run import Run

    training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
    run = Run(output, resume)
    with run.of(training, stage):
        for step in fit(training, stage):
            run.finish(step)
    stage.finish(training.ema.shadow)


def told(found: dict[str, str], network, output: Path, plan: "SubjectPlan", as_json: bool) -> None:
    """Write the adapter, where there is one, and print which file is what."""
    from ecgtwin.nets import adapters

    if plan.adapter is not None:
        found["adapter"] = str(adapters.save(network, output / "adapter.safetensors", adapters.TRAINED))
    tell(found, "\n".join(f"{name}: {file}" for name, file in found.items()), as_json)


def file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_. -]", "_", name)


if __name__ == "__main__":
    app()
