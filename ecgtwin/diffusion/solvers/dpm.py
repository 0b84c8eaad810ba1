"""Single-step DPM solvers: higher order from extra calls inside the step, with no memory."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..denoiser import Denoiser, to_eps
from ..schedule import Level
from .solver import Evaluation, History, Noise, clock_is_sound, first_order, half_logsnr


@dataclass(frozen=True)
class DpmSolver:
    """DPM-Solver-1/2/3 on eps (Lu et al. 2022, arXiv 2206.00927,
    algorithms 1 and 2): as many calls per step as its order.

    level_at: log-SNR -> Level, the schedule's own; it names the levels inside the step. One that answers with a level
        nearby is fine (a network that knows whole indices only): the formulas use the level that it answers.
    The step to sigma = 0 is first-order, and so is one from alpha = 0 or where sigma/alpha falls more than tenfold:
    there the differences of eps are those of x0 times a large number.
    """

    level_at: Callable[[float], Level]
    order: int = 2

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise ValueError(f"order {self.order}: DPM-Solver is defined for 1, 2 and 3")

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        x0 = denoise(x, t).x0
        history = (Evaluation(t, x, x0),)
        ahead = first_order(x, x0, t, s)
        if self.order == 1 or s.sigma == 0 or not clock_is_sound(t, s):
            return ahead, history
        eps = to_eps(x, x0, t.alpha, t.sigma)
        lam, h = half_logsnr(t), half_logsnr(s) - half_logsnr(t)
        mid = self.level_at(2 * (lam + h / self.order))
        r = (half_logsnr(mid) - lam) / h
        slope = self._eps(denoise, first_order(x, x0, t, mid), mid).sub_(eps)
        if self.order == 2:
            return ahead.add_(slope, alpha=-s.sigma * math.expm1(h) / (2 * r)), history
        far = self.level_at(2 * (lam + 2 * h / 3))
        r_far = (half_logsnr(far) - lam) / h
        weight = -far.sigma * (r_far / r) * _second_phi(r_far * h)
        slope_far = self._eps(denoise, first_order(x, x0, t, far).add_(slope, alpha=weight), far).sub_(eps)
        return ahead.add_(slope_far, alpha=-s.sigma / r_far * _second_phi(h)), history

    @staticmethod
    def _eps(denoise: Denoiser, x: Tensor, at: Level) -> Tensor:
        return to_eps(x, denoise(x, at).x0, at.alpha, at.sigma)


def _second_phi(h: float) -> float:
    """(e^h - 1)/h - 1."""
    return math.expm1(h) / h - 1


@dataclass(frozen=True)
class DpmPPSingle:
    """DPM-Solver++ 2S on x0 (Lu et al. 2022, arXiv 2211.01095, algorithm 1): second order, two calls, no memory.

    level_at: as in DpmSolver. A step from alpha = 0 or to sigma
    = 0, where there is no middle in log-SNR, is first-order.
    """

    level_at: Callable[[float], Level]
    order: ClassVar[int] = 2

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        x0 = denoise(x, t).x0
        history = (Evaluation(t, x, x0),)
        if t.alpha == 0 or s.sigma == 0:
            return first_order(x, x0, t, s), history
        lam, lam_s = half_logsnr(t), half_logsnr(s)
        mid = self.level_at(lam + lam_s)
        lean = (lam_s - lam) / (2 * (half_logsnr(mid) - lam))
        x0_mid = denoise(first_order(x, x0, t, mid), mid).x0
        return first_order(x, x0.mul(1 - lean).add_(x0_mid, alpha=lean), t, s), history
