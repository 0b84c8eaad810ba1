"""An average of a training's weights, of a width chosen afterwards (arXiv 2312.02696, section 3).

python scripts/posthoc_ema.py runs/denoiser --std 0.08 --output runs/denoiser_008/weights.safetensors

The training must have kept snapshots: --set train.denoiser.ema_stds=[0.05,0.1]. What is written stands for the
weights.safetensors of that run.
"""

from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli.errors import refusing, say
from ecgtwin.train.checkpoint import load_tensors, save_tensors
from ecgtwin.train.ema import reconstruct, reconstruction

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    run: Annotated[Path, typer.Argument(help="folder of a training")],
    output: Annotated[Path, typer.Option(help="weights to write")],
    std: Annotated[float, typer.Option(help="width of the average, as a fraction of the training")] = 0.1,
    step: Annotated[int | None, typer.Option(help="up to which step; the last if left out", min=1)] = None,
) -> None:
    with refusing():
        found = {path: load_tensors(path)[1] for path in sorted((run / "averages").glob("*.safetensors"))}
        last = max((meta["step"] for meta in found.values()), default=0) if step is None else step
        found = {path: meta for path, meta in found.items() if meta["step"] <= last}
        snapshots = {(meta["step"], meta["std"]): load_tensors(path)[0] for path, meta in found.items()}
        weights = reconstruction(list(snapshots), last, std)
        meta = next(meta for meta in found.values() if meta["step"] == max(m["step"] for m in found.values()))
        save_tensors(
            output, reconstruct(snapshots, last, std), {k: meta[k] for k in ("config", "inputs")} | {"figures": {}}
        )
        say(
            f"{output}: step {last}, width {std:g}, of {len(weights)} snapshots with weights "
            f"{weights.round(3).tolist()}"
        )


if __name__ == "__main__":
    app()
