"""Stage 0, the auto-encoder: signals in, the same signals out, through a latent space small enough to work in.

Shapes: B batch · Z latent channels · T latent samples · L samples.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..ecg.store.recordings import Recordings
from ..nets.layers import Residual
from ..nets.vae import kl_per_sample, parameters, reconstruction_error
from ..train.batch import Drawn
from ..train.loop import Training, by_sample
from ..train.stage import Backward, Figures
from ..twin.model import build_codec, build_vae
from . import pictures
from .augment import Electrodes
from .config import Config
from .held_out import thinned
from .weights import begin_from, load_vae

if TYPE_CHECKING:
    from accelerate import Accelerator
    from matplotlib.figure import Figure

CALIBRATION = 4096
"""Training ECGs at most that mean and standard deviation of the latents are measured on."""

WINDOWS, FLOOR = (32, 64, 128), 0.05
"""Samples of the windows of the spectral error, and the magnitude below which differences no longer count."""


class Signals(NamedTuple):
    """rows (B,): places of the recordings. noise (B, Z, T): of the posterior's sample.
    signals (B, 8, L) int16 in uV."""

    rows: Tensor
    electrodes: Electrodes
    noise: Tensor
    signals: Tensor | None = None


class VAEStage:
    """Signals through the auto-encoder, with another day's electrodes. What is kept is a calibrated `Codec`."""

    name, blocks = "vae", (Residual,)

    def __init__(self, settings: Config, recordings: Recordings, accelerator: "Accelerator", start: Path | None = None):
        """start: weights of an earlier training, or a model, to begin from in place of chance (fine-tuning)."""
        self.settings, self.recordings, self.plan = settings, recordings, settings.train.vae
        self.scale, self.device, self.config = settings.model.signal.scale, accelerator.device, settings.model_dump()
        self.train = recordings.places("train")
        real, simulated = (torch.from_numpy(recordings.places("train", simulated=s)) for s in (False, True))
        if not len(self.train):
            raise ValueError("no usable ECG in split train: prepare a store with training patients")
        if self.plan.simulated > 0 and not len(simulated):
            raise ValueError(
                f"train.vae.simulated is {self.plan.simulated:g}, but no store holds simulated ECGs: set it "
                "to 0, or add one"
            )
        self.real, self.simulated = real if len(real) else simulated, simulated
        torch.manual_seed(self.plan.seed)
        self.network = build_vae(settings.model)
        self.inputs = settings.inputs(self.name, data=recordings.digest) | begin_from(self.network, start, self.name)
        self.kept: dict[str, Tensor] | None = None
        if self.plan.freeze_encoder:
            if start is None:
                raise ValueError(
                    "train.vae.freeze_encoder keeps an encoder as it is: give the weights that it comes from "
                    "with --start"
                )
            began, latents = load_vae(start)
            # The latents stay what they were, so stages that were trained on them go on with the new decoder.
            self.kept, self.inputs["latents"] = {"mean": began.mean, "std": began.std}, latents
            self.network.encoder.requires_grad_(False)
        self.latent = (settings.model.vae.latent, settings.model.signal.samples // self.network.factor)
        held = thinned(recordings.places("validation"))
        self.held = recordings.millivolts(held)
        self.epoch = len(self.train)
        self.facts = {"parameters": parameters(self.network), "train": self.epoch, "held": len(held)}

    def draw(self, generator: torch.Generator) -> Signals:
        n, e = self.plan.batch, self.plan.electrodes
        where = torch.rand(2, n, generator=generator)
        rows = self.real[(where[0] * len(self.real)).long()]
        if self.plan.simulated > 0:
            other = self.simulated[(where[0] * len(self.simulated)).long()]
            rows = torch.where(where[1] < self.plan.simulated, other, rows)
        electrodes = Electrodes.draw(n, generator, angle=e.angle, shift=e.shift, gain=e.gain)
        return Signals(rows, electrodes, torch.randn(n, *self.latent, generator=generator))

    def load(self, batch: Signals) -> Signals:
        return batch._replace(signals=torch.from_numpy(self.recordings.read(batch.rows.numpy())))

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, network: nn.Module, batch: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        """(B,) error, relative to each lead's own size, and divergence of the posterior from N(0, 1)."""
        assert batch.signals is not None
        x = batch.electrodes.apply(batch.signals.float() / 1000) / self.scale
        y, posterior = network(x, batch.noise)
        weight = relative(x, self.plan.quiet)
        error = reconstruction_error(x * weight, y.float() * weight, self.plan.huber)
        kl = kl_per_sample(posterior)
        figures = {"error": error, "kl": kl}
        if self.plan.spectral > 0:
            figures["spectral"] = x[0].numel() * spectral_error(x * weight, y.float() * weight)
            error = error + self.plan.spectral * figures["spectral"]
        return error + self.plan.kl * kl, figures

    def names(self, batch: Signals) -> list[str]:
        return [self.recordings.name(r) for r in batch.rows.tolist()]

    def validate(self, network: nn.Module) -> Figures:
        return reconstruction(network, self.held, self.scale, self.device)

    def score(self, figures: Figures) -> None:
        return None

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        codec = build_codec(self.settings.model).to(self.device)
        codec.vae.load_state_dict(network.state_dict())
        if self.kept is not None:
            codec.load_state_dict(self.kept, strict=False)
            return codec.state_dict()
        signals = self.recordings.millivolts(thinned(self.train, CALIBRATION))
        codec.eval().calibrate(torch.from_numpy(signals).to(self.device))
        return codec.state_dict()

    def figure(self, network: nn.Module) -> "Figure":
        return pictures.reconstructions(network, self.held[:2], self.scale, self.device)


def spectral_error(x: Tensor, y: Tensor) -> Tensor:
    """How far the spectra of short windows lie apart, (B,): mean absolute difference of log magnitudes and a tenth of
    that of magnitudes, over windows of `WINDOWS` samples (multi-resolution STFT loss, Yamamoto et al., arXiv
    1910.11480). Unlike squared errors it does not favour leaving out what is small and fast."""
    total = torch.zeros(len(x), device=x.device)
    for n in WINDOWS:
        window = torch.hann_window(n, device=x.device)
        a, b = (
            torch.stft(s.flatten(0, 1), n, n // 4, window=window, return_complex=True).abs().unflatten(0, s.shape[:2])
            for s in (x, y)
        )
        apart = (torch.log(a + FLOOR) - torch.log(b + FLOOR)).abs() + 0.1 * (a - b).abs()
        total = total + apart.flatten(1).mean(1)
    return total


def relative(x: Tensor, quiet: float) -> Tensor:
    """Weights (B, C, 1): errors count relative to a lead's own standard deviation, so that low
    voltages are drawn as well."""
    return (x.var(-1, keepdim=True) + quiet).rsqrt()


@torch.no_grad()
def reconstruction(network: nn.Module, signals: np.ndarray, scale: float, device: torch.device) -> Figures:
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
