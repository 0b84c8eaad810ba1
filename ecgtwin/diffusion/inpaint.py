"""Filling what is missing, and variations: parts of a sample are known, or what some function of it gives.

Shapes: x, known and mask (B, ...); a mask is True where the sample is known.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .denoiser import Denoised, Denoiser
from .sample import Moment, check_levels
from .schedule import Level
from .solvers.solver import History, Noise, Solver, transition_spread


def replaced(denoise: Denoiser, known: Tensor, mask: Tensor) -> Denoiser:
    """The same denoiser, whose x0 is `known` where `mask` says so.

    A run that starts from noise then holds the known part at alpha known + sigma eps of its own, as in replacement
    (Lugmayr et al. 2022, arXiv 2201.09865, eq. 8), whatever the solver, and ends at `known` exactly.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"mask of type {mask.dtype}: give bool, True where the sample is known")

    def filled(x: Tensor, at: Level) -> Denoised:
        x0, mix = denoise(x, at)
        return Denoised(torch.where(mask, known.to(x0), x0), mix)

    return filled


def reconstructed(
    denoise: Denoiser,
    measure: Callable[[Tensor], Tensor],
    known: Tensor,
    *,
    mask: Tensor | None = None,
    variance: Callable[[Level], float] | None = None,
    noise: float = 0.0,
    scale: float = 1.0,
    through: bool = True,
) -> Denoiser:
    """Guidance towards samples of which `measure` gives what is known: x0 + scale sigma²/alpha grad log p(known | x).

    p(known | x) is taken as N(known; measure(x0(x)), variance + noise²), differentiated through the denoiser
    (reconstruction guidance, Ho et al. 2022, arXiv 2204.03458, eq. 7; with this variance pseudo-inverse guidance, Song
    et al. 2023, "Pseudoinverse-guided diffusion models"). For a Gaussian and a linear measure of one number it is
    exact, if `variance` is what is left of that number's variance at each level; else an approximation.

    measure: (B, ...) -> (B, ...), differentiable: a choice of entries, a decoder, … known: what it should give.
    mask: True where `known` counts; None: everywhere. variance: of the error of measure(x0) at a level; None: sigma² /
    (alpha² + sigma²), what it is for data of variance 1. noise: standard deviation of errors in `known`.
    through: whether the gradient passes through the denoiser; else its Jacobian is taken as that for independent data
    of variance 1, alpha/(alpha² + sigma²), which costs less, and holds where a network's own is not that of its noise
    level. At alpha = 0 the denoiser is left as it is: x says nothing of x0 there.
    """

    def guided(x: Tensor, at: Level) -> Denoised:
        if at.alpha == 0:
            return denoise(x, at)
        left = at.sigma**2 / (at.alpha**2 + at.sigma**2)  # of the variance of data of variance 1
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(through)
            x0, mix = denoise(leaf, at)
            leaf, gain = (leaf, at.sigma**2 / at.alpha) if through else (x0.detach().requires_grad_(), left)
            missed = (known.to(x0) - measure(x0 if through else leaf)).square()
            missed = missed if mask is None else torch.where(mask, missed, torch.zeros((), device=missed.device))
            spread = (left if variance is None else variance(at)) + noise**2
            (gradient,) = torch.autograd.grad(-0.5 * missed.sum() / spread, leaf)
        mix = None if mix is None else mix.detach()
        return Denoised(x0.detach().add(gradient, alpha=scale * gain), mix)

    return guided


def inpaint(
    denoise: Denoiser,
    known: Tensor,
    mask: Tensor,
    x: Tensor,
    levels: Sequence[Level],
    solver: Solver,
    noise: Noise = torch.randn_like,
    *,
    resample: int = 1,
) -> Iterator[Moment]:
    """Samples that are `known` where `mask` (bool) is True: RePaint (Lugmayr et al. 2022,
    arXiv 2201.09865, algorithm 1).

    Each step is made `resample` times: between two of them its result is noised up again, so that what is filled in and
    what is known come to fit together; 1 is plain replacement. More of them bring the mean of what is filled in to that
    given what is known; its variance comes out a little low with few steps. x: noise at levels[0]. levels, noise: as in
    `trajectory`. solver: with fresh noise in each step (DDPM(), DDIM(eta=1)) as in the paper, or any other; of one with
    memory the past is forgotten where a step is repeated.
    """
    check_levels(levels)
    if resample < 1:
        raise ValueError(f"resample {resample}: give 1 (plain replacement) or more")
    filled, past = replaced(denoise, known, mask), ()
    for step, (t, s) in enumerate(pairwise(levels)):
        x, past, x0 = _repeated(filled, x, t, s, solver, past, noise, resample)
        yield Moment(step, s, x, x0)


def _repeated(
    denoise: Denoiser, x: Tensor, t: Level, s: Level, solver: Solver, past: History, noise: Noise, times: int
) -> tuple[Tensor, History, Tensor]:
    for _ in range(times - 1):
        x, _ = solver.step(denoise, x, t, s, past, noise)
        x, past = renoise(x, s, t, noise), ()
    x, past = solver.step(denoise, x, t, s, past, noise)
    return x, past, past[0].x0


def renoise(x: Tensor, s: Level, t: Level, noise: Noise = torch.randn_like) -> Tensor:
    """x at level s, noised up to the noisier t: alpha_t/alpha_s x + transition_spread eps. From the clean level it is
    where SDEdit begins (Meng et al. 2021, arXiv 2108.01073, algorithm 1)."""
    return (t.alpha / s.alpha) * x + transition_spread(t, s) * noise(x)


def partway(levels: Sequence[Level], strength: float) -> list[Level]:
    """The last part of a run, for a variation of a sample: strength 1 is the whole run, near 0 its last step.

    Noise the sample up to the first of these (`renoise`) and go down them: SDEdit (arXiv 2108.01073). A larger strength
    keeps less of the sample. ValueError outside 0 < strength <= 1.
    """
    check_levels(levels)
    if not 0 < strength <= 1:
        raise ValueError(f"strength {strength}: give more than 0 (nothing changes) to 1 (drawn anew)")
    return list(levels[len(levels) - 1 - max(1, round(strength * (len(levels) - 1))) :])
