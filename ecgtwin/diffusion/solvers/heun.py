"""Heun's method: look ahead with Euler, then step with the mean of both slopes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ecgtwin.diffusion.denoiser import Denoiser
from ecgtwin.diffusion.schedule import Level
from ecgtwin.diffusion.solvers.solver import Evaluation, History, Noise, first_order


@dataclass(frozen=True)
class Heun:
    """Second order at two calls per step (Karras et al. 2022, arXiv 2206.00364, algorithms 1 and 2).

    The slope is d = (x - c x0) / sigma of x/c on the clock sigma/c. With c = alpha it is eps, as in the paper; with
    c = alpha + sigma (`flow`) it is the velocity eps - x0 of flow matching, whose clock is finite at alpha = 0 too.
    The step to sigma = 0 is Euler's, as in the paper; so is, without `flow`, a step from alpha = 0.

    churn: before each step raise sigma/alpha by this fraction with fresh noise (gamma of algorithm 2: S_churn/steps, at
        most sqrt(2) - 1). churn_range: only where sigma/alpha lies in it. churn_noise: S_noise, deviation of that
        noise.
    level_at: needed for churn: log-SNR -> Level, the schedule's own. It must reach (1 + churn) times the noise of the
        first churned level, so let churn_range end below the noisiest level.
    """

    flow: bool = False
    churn: float = 0.0
    churn_range: tuple[float, float] = (0.0, math.inf)
    churn_noise: float = 1.0
    level_at: Callable[[float], Level] | None = None
    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.churn < 0 or (self.churn > 0 and self.level_at is None):
            raise ValueError(
                f"churn {self.churn} with level_at {self.level_at}: churn is not negative, and above 0 it needs "
                "level_at=schedule.level_at to know the noisier level"
            )

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        if self.churn and t.alpha > 0 and self.churn_range[0] <= t.sigma / t.alpha <= self.churn_range[1]:
            x, t = self._raise(x, t, noise)
        x0 = denoise(x, t).x0
        history = (Evaluation(t, x, x0),)
        ahead = first_order(x, x0, t, s)
        if s.sigma == 0 or (t.alpha == 0 and not self.flow):
            return ahead, history
        x0_ahead = denoise(ahead, s).x0
        scale_t, scale_s = (t.alpha + t.sigma, s.alpha + s.sigma) if self.flow else (t.alpha, s.alpha)
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
