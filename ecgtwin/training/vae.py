"""Stage 0, the auto-encoder: signals in, the same signals out, through a latent space small enough to work in.

Shapes: B batch · Z latent channels · T latent samples · L samples.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..ecg.store.recordings import Recordings
from ..nets.vae import kl_per_sample, parameters, reconstruction_error
from ..train.loop import Training
from ..train.run import Run, carry_out
from ..twin.model import build_codec, build_vae
from . import pictures
from .augment import Electrodes
from .config import Config, VAETraining
from .held_out import thinned
from .weights import BLOCKS, Where, begin_from, inputs


class Signals(NamedTuple):
    rows: Tensor
    electrodes: Electrodes
    noise: Tensor
    signals: Tensor | None = None


class Reconstruct:
    """Stage 0: signals through the auto-encoder, with another day's electrodes."""

    def __init__(self, recordings: Recordings, stage: VAETraining, scale: float, latent: tuple[int, int]):
        self.recordings, self.stage, self.scale, self.latent = recordings, stage, scale, latent
        real, simulated = (torch.from_numpy(recordings.places("train", simulated=s)) for s in (False, True))
        if not len(real):
            real = simulated
        if not len(real):
            raise ValueError("no usable ECG in split train: prepare a store with training patients")
        if stage.simulated > 0 and not len(simulated):
            raise ValueError(f"train.vae.simulated is {stage.simulated:g}, but no store holds simulated ECGs: set it to 0, or add one")
        self.real, self.made = real, simulated

    def draw(self, generator: torch.Generator) -> Signals:
        n = self.stage.batch
        where = torch.rand(2, n, generator=generator)
        rows = self.real[(where[0] * len(self.real)).long()]
        if self.stage.simulated > 0:
            other = self.made[(where[0] * len(self.made)).long()]
            rows = torch.where(where[1] < self.stage.simulated, other, rows)
        electrodes = Electrodes.draw(n, generator, angle=12.0, shift=0.3, gain=0.2)
        return Signals(rows, electrodes, torch.randn(n, *self.latent, generator=generator))

    def load(self, batch: Signals) -> Signals:
        return batch._replace(signals=torch.from_numpy(self.recordings.read(batch.rows.numpy())))

    def losses(self, network: nn.Module, batch: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.signals is not None
        x = batch.electrodes.apply(batch.signals.float() / 1000) / self.scale
        y, posterior = network(x, batch.noise)
        weight = relative(x)
        error = reconstruction_error(x * weight, y.float() * weight, self.stage.huber)
        kl = kl_per_sample(posterior)
        return error + self.stage.kl * kl, {"error": error, "kl": kl}

    def names(self, batch: Signals) -> list[str]:
        return [self.recordings.name(r) for r in batch.rows.tolist()]


def relative(x: Tensor) -> Tensor:
    """Weights (B, C, 1): errors count relative to a lead's own spread, so that low voltages are drawn as well."""
    return (x.var(-1, keepdim=True) + 0.16).rsqrt()


@torch.no_grad()
def reconstruction(network: nn.Module, signals: np.ndarray, scale: float, device: torch.device) -> dict[str, float]:
    """Per-lead correlation (median over ECGs and leads) and RMS error in uV of the decoded mean."""
    errors, correlations = [], []
    for chunk in torch.from_numpy(signals).split(64):
        x = chunk.to(device)
        y = network(x / scale)[0].float() * scale
        errors.append(((x - y) ** 2).mean(-1))
        a, b = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
        correlations.append((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 1e-9))
    return {
        "correlation": float(torch.cat(correlations).median()),
        "rms_uv": 1000 * float(torch.cat(errors).mean().sqrt()),
    }


def train_vae(settings: Config, recordings: Recordings, where: Where) -> dict[str, Any]:
    """Stage 0. `where.output`/weights.safetensors becomes a calibrated `Codec`. Returns figures."""
    model, stage = settings.model, settings.train.vae
    train = recordings.places("train")
    held = thinned(recordings.places("validation"))
    torch.manual_seed(stage.seed)
    network = build_vae(model)
    began = begin_from(network, where.start, "vae")
    training = Training(network, stage, blocks=BLOCKS, accelerator=where.accelerator)
    latent = (model.vae.latent, model.signal.samples // network.factor)
    objective = Reconstruct(recordings, stage, model.signal.scale, latent)
    if where.measure is not None:
        return where.measure(training, objective, len(train))
    signals = recordings.millivolts(held)

    def deliver(network: nn.Module) -> dict[str, Tensor]:
        codec = build_codec(model).to(training.device)
        codec.vae.load_state_dict(network.state_dict())
        codec.eval().calibrate(torch.from_numpy(recordings.millivolts(thinned(train, 4096))).to(training.device))
        return codec.state_dict()

    return carry_out(
        Run(where.output, where.resume),
        training,
        objective,
        config=settings.model_dump(),
        inputs=inputs(settings, "vae", recordings) | began,
        facts={"stage": "vae", "parameters": parameters(network), "train": len(train), "held": len(held)},
        validate=lambda network: reconstruction(network, signals, model.signal.scale, training.device),
        picture=lambda network: pictures.reconstructions(network, signals[:2], model.signal.scale, training.device),
        deliver=deliver,
    )
