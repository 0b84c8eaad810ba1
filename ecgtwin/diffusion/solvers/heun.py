"""Heun's method: look ahead with Euler, then step with the mean of both slopes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ..denoiser import Denoiser
from ..schedule import Level
from .solver import Evaluation, History, Noise, clock_is_sound, first_order


@dataclass(frozen=True)
class Heun:
    """Second order at two calls per step: the mean of two slopes d = (x - c x0) / sigma of x/c on the clock sigma/c.

    clock: "flow" is c = alpha + sigma, where d is the velocity eps - x0 of flow matching: the clock runs from 0 to 1,
        so it is right on every schedule, from alpha = 0 too. "edm" is c = alpha, where d is eps, as in Karras et al.
        2022 (arXiv 2206.00364, algorithms 1 and 2): the same on their levels. That clock is infinite at alpha = 0 and
        multiplies errors of x0 by how much it falls in a step, so a step in which it falls more than tenfold while
        there is more noise than signal goes by the flow's.

    The step to sigma = 0 is Euler's, as in the paper.

    churn: before each step raise sigma/alpha by this fraction with fresh noise (gamma of algorithm 2: S_churn/steps, at
        most sqrt(2) - 1). churn_range: only where sigma/alpha lies in it. churn_noise: S_noise, deviation of that
        noise.
    level_at: needed for churn: log-SNR -> Level, the schedule's own. It must reach (1 + churn) times the noise of the
        first churned level, so let churn_range end below the noisiest level.
    """

    clock: Literal["flow", "edm"] = "flow"
    churn: float = 0.0
    churn_range: tuple[float, float] = (0.0, math.inf)
    churn_noise: float = 1.0
    level_at: Callable[[float], Level] | None = None
    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.clock not in ("flow", "edm"):
            raise ValueError(f"clock {self.clock!r}: give flow or edm")
        if not 0 <= self.churn < math.inf or (self.churn > 0 and self.level_at is None):
            raise ValueError(
                f"churn {self.churn} with level_at {self.level_at}: give a finite number that is not negative; above 0 "
                "it needs level_at=schedule.level_at to know the noisier level"
            )

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        if self.churn and t.alpha > 0 and self.churn_range[0] <= t.sigma / t.alpha <= self.churn_range[1]:
            x, t = self._raise(x, t, noise)
        x0 = denoise(x, t).x0
        history = (Evaluation(t, x, x0),)
        ahead = first_order(x, x0, t, s)
        if s.sigma == 0:
            return ahead, history
        x0_ahead = denoise(ahead, s).x0
        edm = self.clock == "edm" and clock_is_sound(t, s)
        scale_t, scale_s = (t.alpha, s.alpha) if edm else (t.alpha + t.sigma, s.alpha + s.sigma)
        half = (s.sigma - t.sigma * scale_s / scale_t) / 2
        moved = ahead.mul(1 + half / s.sigma).add_(x0_ahead, alpha=-half * scale_s / s.sigma)
        return moved.add_(x, alpha=-half / t.sigma).add_(x0, alpha=half * scale_t / t.sigma), history

    def _raise(self, x: Tensor, t: Level, noise: Noise) -> tuple[Tensor, Level]:
        """x and the level with sigma/alpha larger by the factor 1 + churn."""
        assert self.level_at is not None
        higher = self.level_at(t.logsnr - 2 * math.log1p(self.churn))
        added = math.sqrt((higher.sigma / higher.alpha) ** 2 - (t.sigma / t.alpha) ** 2)
        fresh = higher.alpha * self.churn_noise * added
        return x.mul(higher.alpha / t.alpha).add_(noise(x), alpha=fresh), higher
