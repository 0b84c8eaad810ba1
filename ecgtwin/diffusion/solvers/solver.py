"""What a solver is, and the one first-order step that most of them are made of."""

import math
from typing import NamedTuple, Protocol

from torch import Tensor

from ..denoiser import Denoiser
from ..schedule import Level


class Evaluation(NamedTuple):
    """One call of the denoiser: at this level, x was estimated to hide x0."""

    at: Level
    x: Tensor
    x0: Tensor


History = tuple[Evaluation, ...]


class Noise(Protocol):
    """Fresh standard normal noise with the shape, type and device of its argument, like torch.randn_like."""

    def __call__(self, like: Tensor, /) -> Tensor: ...


class Solver(Protocol):
    """One way to step from a noisier level t to a cleaner level s.

    order: the global order of accuracy in the step size, on smooth problems and with the spacing held fixed.
    past: the evaluations of earlier steps, latest first, () at the start of a run; the answer's second part is that of
        the next. Its first entry is always the step's own first call, so past[0].x0 is the picture of the step.
    noise: only stochastic solvers call it.
    """

    @property
    def order(self) -> int: ...

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]: ...


def first_order(x: Tensor, x0: Tensor, t: Level, s: Level, spread: float = 0.0) -> Tensor:
    """The mean of x at s when x0 is held fixed over the step and noise of deviation `spread` is added afterwards.

        x_s = k x + (alpha_s - alpha_t k) x0,    k = sqrt(sigma_s² - spread²) / sigma_t

    spread 0 is DDIM (Song et al. 2020, arXiv 2010.02502, eq. 12), Euler in sigma/alpha, Euler on a straight flow and
    DPM-Solver++ 1; spread `posterior_spread(t, s)` is the mean of DDPM and of Euler-ancestral. It divides by no alpha.
    """
    k = kept(t, s, spread)
    return x.mul(k).add_(x0, alpha=s.alpha - t.alpha * k)


def kept(t: Level, s: Level, spread: float = 0.0) -> float:
    """k, the share of x that stays in a first-order step whose fresh noise has deviation `spread`."""
    return s.sigma / t.sigma if spread == 0 else math.sqrt(max(s.sigma**2 - spread**2, 0.0)) / t.sigma


def transition_spread(t: Level, s: Level) -> float:
    """The deviation of x_t given x_s: sqrt(sigma_t² - (alpha_t sigma_s / alpha_s)²), sqrt(beta) between neighbours."""
    ratio = t.alpha * s.sigma / (s.alpha * t.sigma)
    if ratio > 1:
        raise ValueError(f"noise can only be added on the way down, and t = {t.t:g} -> {s.t:g} goes up: use eta = 0")
    return t.sigma * math.sqrt((1 - ratio) * (1 + ratio))


def posterior_spread(t: Level, s: Level) -> float:
    """The deviation of x_s given x_t and x0: transition_spread(t, s) sigma_s / sigma_t (arXiv 2010.02502, eq. 16)."""
    return transition_spread(t, s) * s.sigma / t.sigma


def half_logsnr(at: Level) -> float:
    """lambda = log(alpha / sigma), the clock of the DPM solvers."""
    return at.logsnr / 2


def clock_is_sound(t: Level, s: Level, most: float = 10.0) -> bool:
    """Whether a step by sigma/alpha, or by a mean of eps, can be right: it multiplies errors of x0 by the ratio of
    sigma/alpha at its ends, where there is more noise than signal. A solver with such a clock takes DDIM's step where
    this is False, as from alpha = 0 and, on many schedules, in the first step. Up (inversion) or down."""
    noisy, clean = (t, s) if t.logsnr < s.logsnr else (s, t)
    if clean.sigma <= clean.alpha:
        clean = clean._replace(alpha=1.0, sigma=1.0)  # below sigma = alpha such errors shrink with sigma
    return noisy.sigma * clean.alpha <= most * clean.sigma * noisy.alpha
