"""A solver that is fitted as a whole to one model and one number of calls, in the place of derived from a schedule."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..denoiser import Denoiser
from ..levels import Path, at_indices
from ..schedule import Level
from .solver import Evaluation, History, Noise


@dataclass(frozen=True)
class Fitted:
    """A run by fitted numbers: what is known so far, the noise x_T and all estimates of x0, each weighed by its own.

        x at the next level = weights[i][0] x_T + sum over j <= i of weights[i][j + 1] x0_j    after call i

    Every solver without fresh noise that asks once a step is of this form, with weights that follow from the levels
    (non-stationary solvers: Shaul et al. 2024, arXiv 2403.01329, section 3; S4S, Frankel et al. 2025, arXiv
    2502.17423). These here are those with which a model's run of so few calls ends nearest to its long run
    (`diffusion.fitting`), so they are for its levels alone: run it over `levels`. Being numbers, they do for tensors of
    any shape.

    indices: of the levels at which it asks, noisiest first; the run ends at the clean level.
    weights: a row for each call, of one number for x_T and one for each estimate so far.
    """

    indices: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    order: int = 0
    """None: there is no smaller step with these numbers."""

    def __post_init__(self) -> None:
        wanted, given = [k + 2 for k in range(len(self.indices))], [len(row) for row in self.weights]
        if not wanted or given != wanted:
            raise ValueError(f"{len(self.indices)} levels with rows of {given} weights: expected {wanted}")

    @property
    def calls(self) -> int:
        return len(self.indices)

    def levels(self, schedule: Path, steps: int) -> list[Level]:
        """The levels of its run, a `Spacing` for its own number of calls; ValueError for another."""
        if steps != self.calls:
            raise ValueError(f"{steps} steps: this solver was fitted for {self.calls}")
        return at_indices(schedule, self.indices)

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        call = len(past)
        if call >= self.calls or abs(t.t - self.indices[call]) > 1e-6:
            raise ValueError(f"call {call + 1} at t = {t.t:g}: this solver was fitted to be asked at {self.indices}")
        now = (Evaluation(t, x, denoise(x, t).x0), *past)
        return combined(now, self.weights[call]), now


def combined(now: History, weights: Sequence[float]) -> Tensor:
    """weights[0] x_T + weights[1] x0_0 + …; the history has the latest first."""
    moved = now[-1].x.mul(weights[0])
    for one, weight in zip(reversed(now), weights[1:], strict=True):
        moved = moved.add_(one.x0, alpha=weight)
    return moved
