"""Distil an image model, and tell how its student draws beside the model itself with as many calls of the network.

python scripts/distill_image.py runs/unet/model --data digits --output runs/student [--set objective=step] [--json]

One image for each held-out caption; "recognised" and the distances are those of `ecgtwin image evaluate`, "same" is
the RMS difference from the model's own image of the same noise with 20 steps of UniPC. OUTPUT/student.safetensors
is what was learned.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.pictures import read_pictures
from ecgtwin.diffusion.solvers import UniPC
from ecgtwin.image.distill import DistillConfig, drawn, stage_of
from ecgtwin.image.evaluation import distances, generate_like
from ecgtwin.image.judge import train_judge
from ecgtwin.image.pipeline import GUIDANCE, ImagePipeline, Request
from ecgtwin.nets import student as students
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training
from ecgtwin.train.run import Run, complete
from ecgtwin.train.strict import parse, read_yaml

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: Annotated[Path, typer.Argument(help="a model folder of `ecgtwin image train`")],
    output: o.Output,
    data: Annotated[str, typer.Option(help="what it was trained on: digits, or a folder of pictures")] = "digits",
    config: o.Configuration = Path("configs/distill_image.yaml"),
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    guidance: Annotated[float, typer.Option(help="at which images are compared")] = GUIDANCE,
    judge_steps: Annotated[int, typer.Option(help="training steps of the classifier that judges", min=1)] = 600,
    resume: o.Resume = False,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        settings = parse(DistillConfig, read_yaml(config, set_), str(config))
        run, accelerator = Run(output, resume), accelerator_of(cpu)
        pipeline = ImagePipeline.from_pretrained(model, device=str(accelerator.device))
        pictures = read_pictures(data, pipeline.config, pipeline.parts.data)
        seen, held = pictures.split(pipeline.parts.data.held)
        held, _ = held.readable(pipeline.text)
        stage = stage_of(pipeline, seen.captions, settings)
        training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
        kept = complete(run, training, stage)
        with run.averaged() as learned:
            facts = {"calls": list(settings.calls), "figures": kept}
            path = students.save(learned, output / "student.safetensors", facts)
        student, _ = students.load(pipeline.network, pipeline.network.width, path)
        judge = train_judge(seen, steps=judge_steps, accelerator=accelerator)
        goal = generate_like(pipeline, held.captions, steps=20, guidance=guidance, solver=UniPC(2))
        real, training_set = held.centred().pixels, seen.centred().pixels
        rows: list[dict[str, Any]] = []

        def tell(name: str, calls: int, made: Tensor) -> None:
            row = {"who": name, "calls": calls, "recognised": judge.accuracy(made, held.captions)}
            row |= distances(judge.features, made, real, training_set)
            rows.append(row | {"same": float((made - goal).square().mean().sqrt())})
            shown = " | ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in rows[-1].values())
            say(f"| {shown} |")

        tell("model", 40, goal)
        for calls in sorted({1, *settings.calls}):
            if calls in settings.calls:
                requests = [Request(caption, k) for k, caption in enumerate(held.captions)]
                parts = [requests[k : k + 128] for k in range(0, len(requests), 128)]
                tell("student", calls, torch.cat([drawn(pipeline, student, p, calls, guidance) for p in parts]).cpu())
            few = {"steps": calls, "guidance": guidance, "solver": UniPC(2)}
            tell("model", 2 * calls, generate_like(pipeline, held.captions, **few))
        if as_json:
            typer.echo(json.dumps(rows, indent=1))


if __name__ == "__main__":
    app()
