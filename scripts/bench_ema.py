"""Which width of average is best? Averages of an image training, made afterwards, and their loss on held-out pictures.

ecgtwin image train --config unet --data digits --output runs/ema --set "train.denoiser.ema_stds=[0.05, 0.1]" \\
    --set train.denoiser.save_every=20
python scripts/bench_ema.py runs/ema --data digits --picture ema.png

The training keeps two averages with each checkpoint; every other width is a sum of these (arXiv 2312.02696). The one
that the training itself made for comparison: its exponential average.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer

from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, Output, as_table, tell
from ecgtwin.cli.pictures import Data, read_pictures
from ecgtwin.image.pipeline import ImagePipeline, Request
from ecgtwin.train.batch import stream
from ecgtwin.train.checkpoint import load_tensors, part
from ecgtwin.train.ema import reconstruct

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
WIDTHS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)


@app.command(help=__doc__)
def main(
    run: Annotated[Path, typer.Argument(help="OUTPUT of the training")],
    data: Data = "digits",
    picture: Annotated[Path | None, typer.Option(help="PNG of loss by width")] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing():
        pipeline = ImagePipeline.from_pretrained(run / "model", device="cpu")
        settings = pipeline.parts.data
        held = read_pictures(data, pipeline.config, settings).split(settings.held)[1]
        batch = held.centred()
        z, conditions = pipeline.codec.encode(batch.pixels), pipeline.conditions([Request(c, 0) for c in held.captions])
        level, noise = pipeline.schedule.even(len(z)), torch.randn(z.shape, generator=stream(1, 2, 5))

        @torch.no_grad()
        def loss(tensors: dict[str, torch.Tensor]) -> float:
            pipeline.network.load_state_dict(tensors)
            return float(pipeline.objective.errors(pipeline.network, conditions, z, level, noise).mean())

        own = loss(pipeline.network.state_dict())
        files = sorted((run / "denoiser" / "averages").glob("*.safetensors"))
        kept = [load_tensors(path) for path in files]
        snapshots = {(meta["step"], meta["std"]): tensors for tensors, meta in kept}
        last = max(step for step, _ in snapshots)
        rows = [{"width": width, "held-out loss": loss(reconstruct(snapshots, last, width))} for width in WIDTHS]
        trained = part(load_tensors(run / "denoiser" / "last.safetensors")[0], "network")
        rows += [{"width": "last weights, no average", "held-out loss": loss(trained)}]
        rows += [{"width": "the training's own average", "held-out loss": own}]
        if picture is not None:
            draw(rows, picture)
        tell(rows, as_table(rows), as_json, output)


def draw(rows: list[dict], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    *widths, last, own = rows
    axes.plot(
        [r["width"] for r in widths],
        [r["held-out loss"] for r in widths],
        "o-",
        color="#1f5fa8",
        label="made afterwards",
    )
    for r, color in ((last, "#b3202c"), (own, "#555555")):
        axes.axhline(r["held-out loss"], color=color, linestyle="--", linewidth=1, label=r["width"])
    axes.set(
        xscale="log", xlabel="width of the average, as a fraction of the training", ylabel="loss on held-out pictures"
    )
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    app()
