"""DPM-Solver++ that remembers its past: one network call per step at second or third order."""

import math
from dataclasses import dataclass

from torch import Tensor

from ..denoiser import Denoiser
from ..schedule import Level
from .solver import Evaluation, History, Noise, Solver, first_order, half_logsnr, kept, posterior_spread


@dataclass(frozen=True)
class DpmPP:
    """DPM-Solver++ multistep, 1M / 2M / 3M, and its SDE form 2M (Lu et al. 2022, arXiv 2211.01095, algorithm 2).

    memory: how many estimates of x0 are combined, 1 to 3. 2 is the default of most systems.
    eta: 0 follows the ODE; 1 is SDE-DPM-Solver++ (2M; memory <= 2).
    start: a single-step solver for the first step. Without it that step is first-order, which is no loss for memory 2
        but holds memory 3 at second order.
    The step to sigma = 0 is first-order (its log-SNR is infinite);
    where alpha was 0 one step before, memory has no say either.
    """

    memory: int = 2
    eta: float = 0.0
    start: Solver | None = None

    def __post_init__(self) -> None:
        if self.memory not in (1, 2, 3):
            raise ValueError(f"memory {self.memory}: DPM-Solver++ multistep is defined for 1, 2 and 3")
        if not 0 <= self.eta <= 1 or (self.eta and self.memory == 3):
            raise ValueError(f"eta {self.eta}, memory {self.memory}: give eta 0 to 1, above 0 only with memory 1 or 2")

    @property
    def order(self) -> int:
        return self.memory if self.start is not None and self.memory <= self.start.order + 1 else min(self.memory, 2)

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        if not past and self.start is not None:
            return self.start.step(denoise, x, t, s, past, noise)
        x0 = denoise(x, t).x0
        now = (Evaluation(t, x, x0), *past[: self.memory - 1])
        spread = self.eta * posterior_spread(t, s) if self.eta else 0.0
        depth = 1 if s.sigma == 0 else len(now)
        if depth >= 2 and math.isinf(half_logsnr(now[1].at)):
            depth = 1
        elif depth == 3 and math.isinf(half_logsnr(now[2].at)):
            depth = 2
        match depth:
            case 1:
                moved = first_order(x, x0, t, s, spread)
            case 2:
                moved = _second(x, now, s, spread)
            case _:
                moved = _third(x, now, s)
        if spread:
            moved = moved.add_(noise(x), alpha=spread)
        return moved, now


def _second(x: Tensor, now: History, s: Level, spread: float) -> Tensor:
    """x0 extrapolated to the middle of the step: (1 + 1/2r) x0 - 1/2r x0_before, r = h_before / h (algorithm 2)."""
    (t, _, x0), (before, _, x0_before) = now[:2]
    lam = half_logsnr(t)
    lean = (half_logsnr(s) - lam) / (2 * (lam - half_logsnr(before)))
    k = kept(t, s, spread)
    weight = s.alpha - t.alpha * k
    return x.mul(k).add_(x0, alpha=weight * (1 + lean)).add_(x0_before, alpha=-weight * lean)


def _third(x: Tensor, now: History, s: Level) -> Tensor:
    """The exponential integral of the parabola in log-SNR through three estimates of x0, in full.

    Widespread code weighs the parabola's bend with half of this, which is of second order only.
    """
    (t, _, x0), (before, _, x0_before), (earlier, _, x0_earlier) = now
    lam, lam_before = half_logsnr(t), half_logsnr(before)
    h = half_logsnr(s) - lam
    r0, r1 = (lam - lam_before) / h, (lam_before - half_logsnr(earlier)) / h
    decay = math.expm1(-h)
    slope, bend = s.alpha * (decay / h + 1), s.alpha * (1 - 2 * (decay + h) / h**2)
    # divided differences d0, d1 and their combination: slope * (d0 + r0/(r0+r1) (d0 - d1)) + bend * (d0 - d1)/(r0+r1)
    on_d1 = -(slope * r0 + bend) / (r0 + r1)
    on_d0 = slope - on_d1
    on_d0, on_d1 = on_d0 / r0, on_d1 / r1
    moved = x.mul(s.sigma / t.sigma).add_(x0, alpha=on_d0 - s.alpha * decay)
    return moved.add_(x0_before, alpha=on_d1 - on_d0).add_(x0_earlier, alpha=-on_d1)
