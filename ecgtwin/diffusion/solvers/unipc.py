"""UniPC: a predictor whose error the next network call corrects at no extra price."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..denoiser import Denoiser
from ..schedule import Level
from .solver import Evaluation, History, Noise, first_order, half_logsnr


@dataclass(frozen=True)
class UniPC:
    """Unified predictor-corrector on x0, multistep (Zhao et al. 2023, arXiv 2302.04867).

    memory: how many estimates the predictor combines, 1 to 3. The corrector adds one, and so one order:
        memory + 1, but 3 at most, since the first step has no past.
    weighting: B(h) of the paper, "bh2" = e^h - 1 or "bh1" = h; they differ within the order (only from memory 2 on, and
        in the correction after the first step).
    One call per step. The step to sigma = 0 and one from alpha = 0 are first-order and not corrected.
    """

    memory: int = 2
    weighting: Literal["bh1", "bh2"] = "bh2"

    def __post_init__(self) -> None:
        if self.memory not in (1, 2, 3) or self.weighting not in ("bh1", "bh2"):
            raise ValueError(f"memory {self.memory}, weighting {self.weighting!r}: give 1, 2 or 3 and bh1 or bh2")

    @property
    def order(self) -> int:
        return min(self.memory + 1, 3)

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        x0 = denoise(x, t).x0
        past = tuple(e for e in past if e.at.alpha > 0)
        if past:
            x = self._leap(past, t, Evaluation(t, x, x0))
        now = (Evaluation(t, x, x0), *past[: self.memory - 1])
        if s.sigma == 0 or t.alpha == 0:
            return first_order(x, x0, t, s), now
        return self._leap(now, s, None), now

    def _leap(self, known: History, s: Level, corrector: Evaluation | None) -> Tensor:
        """x at s from x at known[0], with the x0 of `known` and, for the corrector, the one estimated at s itself."""
        (t, x, x0), *older = known
        moved = first_order(x, x0, t, s)
        lam = half_logsnr(t)
        h = half_logsnr(s) - lam
        others = older if corrector is None else [*older, corrector]
        if not others:
            return moved
        places = [(half_logsnr(e.at) - lam) / h for e in others]
        for other, place, share in zip(others, places, self._shares(places, h), strict=True):
            weight = -s.alpha * self._scale(h) * share / place
            moved = moved.add_(other.x0, alpha=weight).add_(x0, alpha=-weight)
        return moved

    def _scale(self, h: float) -> float:
        return -h if self.weighting == "bh1" else math.expm1(-h)

    def _shares(self, places: Sequence[float], h: float) -> Sequence[float]:
        """The weights of the divided differences; with a single one 1/2, as the paper chooses."""
        if len(places) == 1:
            return [0.5]
        wanted, factorial = [], 1.0
        phi = math.expm1(-h) / -h - 1
        for k in range(1, len(places) + 1):
            wanted.append(phi * factorial / self._scale(h))
            factorial *= k + 1
            phi = phi / -h - 1 / factorial
        return _solve_vandermonde(places, wanted)


def _solve_vandermonde(places: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """a with sum_j a_j places_j^k = wanted_k for k = 0, 1, …: coefficients of Lagrange polynomials against `wanted`."""
    answer = []
    for j, place in enumerate(places):
        coefficients = [1.0]
        for m, other in enumerate(places):
            if m != j:
                shifted, scaled = [0.0, *coefficients], [-other * c for c in coefficients] + [0.0]
                coefficients = [(a + b) / (place - other) for a, b in zip(shifted, scaled, strict=True)]
        answer.append(sum(c * w for c, w in zip(coefficients, wanted, strict=True)))
    return answer
