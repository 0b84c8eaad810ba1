"""Super-resolution as a diffusion of its own, after the one that drew the coarse sample (cascaded diffusion, Ho et al.
2021, arXiv 2106.15282; Imagen, Saharia et al. 2022, arXiv 2205.11487).

Shapes: x0, noise and coarse (B, C, ...), the coarse sample already brought to the fine grid; strength (B,).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .denoiser import Denoiser, Network, threshold_x0
from .levels import Path, Spacing, uniform_logsnr
from .objective import Objective
from .sample import sample
from .schedule import Level
from .solvers import DpmPP, Solver
from .solvers.solver import Noise

ENDS = (-9.0, 8.0)
"""log-SNR between which levels of a short run lie. What is drawn is largely noise, whose amplitude a run must keep: of
Gaussian data of standard deviation 0.1 to 4, eight steps of DPM-Solver++ 2M keep 0.94 to 1.04 of it, where `trailing`
levels keep 0.43 to 0.96 and those of the whole schedule 0.83 to 1.00."""


def short(schedule: Path, steps: int) -> list[Level]:
    """Levels even in log-SNR between `ENDS`, then the clean one."""
    noisiest, cleanest = (schedule.level_at(end).t for end in ENDS)
    return uniform_logsnr(schedule, steps, noisiest, cleanest)


def augment(coarse: Tensor, strength: Tensor, noise: Tensor) -> Tensor:
    """Noise-conditioning augmentation (arXiv 2106.15282, section 4.2): sqrt(1 - s²) coarse + s noise, s (B,) in 0 … 1.

    A stage that is trained on samples so blurred by noise, and told how much, does not mind how the samples that it is
    given later differ from those that it was trained on.
    """
    s = strength.view(-1, *[1] * (coarse.ndim - 1)).to(coarse)
    return (1 - s.square()).sqrt() * coarse + s * noise


@dataclass(frozen=True)
class Cascade:
    """One stage: its network is called as network(x, t, (coarse, strength)).

    strongest: of the augmentation, in training. limit: x0 beyond which dynamic thresholding holds it; None: never.
    """

    objective: Objective
    strongest: float = 0.3
    limit: float | None = None
    fraction: float = 0.9995
    """Quantile of |x0| that dynamic thresholding looks at (arXiv 2205.11487, section 2.3)."""

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Levels (n,) and strengths (n,) to train on: one in eight without augmentation."""
        strength = self.strongest * torch.rand(n, generator=generator)
        return self.objective.draw(n, generator), strength * (torch.rand(n, generator=generator) >= 0.125)

    def losses(
        self, network: Network, x0: Tensor, coarse: Tensor, i: Tensor, strength: Tensor, eps: Tensor, blur: Tensor
    ) -> Tensor:
        """(B,) what is trained. eps: of the diffusion; blur: of the augmentation."""
        return self.objective.losses(network, (augment(coarse, strength, blur), strength), x0, i, eps)

    def denoiser(self, network: Network, coarse: Tensor, strength: float, noise: Noise) -> Denoiser:
        """The denoiser for coarse samples, each noised once, by as much as `strength` says."""
        told = torch.full((len(coarse),), float(strength), device=coarse.device, dtype=coarse.dtype)
        seen = augment(coarse, told, noise(coarse)) if strength else coarse
        denoise = self.objective.bind(network, (seen, told))
        return denoise if self.limit is None else threshold_x0(denoise, self.fraction, self.limit)

    def sample(
        self,
        network: Network,
        coarse: Tensor,
        channels: int,
        *,
        noise: Noise,
        steps: int = 8,
        strength: float = 0.0,
        levels: Spacing = short,
        solver: Solver | None = None,
    ) -> Tensor:
        """x0 (B, channels, ...) for coarse samples, drawn in `steps` steps.

        ValueError: strength outside 0 … `strongest`, which the network does not know.
        """
        if not 0 <= strength <= self.strongest:
            raise ValueError(f"strength {strength}: this stage was trained with 0 … {self.strongest:g}")
        x = noise(coarse.new_empty(len(coarse), channels, *coarse.shape[2:]))
        denoise = self.denoiser(network, coarse, strength, noise)
        return sample(denoise, x, levels(self.objective.schedule, steps), solver or DpmPP(2), noise)
