"""Train a stage that gives pictures more pixels, and tell how it does beside bicubic interpolation.

python scripts/draw_digits.py --output digits32
python scripts/train_cascade_image.py --data digits32 --output runs/cascade_image [--resume]

OUTPUT/upsampler is the finished stage, for `ecgtwin image upsample`; OUTPUT/example.png shows held-out pictures: small,
bicubic, drawn, real. "recognised": by a classifier trained on real fine pictures; "kid": kernel distance to real
pictures in its features; "edges": mean gradient beside that of real pictures; "back": RMS difference between the small
picture and the drawn one made small again.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from ecgtwin.atomic import write_file
from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing, say
from ecgtwin.image.config import DataConfig
from ecgtwin.image.dataset import read_folder
from ecgtwin.image.evaluation import distances
from ecgtwin.image.judge import train_judge
from ecgtwin.image.picture import as_images, grid
from ecgtwin.image.upsampling import Upsampler, build, enlarged, read_settings, shrunk, stage_of
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training
from ecgtwin.train.run import Run, complete

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def edges(x: Tensor) -> float:
    return float(x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean())


@app.command(help=__doc__)
def main(
    data: Annotated[Path, typer.Option(help="a folder of pictures with captions")],
    output: o.Output,
    config: o.Configuration = Path("configs/cascade_image.yaml"),
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    judge_steps: Annotated[int, typer.Option(help="training steps of the classifier that judges", min=1)] = 300,
    resume: o.Resume = False,
    cpu: o.Cpu = False,
    as_json: o.Json = False,
) -> None:
    with refusing():
        settings = read_settings(config, set_)
        run, accelerator = Run(output, resume), accelerator_of(cpu)
        pictures = read_folder(data, settings.cascade.picture, DataConfig())
        seen, held = pictures.split(settings.held)
        stage = stage_of(settings, seen, held)
        training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
        complete(run, training, stage)
        network = build(settings.cascade)
        network.load_state_dict({k: v.cpu() for k, v in training.ema.shadow.items()})
        upsampler = Upsampler(settings.cascade, network, accelerator.device)
        upsampler.save_pretrained(output / "upsampler")
        judge = train_judge(seen, steps=judge_steps, accelerator=accelerator)
        factor = settings.cascade.factor
        real, known = held.centred().pixels, seen.centred().pixels
        small = shrunk(real, factor)
        bicubic = enlarged(small, factor).clamp(-1, 1)
        seeds = list(range(len(small)))
        made = torch.cat([upsampler.sample(a, s) for a, s in zip(small.split(64), batched(seeds, 64), strict=True)])
        rows: list[dict[str, Any]] = []
        for name, x in (("real", real), ("bicubic", bicubic), ("cascade", made.cpu())):
            found = distances(judge.features, x, real, known)
            row = {"who": name, "recognised": judge.accuracy(x, held.captions), "kid": found["kid"]}
            row |= {"edges": edges(x) / edges(real), "back": float((shrunk(x, factor) - small).square().mean().sqrt())}
            rows.append(row)
            say("| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
        shown = [as_images(x[:10].repeat_interleave(k, -1).repeat_interleave(k, -2)) for x, k in
                 ((small, factor), (bicubic, 1), (made, 1), (real, 1))]  # fmt: skip
        picture = grid([image for row in shown for image in row], 10, scale=3)
        write_file(output / "example.png", lambda part: picture.save(part, format="PNG"))
        if as_json:
            typer.echo(json.dumps(rows, indent=1))


def batched(seeds: list[int], size: int) -> list[list[int]]:
    return [seeds[k : k + size] for k in range(0, len(seeds), size)]


if __name__ == "__main__":
    app()
