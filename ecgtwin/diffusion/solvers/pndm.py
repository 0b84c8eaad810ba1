"""PNDM: DDIM's step with the noise estimate of a classical multistep method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..denoiser import Denoiser, to_eps
from ..schedule import Level
from .solver import Evaluation, History, Noise, Solver, clock_is_sound, first_order

ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


@dataclass(frozen=True)
class PNDM:
    """Pseudo linear multistep (Liu et al. 2022, arXiv 2202.09778,
    eq. 9 and 12): DDIM with up to four past noise estimates.

    The Adams-Bashforth weights belong to steps of equal length in the index: use `leading`, `trailing` or `linspace`.
    Second order, at one call per step and small constants.
    start: the solver of the first three steps, PseudoRungeKutta(schedule.level) as in the paper;
        None starts with one Heun-like step of two calls and fewer past estimates, as Stable Diffusion does (PLMS).
    A mean of noises has its errors divided by alpha: from alpha = 0, and where sigma/alpha falls more than tenfold
    in a step, the step is DDIM's.
    """

    start: Solver | None = None
    order: ClassVar[int] = 2

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        if self.start is not None and len(past) < 3:
            moved, (latest, *_) = self.start.step(denoise, x, t, s, (), noise)
            return moved, (latest, *past)
        x0 = denoise(x, t).x0
        now = (Evaluation(t, x, x0), *past[:3])
        if not clock_is_sound(t, s):
            return first_order(x, x0, t, s), now
        if past or s.sigma == 0:
            return transfer(x, _mean_eps(now, ADAMS_BASHFORTH[len(now) - 1]), t, s), now
        ahead = transfer(x, to_eps(x, x0, t.alpha, t.sigma), t, s)
        both = (now[0], Evaluation(s, ahead, denoise(ahead, s).x0))
        return transfer(x, _mean_eps(both, (0.5, 0.5)), t, s), now


@dataclass(frozen=True)
class PseudoRungeKutta:
    """Pseudo Runge-Kutta (arXiv 2202.09778, eq. 13): four noise estimates per step, in the middle of the index twice.

    level: index -> Level, the schedule's own. Second order; four calls. The step to sigma = 0
    is DDIM's, and so is one from alpha = 0 or where sigma/alpha falls more than tenfold.
    """

    level: Callable[[float], Level]
    order: ClassVar[int] = 2

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        x0 = denoise(x, t).x0
        history = (Evaluation(t, x, x0),)
        if s.sigma == 0 or not clock_is_sound(t, s):
            return first_order(x, x0, t, s), history
        first = to_eps(x, x0, t.alpha, t.sigma)
        mid = self.level((t.t + s.t) / 2)
        second = _eps_after(denoise, x, first, t, mid)
        third = _eps_after(denoise, x, second, t, mid)
        fourth = _eps_after(denoise, x, third, t, s)
        mean = (first + 2 * second + 2 * third + fourth) / 6
        return transfer(x, mean, t, s), history


def transfer(x: Tensor, eps: Tensor, t: Level, s: Level) -> Tensor:
    """DDIM's step along a given noise: x_s = (alpha_s/alpha_t) x + (sigma_s - sigma_t alpha_s/alpha_t) eps (eq. 9)."""
    k = s.alpha / t.alpha
    return x.mul(k).add_(eps, alpha=s.sigma - t.sigma * k)


def _mean_eps(evaluations: History, weights: Sequence[float]) -> Tensor:
    """The weighted sum of the noise estimates eps = (x - alpha x0) / sigma."""
    mean = torch.zeros_like(evaluations[0].x)
    for (at, x, x0), weight in zip(evaluations, weights, strict=True):
        mean.add_(x, alpha=weight / at.sigma).add_(x0, alpha=-weight * at.alpha / at.sigma)
    return mean


def _eps_after(denoise: Denoiser, x: Tensor, eps: Tensor, t: Level, s: Level) -> Tensor:
    moved = transfer(x, eps, t, s)
    return to_eps(moved, denoise(moved, s).x0, s.alpha, s.sigma)
