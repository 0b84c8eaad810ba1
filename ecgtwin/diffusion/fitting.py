"""Fitting a solver to a model: in a few calls as near as can be to where its long run ends, from forward passes alone.

The teacher's path is what a long run went through (`distill.path_of`). The solver is fitted call by call on its own
states, so that later calls mend what earlier ones missed: by least squares, which has one answer, not by training
(after S4S, arXiv 2502.17423, who train the numbers by gradients through the whole run). Its levels are chosen among the
teacher's.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .denoiser import Denoiser
from .schedule import Level
from .solvers import Fitted
from .solvers.fitted import combined
from .solvers.solver import Evaluation, History

RIDGE = 1e-6
"""How much it counts, beside the error, that a weight leaves DDIM's, of the size of what it weighs: estimates at
neighbouring levels are nearly alike."""


def fit(
    denoise: Denoiser, path: Tensor, levels: Sequence[Level], asked: Sequence[int], *, ridge: float = RIDGE
) -> tuple[Fitted, Tensor]:
    """The solver that asks at levels[k] for k in asked (rising, 0 first), and where its run ends, like path[:, -1].

    denoise: the guided model of the whole batch. path (B, K + 1, ...): the teacher's states at its K + 1 levels, of
    which the last is the goal of the last call and each one asked at the goal of the call before it.
    """
    if list(asked) != sorted(set(asked)) or not len(asked) or asked[0] != 0 or asked[-1] >= len(levels) - 1:
        raise ValueError(
            f"asked at {list(asked)} of {len(levels)} levels: give rising numbers from 0, without the last"
        )
    x, past, rows = path[:, 0], (), []
    own = [1.0]  # x as weights of what is known
    for k, after in pairwise([*asked, len(levels) - 1]):
        t, s = levels[k], levels[after]
        past = (Evaluation(t, x, denoise(x, t).x0), *past)
        kept = s.sigma / t.sigma
        ddim = [*(kept * w for w in own), s.alpha - t.alpha * kept]
        own = nearest(past, path[:, after], ddim, ridge)
        x = combined(past, own)
        rows.append(tuple(own))
    return Fitted(tuple(levels[k].t for k in asked), tuple(rows)), x


def nearest(past: History, goal: Tensor, start: Sequence[float], ridge: float) -> list[float]:
    """The weights of x_T and of the estimates whose sum is nearest to the goal; where that says little, near start."""
    known = [past[-1].x, *(one.x0 for one in reversed(past))]
    products = torch.tensor([[dot(a, b) for b in known] for a in known], dtype=torch.float64)
    toward = torch.tensor([dot(a, goal) for a in known], dtype=torch.float64)
    begin = torch.tensor(start, dtype=torch.float64)
    size = products.diagonal()
    held = products + ridge * torch.diag(size.clamp(min=1e-12 * float(size.max())))
    return (begin + torch.linalg.solve(held, toward - products @ begin)).tolist()


def dot(a: Tensor, b: Tensor) -> float:
    return float((a.double() * b.double()).sum())


def missed(end: Tensor, path: Tensor) -> float:
    """Root mean square of how far ends are from the teacher's."""
    return float((end - path[:, -1]).double().square().mean().sqrt())


def search(
    denoise: Denoiser,
    path: Tensor,
    levels: Sequence[Level],
    calls: int,
    *,
    start: Sequence[int] | None = None,
    told: Callable[[Sequence[int], float], None] | None = None,
) -> tuple[int, ...]:
    """At which of the teacher's levels so many calls are best asked: one after another is moved by one or two as long
    as the fitted run ends nearer. start: where to begin, None: evenly. told: hears of each that was tried."""
    last = len(levels) - 1
    if not 1 <= calls <= last:
        raise ValueError(f"{calls} calls on a path of {last} steps: give 1 to {last}")
    found: dict[tuple[int, ...], float] = {}

    def error(asked: tuple[int, ...]) -> float:
        if asked not in found:
            found[asked] = missed(fit(denoise, path, levels, asked)[1], path)
            if told is not None:
                told(asked, found[asked])
        return found[asked]

    best = tuple(k * last // calls for k in range(calls)) if start is None else tuple(start)
    while True:
        before = best
        for place in range(1, calls):
            for by in (-2, -1, 1, 2):
                moved = (*best[:place], best[place] + by, *best[place + 1 :])
                if all(a < b for a, b in pairwise((*moved, last))) and error(moved) < error(best):
                    best = moved
                    break
        if best == before:
            return best
