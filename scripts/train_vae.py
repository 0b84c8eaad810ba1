"""Train stage 0, the auto-encoder, on a PTB-XL folder (folds 1-8; fold 9 validates).

python scripts/train_vae.py --config configs/small.yaml --data PTBXL --output runs/vae [--resume] [--set train.vae.steps=100]
"""

from pathlib import Path

import numpy as np
import torch
import typer

from ecgtwin.nets.vae import kl_per_sample, parameters, reconstruction_error
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.run import Run, plan
from ecgtwin.twin.augment import electrodes
from ecgtwin.twin.build import build_codec, build_vae
from ecgtwin.twin.config import read_config
from ecgtwin.twin.data import read_ptbxl

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def relative(x: torch.Tensor) -> torch.Tensor:
    """Weights (B, C, 1): errors count relative to a lead's own spread, so that low voltages are drawn as well."""
    return (x.var(-1, keepdim=True) + 0.16).rsqrt()


@torch.no_grad()
def validate(network, signals: np.ndarray, scale: float) -> dict[str, float]:
    """Per-lead correlation (median over ECGs and leads) and RMS error in uV of the decoded mean."""
    network.eval()
    errors, correlations = [], []
    for chunk in np.array_split(signals, max(1, len(signals) // 64)):
        x = torch.from_numpy(chunk)
        y = network(x / scale)[0].float() * scale
        errors.append(((x - y) ** 2).mean(-1))
        a, b = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
        correlations.append((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 1e-9))
    return {
        "correlation": float(torch.cat(correlations).median()),
        "rms_uv": 1000 * float(torch.cat(errors).mean().sqrt()),
    }


@app.command()
def main(
    data: Path = typer.Option(..., help="PTB-XL folder in its native layout"),
    output: Path = typer.Option(..., help="folder for checkpoints and losses"),
    config: Path = typer.Option(Path("configs/small.yaml")),
    set_: list[str] = typer.Option([], "--set", help="override, section.key=value"),
    resume: bool = typer.Option(False, help="go on from the last checkpoint in OUTPUT"),
) -> None:
    settings = read_config(config, set_)
    stage, scale = settings.train.vae, settings.model.signal.scale
    recordings = read_ptbxl(data)
    train, held = recordings.split("train"), recordings.split("validation")
    torch.manual_seed(stage.seed)
    network = build_vae(settings.model)
    training, run = Training(network, plan(stage)), Run(output, resume)
    run.start(training, {"parameters": parameters(network), "train": len(train), "validation": len(held)})

    def batches(generator):
        rows = torch.randint(len(train), (stage.batch,), generator=generator).numpy()
        return electrodes(torch.from_numpy(train.millivolts(rows)), generator, angle=12.0, shift=0.3, gain=0.2) / scale

    def loss(network, x, generator):
        noise = torch.randn(len(x), network.latent, x.shape[-1] // network.factor, generator=generator)
        y, posterior = network(x, noise)
        weight = relative(x)
        error, kl = reconstruction_error(x * weight, y.float() * weight, stage.huber), kl_per_sample(posterior)
        return (error + stage.kl * kl).mean(), {"error": error.mean(), "kl": kl.mean()}

    signals = held.millivolts()
    for step in fit(training, batches, loss):
        last = step.number == stage.steps
        if step.number % stage.validate_every == 0 or last:
            with run.averaged(training) as average:
                figures = validate(average, signals[:: 1 if last else 4], scale)
            run.save(training, settings.model_dump(), figures)
            step.figures.update(figures)
        run.log(step)
    codec = build_codec(settings.model)
    codec.vae.load_state_dict(training.ema.shadow)
    codec.eval().calibrate(torch.from_numpy(train.millivolts()))
    figures = validate(codec.vae, signals, scale)
    run.keep_tensors(codec.state_dict(), settings.model_dump(), figures)
    run.close()


if __name__ == "__main__":
    app()
