"""Training speed of each stage: samples per second, share of time waiting for data, and model FLOP utilisation.

python scripts/bench_train.py --store STORE [--config configs/small.yaml] [--steps 12] [--json]

Utilisation is against a ceiling measured in the same run: the fastest product of square matrices in the
stage's precision on the same device and threads. FLOPs are those of matrix products and convolutions, counted
by torch, forward and backward.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Output, tell
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.train.checkpoint import save_tensors
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.dry_run import flops
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.stage import Stage
from ecgtwin.training.base import Contrasted
from ecgtwin.training.beat_stage import base_stage
from ecgtwin.training.denoiser import DenoiserStage
from ecgtwin.training.held_out import thinned
from ecgtwin.training.vae import VAEStage
from ecgtwin.training.weights import fingerprint
from ecgtwin.twin.model import build_base, build_codec

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SIZES = (512, 1024, 2048)
STAGES = ("vae", "base", "denoiser")


def ceiling(device: torch.device, precision: str, seconds: float = 0.6) -> float:
    """FLOP/s of the fastest square matrix product."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    best = 0.0
    for n in SIZES if device.type == "cpu" else (*SIZES, 4096, 8192):
        a, b = (torch.randn(n, n, device=device, dtype=kind) for _ in range(2))
        a @ b
        count, start = 0, clock(device)
        while (now := clock(device)) - start < seconds or count < 2:
            a @ b
            count += 1
        best = max(best, 2 * n**3 * count / (now - start))
    return best


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measured(stage: Stage, accelerator, steps: int) -> dict[str, Any]:
    """Figures of some steps after two to warm up. The stage is not to be used afterwards."""
    training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
    work = flops(training, stage) * training.processes
    seconds, waited = [], 0.0
    for step in fit(training, stage):
        if step.number > 2:
            seconds.append(step.seconds)
            waited += step.waited
        if step.number == steps + 2:
            break
    each, top = sum(seconds) / len(seconds), ceiling(training.device, training.plan.precision)
    return {
        "batch": training.plan.batch,
        "precision": training.plan.precision,
        "samples_per_second": training.plan.batch / each,
        "seconds_per_step": each,
        "waiting": waited / sum(seconds),
        "gflop_per_step": work / 1e9,
        "gflops": work / each / 1e9,
        "ceiling_gflops": top / 1e9,
        "utilisation": work / each / top,
    }


def untrained(settings, table, folder: Path) -> tuple[Path, Path]:
    """Files of an auto-encoder and a base extractor as they are before training, for the stages that need them."""
    vae, base = build_codec(settings.model), Contrasted(build_base(settings.model))
    made = {"encoder": table.fingerprint, "vae": fingerprint(vae.state_dict())}
    meta = {"config": settings.model_dump(), "inputs": made}
    save_tensors(folder / "vae" / "weights.safetensors", vae.state_dict(), meta)
    save_tensors(folder / "base" / "weights.safetensors", base.state_dict(), meta)
    return folder / "vae" / "weights.safetensors", folder / "base" / "weights.safetensors"


@app.command(help=__doc__)
def main(
    store: o.Stores,
    config: o.Configuration = Path("configs/small.yaml"),
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    steps: Annotated[int, typer.Option(help="steps that are measured", min=1)] = 12,
    ecgs: Annotated[
        int, typer.Option(help="ECGs of the store for the stages on latents, whose making is not measured", min=64)
    ] = 256,
    statements: o.Statements = None,
    seed: o.Seed = None,
    cpu: o.Cpu = False,
    output: Output = None,
    as_json: o.Json = False,
) -> None:
    with refusing():
        accelerator = accelerator_of(cpu)
        # Pairs of two views only: how many other pairs there are among a few ECGs is chance, and they cost the same.
        fixed = [f"train.{n}.steps={steps + 3}" for n in STAGES]
        fixed += [f"train.{n}.pairs={{real: 0.0, same: 1.0, simulated: 0.0}}" for n in STAGES[1:]]
        settings = o.settings_of(config, [*set_, *fixed], STAGES, seed)
        recordings, table = o.recordings_of(store, settings), o.table_of(statements, settings)
        few = some(recordings, ecgs)
        found: dict[str, Any] = {
            "device": str(accelerator.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        if accelerator.device.type == "cuda":
            found["gpu"] = torch.cuda.get_device_name(accelerator.device)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            vae, base = untrained(settings, table, folder)
            for name, stage in (
                ("vae", lambda: VAEStage(settings, recordings, accelerator)),
                ("base", lambda: base_stage(settings, few, vae, table, folder, accelerator)),
                ("denoiser", lambda: DenoiserStage.of(settings, few, vae, base, table, folder, accelerator)),
            ):
                say(name)
                found[name] = measured(stage(), accelerator, steps)
        tell(found, told(found), as_json, output)


def some(recordings: Recordings, ecgs: int) -> Recordings:
    """At most so many training ECGs, and as many of validation patients, without which no stage is made."""
    chosen = [thinned(recordings.places(split), ecgs) for split in ("train", "validation")]
    return recordings.where(np.sort(np.concatenate(chosen)))


def told(found: dict[str, Any]) -> str:
    lines = [
        f"{found.get('gpu', found['device'])}, {found['threads']} threads, torch {found['torch']}",
        "| stage | batch | precision | samples/s | waiting for data | GFLOP/s | ceiling | utilisation |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in STAGES:
        f = found[name]
        lines.append(
            f"| {name} | {f['batch']} | {f['precision']} | {f['samples_per_second']:.1f} | {f['waiting']:.2%} "
            f"| {f['gflops']:.1f} | {f['ceiling_gflops']:.1f} | {f['utilisation']:.1%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    app()
