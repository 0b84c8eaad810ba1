"""A panel of real patients whose ECGs a model draws again: how far its samples are from real
ones, for any way of sampling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..diffusion.denoiser import Denoiser
from ..diffusion.sample import sample, seeded_noise
from ..diffusion.schedule import Level
from ..diffusion.solvers import Solver
from ..ecg.rhythm import heart_rate
from ..ecg.store.recordings import Recordings
from ..metrics.features import ecg_features, standardised
from ..metrics.frechet import kernel_distance
from ..twin.twin import ECGTwin
from .evaluate import own_conditions


@dataclass(frozen=True)
class Quality:
    """distance: kernel distance to the real ECGs x 1000 (0: none to be seen). std: its standard deviation over random
    halves of the generated ECGs, drawn without replacement, which vary about as much as the whole set does from seed
    to seed. rate_error: median of
    |measured - asked| in beats/min. unmeasured: ECGs without a measurable rate."""

    distance: float
    std: float
    rate_error: float
    unmeasured: int


class Panel:
    """Real ECGs, each with its own condition and its own base, drawn again from noise of fixed seeds."""

    def __init__(self, model: ECGTwin, recordings: Recordings, n: int, seed: int = 0):
        """recordings: of validation patients; n of them are drawn, and all of them are what real ECGs look like."""
        if not 8 <= n <= len(recordings):
            raise ValueError(f"{n} ECGs: expected 8 to {len(recordings)}, as many as there are of validation patients")
        rows = np.sort(np.random.default_rng(seed).permutation(len(recordings))[:n])
        self.model, self.rate = model, recordings.rate
        chosen = recordings.where(rows)
        conditions = own_conditions(chosen, model.statements)
        self.wanted = np.array([np.nan if c.heart_rate is None else c.heart_rate for c in conditions])
        self.requests = model.requests_for(chosen.millivolts(), conditions, seed, conditions)
        self.shape = (n, model.config.vae.latent, model.config.signal.samples // model.parts.vae.vae.factor)
        real = ecg_features(recordings.millivolts(), self.rate)
        self.map = standardised(real)
        self.real = self.map(real)

    def denoiser(self, guidance: float = 1.0, base_guidance: float = 1.0) -> Denoiser:
        """Where both are 1 the network is called once a step, under the condition and the base."""
        return self.model.denoiser(self.requests, guidance=guidance, base_guidance=base_guidance)

    @torch.inference_mode()
    def draw(
        self,
        solver: Solver,
        levels: Sequence[Level],
        *,
        guidance: float = 1.0,
        base_guidance: float = 1.0,
        seed: int = 0,
    ) -> Tensor:
        """Latents (n, Z, T); seed is added to every request's."""
        noise = seeded_noise([r.seed + seed for r in self.requests])
        x = noise(torch.empty(self.shape, device=self.model.device))
        return sample(self.denoiser(guidance, base_guidance), x, list(levels), solver, noise)

    @torch.inference_mode()
    def signals(self, z: Tensor) -> np.ndarray:
        return torch.cat([self.model.parts.vae.decode(part).cpu() for part in z.split(64)]).numpy()

    def quality(self, z: Tensor, *, draws: int = 50) -> Quality:
        """Figures of latents drawn for this panel."""
        x = self.signals(z)
        made = self.map(ecg_features(x, self.rate))
        rng = np.random.default_rng(0)
        std = np.std(
            [kernel_distance(made[rng.permutation(len(made))[: len(made) // 2]], self.real) for _ in range(draws)]
        )
        found = [heart_rate(signal, self.rate) for signal in x]
        measured = np.array([np.nan if f is None else f for f in found])
        error = np.abs(measured - self.wanted)
        error = error[~np.isnan(error)]
        return Quality(
            1000 * kernel_distance(made, self.real),
            1000 * float(std),
            float(np.median(error)) if len(error) else float("nan"),
            int(np.isnan(measured).sum()),
        )
