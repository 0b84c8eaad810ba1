"""A student as a stage: it learns from what its teacher did once and was kept, row by row.

Shapes: N rows · B of them in a batch · K steps of the teacher · S settings of a run.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .batch import Drawn, mapped
from .loop import Training, by_sample
from .plan import AdapterPlan, Plan, Positive
from .stage import Backward, Figures
from .strict import Strict


class Paths(NamedTuple):
    """What a teacher did: states (N, K + 1, ...) from noise to clean, the conditions that it was under (nested tensors,
    rows first), and the guidance scales (N, S - 1)."""

    states: Tensor
    condition: Any
    scales: Tensor

    def rows(self, chosen: Tensor | slice) -> "Paths":
        return mapped(self, lambda x: x[chosen])


class Lesson(NamedTuple):
    """rows (B,) of the paths. calls (B,): of the student in this step, the same for all rows."""

    rows: Tensor
    calls: Tensor
    paths: Paths | None = None


Objective = Callable[[nn.Module, Any, Tensor, int], Tensor]
"""(student, its condition and the settings of the run, states, calls) -> one loss per row (B,)."""


class TeacherPlan(Strict):
    """How many paths of the teacher a student learns from, and how they are made."""

    paths: Positive = 4096
    held: Positive = 256
    """Further paths, on which it is validated."""
    steps: Positive = 20
    """Of a path; every number of calls of the student divides it."""
    batch: Positive = 32
    seed: int = 0


class StudentConfig(Strict):
    """One YAML file: what a student learns from, what of it learns, and how."""

    teacher: TeacherPlan = TeacherPlan()
    adapter: AdapterPlan = AdapterPlan()
    calls: tuple[Positive, ...] = Field((2, 4), min_length=1)
    """With how many calls of the network the student shall do; each divides the teacher's steps."""
    objective: Literal["run", "step", "consistency"] = "run"
    last: float = Field(1.0, gt=0)
    """How many times the end of a run counts, where the objective is the run."""
    train: Plan

    @model_validator(mode="after")
    def thinned(self):
        if any(self.teacher.steps % calls for calls in self.calls):
            raise ValueError(f"calls {list(self.calls)}: each must divide teacher.steps, {self.teacher.steps}")
        return self


class Distillation:
    """Stage: the student's error, with a number of calls drawn for each step from those that it shall be able to do."""

    name = "student"

    def __init__(
        self,
        student: nn.Module,
        plan: Plan,
        calls: tuple[int, ...],
        objective: Objective,
        paths: Paths,
        held: Paths,
        *,
        blocks: tuple[type[nn.Module], ...],
        config: dict[str, Any],
        inputs: dict[str, Any],
    ):
        self.network, self.plan, self.calls, self.objective = student, plan, calls, objective
        self.paths, self.held, self.blocks, self.config, self.inputs = paths, held, blocks, config, inputs
        self.epoch = len(paths.states)
        learned = sum(p.numel() for p in student.parameters() if p.requires_grad)
        self.facts = {"learns": learned, "train": self.epoch, "held": len(held.states)}

    def draw(self, generator: torch.Generator) -> Lesson:
        n = self.plan.batch
        calls = self.calls[int(torch.randint(len(self.calls), (), generator=generator))]
        return Lesson(torch.randint(self.epoch, (n,), generator=generator), torch.full((n,), calls))

    def load(self, batch: Lesson) -> Lesson:
        return batch._replace(paths=self.paths.rows(batch.rows))

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, network: nn.Module, batch: Lesson) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.paths is not None
        return self.error(network, batch.paths, int(batch.calls[0])), {}

    def error(self, network: nn.Module, paths: Paths, calls: int) -> Tensor:
        """(B,). Kept numbers are in half precision; weights that an adapter changes are computed once for all calls."""
        paths = mapped(paths, lambda x: x.float() if x.is_floating_point() else x)
        settings = self.network.told(paths.scales, calls)
        with parametrize.cached():
            return self.objective(network, (paths.condition, settings), paths.states, calls)

    def names(self, batch: Lesson) -> list[str]:
        return [f"path {row}" for row in batch.rows.tolist()]

    def validate(self, network: nn.Module) -> Figures:
        """The loss on held-out paths with each number of calls."""
        device = next(network.parameters()).device
        held = mapped(self.held, lambda x: x.to(device))
        return {f"held_{calls}": float(self.error(network, held, calls).mean()) for calls in self.calls}

    def score(self, figures: Figures) -> None:
        return None

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        return network.learned()

    def figure(self, network: nn.Module) -> None:
        return None
