"""Train a classifier of noisy samples, which guides a model that is there (classifier guidance, arXiv 2105.05233).

python scripts/train_classifier.py ecg --store STORE --output runs/classifier
python scripts/train_classifier.py image MODEL --data digits --output runs/classifier
ecgtwin generate record.hea --report "inverted T waves" --classifier runs/classifier/weights.safetensors=2
ecgtwin image generate MODEL "a handwritten seven" --guidance 0 --classifier runs/classifier/weights.safetensors=1

It reads what the model's denoiser reads, latents or pixels, with the noise of its schedule, and is told how much.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.pictures import Data, Model, read_pictures

if TYPE_CHECKING:
    import torch

    from ecgtwin.diffusion.objective import Objective

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Set = Annotated[list[str] | None, typer.Option("--set", help="of the training: steps=1000, lr=1.0e-3 …")]
PLAN = {"steps": 800, "batch": 128, "lr": 2.0e-3, "warmup": 50, "weight_decay": 0.05, "ema_decay": 0.99,
        "validate_every": 200}  # fmt: skip
WIDTHS = (32, 64, 64)
HELD = 0.1
"""Fraction of the samples that are for validation."""


@app.command()
def ecg(
    store: o.Stores,
    output: o.Output,
    model: Annotated[str, typer.Option(help='a model folder, or "default"')] = "default",
    least: Annotated[int, typer.Option(help="recordings that a statement must have", min=1)] = 30,
    set_: Set = None,
    resume: o.Resume = False,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    """Of ECGs: which statements a noisy latent shows."""
    with refusing():
        import numpy as np
        import torch

        from ecgtwin.ecg.store import Store
        from ecgtwin.ecg.store.recordings import Recordings
        from ecgtwin.nets import noisy
        from ecgtwin.twin.twin import ECGTwin

        twin = ECGTwin.from_pretrained(model, device="cpu")
        found = Recordings.of([Store.open(folder) for folder in store])
        rows = np.concatenate([found.places("train"), found.places("validation")])
        said = [found.statements(int(row)) for row in rows]
        names = [name for name in twin.statements if sum(name in own for own in said) >= least]
        with torch.no_grad():
            parts = [rows[k : k + 128] for k in range(0, len(rows), 128)]
            z = torch.cat([twin.parts.vae.encode(torch.from_numpy(found.millivolts(part))) for part in parts])
        network = noisy.NoisyClassifier(z.shape[1], names, WIDTHS, dims=1, exclusive=False)
        target = network.wanted([[name for name in own if name in names] for own in said])
        held = len(found.places("validation"))
        trained(network, twin.objective, z, target, held, twin.latent_space, output, set_, resume, cpu, as_json)


@app.command()
def image(
    model: Model,
    output: o.Output,
    data: Data = "digits",
    set_: Set = None,
    resume: o.Resume = False,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    """Of pictures: which caption a noisy picture has."""
    with refusing():
        import torch

        from ecgtwin.image.judge import classes
        from ecgtwin.image.pipeline import ImagePipeline
        from ecgtwin.nets import adapters, noisy

        pipeline = ImagePipeline.from_pretrained(model, device="cpu")
        settings = pipeline.parts.data
        seen, held = read_pictures(data, pipeline.config, settings).split(settings.held)
        captions = (*seen.captions, *held.captions)
        with torch.no_grad():
            x = torch.cat([pipeline.codec.encode(part.centred().pixels) for part in (seen, held)])
        network = noisy.NoisyClassifier(x.shape[1], classes(seen), WIDTHS, dims=2, exclusive=True)
        target, space = network.wanted([[caption] for caption in captions]), adapters.fingerprint(pipeline.codec)
        trained(network, pipeline.objective, x, target, len(held), space, output, set_, resume, cpu, as_json)


def trained(
    network: "torch.nn.Module",
    objective: "Objective",
    samples: "torch.Tensor",
    target: "torch.Tensor",
    held: int,
    space: str,
    output: Path,
    overrides: list[str] | None,
    resume: bool,
    cpu: bool,
    as_json: bool,
) -> None:
    """Train a classifier to its end; OUTPUT/weights.safetensors is what a model loads."""
    from ecgtwin.train.device import accelerator_of
    from ecgtwin.train.loop import Training, fit
    from ecgtwin.train.noisy import NoisyStage
    from ecgtwin.train.plan import FREE, Plan
    from ecgtwin.train.run import Run
    from ecgtwin.train.strict import overridden, parse

    plan = parse(Plan, overridden(dict(PLAN), overrides), "--set")
    config: dict[str, Any] = {"classifier": network.facts | {"space": space}, "train": plan.model_dump()}
    inputs = {"space": space, "samples": str(tuple(samples.shape)), "train": plan.model_dump_json(exclude=FREE)}
    stage = NoisyStage(network, plan, objective, samples, target, held, config=config, inputs=inputs)
    run, training = Run(output, resume), Training(network, plan, accelerator=accelerator_of(cpu))
    with run.of(training, stage):
        for step in fit(training, stage):
            run.finish(step)
    o.told(run.kept, as_json)


if __name__ == "__main__":
    app()
