"""Bits per dimension: the variational bound of a discrete-time diffusion, term by term (Ho et al. 2020, arXiv
2006.11239, eq. 5; Nichol & Dhariwal 2021, arXiv 2102.09672, section 3.3).

Shapes: B batch · T levels · everything in bits per entry of a sample.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .denoiser import Denoiser
from .loss import bound
from .sample import Noise
from .schedule import Schedule


@dataclass(frozen=True, eq=False)
class Bits:
    """prior (B,): L_T, how far noised samples are from pure noise. steps (B, T - 1): L_1 … L_{T-1}, from step 1 up.
    decoder (B,): L_0, how well the last step hits the sample; discrete where `bins` were given, else a density, which
    may be negative."""

    prior: Tensor
    steps: Tensor
    decoder: Tensor

    @property
    def total(self) -> Tensor:
        """(B,) the bound on -log2 p(x0) per entry."""
        return self.prior + self.steps.sum(1) + self.decoder


def bits_per_dimension(
    denoise: Denoiser, x0: Tensor, schedule: Schedule, noise: Noise = torch.randn_like, *, bins: int | None = None
) -> Bits:
    """The bound for samples x0 (B, ...), one draw of noise at each level: T calls of the denoiser.

    Steps have the small variance of DDPM, or what the network learned (bind(…, learned_variance=True)).
    bins: for data of so many evenly spaced values in [-1, 1], such as 256 of pictures: L_0 is then the probability of
    the value (eq. 13 of DDPM); None: the density, for data that are continuous.
    """
    if schedule.level(schedule.noisiest).alpha == 0:
        raise ValueError(
            "at zero terminal SNR no step of the bound ends at the last level: use the schedule without it"
        )
    terms = []
    for k in range(schedule.length):
        at, i = schedule.level(k), torch.full((len(x0),), k)
        guess, mix = denoise(at.alpha * x0 + at.sigma * noise(x0), at)
        mix = torch.full_like(x0, -1.0) if mix is None else mix
        if k or bins is None:
            each = bound(guess, mix, x0, i, schedule)
        else:
            each = -discretised_log_likelihood(x0, guess, variance_of_last_step(schedule, mix).sqrt(), bins)
        terms.append(each.flatten(1).mean(1) / math.log(2))
    return Bits(
        prior_bits(x0, schedule), torch.stack(terms[1:], 1) if len(terms) > 1 else x0.new_zeros(len(x0), 0), terms[0]
    )


def prior_bits(x0: Tensor, schedule: Schedule) -> Tensor:
    """L_T = KL(q(x_T | x0) || N(0, 1)) in bits per entry: (B,)."""
    last = schedule.level(schedule.noisiest)
    kl = 0.5 * (last.alpha**2 * x0.square() + last.sigma**2 - 1 - math.log(last.sigma**2))
    return kl.flatten(1).mean(1) / math.log(2)


def variance_of_last_step(schedule: Schedule, mix: Tensor) -> Tensor:
    """The variance of x0 given x_0 that a mix in [-1, 1] stands for, as in `loss.bound`."""
    from .solvers.solver import posterior_spread, transition_spread

    low = 2 * math.log(posterior_spread(schedule.level(min(1, schedule.length - 1)), schedule.level(0)))
    high = 2 * math.log(transition_spread(schedule.level(0), schedule.level(-1)))
    return torch.exp(low + (mix + 1) / 2 * (high - low))


def discretised_log_likelihood(x: Tensor, mean: Tensor, std: Tensor, bins: int) -> Tensor:
    """log of the probability that N(mean, std²) falls into the bin of x, one of `bins` evenly spaced values in [-1, 1];
    the outermost bins take all that lies beyond (arXiv 2006.11239, eq. 13). Nats, shaped like x."""
    if bins < 2:
        raise ValueError(f"bins {bins}: give 2 or more, 256 of pictures of 8 bits")
    half = 1 / (bins - 1)
    upper, lower = (torch.special.ndtr((x + side - mean) / std) for side in (half, -half))
    upper = torch.where(x > 1 - half, torch.ones_like(x), upper)
    lower = torch.where(x < -1 + half, torch.zeros_like(x), lower)
    return (upper - lower).clamp_min(1e-12).log()
