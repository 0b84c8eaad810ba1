"""Distillation: what a student learns that must do in a few calls of a network what its teacher does in many.

The teacher is any denoiser with any solver, run once: its *path*, the states (B, K + 1, ...) at K + 1 levels from noise
to clean, is kept, so it need not be there while the student learns. The student's run is `sample` with as many levels
as it has calls, by any solver that asks once a step and draws no noise: DDIM, or one that remembers, which leaves it
less to learn.

Guidance goes into the network by the same way (Meng et al. 2022, arXiv 2210.03142, section 3): the path is that of the
guided denoiser, and the student is told the scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .denoiser import Denoiser, Network
from .levels import trailing
from .objective import Objective
from .sample import trajectory
from .schedule import Level
from .solvers import DDIM, Solver

Kind = Literal["run", "step", "consistency"]


def path_of(denoise: Denoiser, x: Tensor, levels: Sequence[Level], solver: Solver) -> Tensor:
    """The states (B, K + 1, ...) of a run from x (B, ...) at levels[0], which are the first of them. The solver must
    not draw noise: a student could not foresee it."""
    return torch.stack([x, *(moment.x for moment in trajectory(denoise, x, levels, solver, _no_noise))], 1)


def thinned(path: Tensor, calls: int) -> Tensor:
    """Of a path of K steps the states (B, calls + 1, ...) at every (K / calls)-th level; ValueError unless calls
    divides K. Of a path at `trailing(schedule, K)` they are those at `trailing(schedule, calls)`, where T is a multiple
    of K."""
    steps = path.shape[1] - 1
    if calls < 1 or steps % calls:
        raise ValueError(f"{calls} calls of a path of {steps} steps: give a number that divides it")
    return path[:, :: steps // calls]


def landing(x: Tensor, t: Level, goal: Tensor, s: Level) -> Tensor:
    """The x0 with which one first-order step from x at t lands on `goal` at the cleaner s: what a student answers that
    does many steps of its teacher in one (Salimans & Ho 2022, arXiv 2202.00512, appendix G)."""
    ratio = s.sigma / t.sigma
    return (goal - ratio * x) / (s.alpha - t.alpha * ratio)


def step_by_step(student: Denoiser, path: Tensor, levels: Sequence[Level]) -> Tensor:
    """Progressive distillation (arXiv 2202.00512, algorithm 2): from each of the teacher's states one step, the squared
    error of where it lands, averaged over entries and steps: (B,)."""
    errors = []
    for k, (t, s) in enumerate(pairwise(levels)):
        x, _ = DDIM().step(student, path[:, k], t, s, (), _no_noise)
        errors.append(_mean((x - path[:, k + 1]).square()))
    return torch.stack(errors).mean(0)


def whole_run(
    student: Denoiser, path: Tensor, levels: Sequence[Level], solver: Solver = DDIM(), *, last: float = 1.0
) -> Tensor:
    """The student's own run from the path's noise, the squared error of each state, averaged over entries and steps;
    the gradient goes through the whole run, so that later calls learn to mend what earlier ones missed: (B,).

    last: how many times the clean end counts. One call is Luhman & Luhman 2021 (arXiv 2101.02388, eq. 7).
    """
    errors = []
    for k, moment in enumerate(trajectory(student, path[:, 0], levels, solver, _no_noise), 1):
        errors.append(_mean((moment.x - path[:, k]).square()) * (last if k == len(levels) - 1 else 1.0))
    return torch.stack(errors).sum(0) / (len(errors) - 1 + last)


def consistency(student: Denoiser, slow: Denoiser, path: Tensor, levels: Sequence[Level]) -> Tensor:
    """Consistency distillation (Song et al. 2023, arXiv 2303.01469, algorithm 2): the answer at each of the teacher's
    states is that of `slow`, the student's moving average, at the next one, and at the clean end the end itself: (B,).
    """
    errors = []
    for k, (t, s) in enumerate(pairwise(levels)):
        with torch.no_grad():
            goal = path[:, k + 1] if s.sigma == 0 else slow(path[:, k + 1], s).x0
        errors.append(_mean((student(path[:, k], t).x0 - goal).square()))
    return torch.stack(errors).mean(0)


@dataclass(frozen=True)
class Runs:
    """What a student's network minimises on its teacher's paths at `trailing` levels: (network, condition, path
    (B, K + 1, ...), calls) -> (B,), for any number of calls that divides K.

    objective: what the network predicts and on which schedule. kind: "run" is `whole_run`, "step" is `step_by_step`,
    "consistency" is `consistency` with the student itself, held fixed, in place of its average (as Song & Dhariwal
    2023, arXiv 2310.14189, section 3.2). solver, last: of `whole_run`.
    """

    objective: Objective
    kind: Kind = "run"
    solver: Solver = DDIM()
    last: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or not self.last > 0:
            raise ValueError(
                f"kind {self.kind!r}, last {self.last}: give {', '.join(get_args(Kind))}, and a number above 0"
            )

    def __call__(self, network: Network, condition: Any, path: Tensor, calls: int) -> Tensor:
        path, levels = thinned(path, calls), trailing(self.objective.schedule, calls)
        student = self.objective.bind(network, condition)
        if self.kind == "run":
            return whole_run(student, path, levels, self.solver, last=self.last)
        if self.kind == "step":
            return step_by_step(student, path, levels)
        return consistency(student, student, path, levels)


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)


def _no_noise(like: Tensor) -> Tensor:
    raise ValueError("a teacher's path must not depend on noise that is drawn on the way: give a solver without noise")
