"""Twins in few steps: by UniPC, or by the model's student (`scripts/distill.py`): one call of the network a step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from ..diffusion.denoiser import Denoiser
from ..diffusion.schedule import Level
from ..diffusion.solvers import Solver, UniPC
from ..nets import student as students
from ..nets.student import Student
from .lean import run_of
from .model import STUDENT
from .request import Request

if TYPE_CHECKING:
    from .twin import ECGTwin

SOLVER: Solver = UniPC(2)
"""For its calls it was nearest to the end of long runs."""


class Fast(NamedTuple):
    """A model's student, and the numbers of calls that it has learned, the most first."""

    student: Student
    calls: tuple[int, ...]

    def steps(self, wanted: int | None) -> int:
        """How many calls a run has; None: the most that were learned. ValueError for a number that was not."""
        if wanted is not None and wanted not in self.calls:
            raise ValueError(
                f"steps {wanted} with fast: this model's student has learned {', '.join(map(str, self.calls))}"
            )
        return self.calls[0] if wanted is None else wanted


def fast_of(model: "ECGTwin") -> Fast:
    """The student in the model's folder. ValueError where there is none, or that of another network."""
    path = model.parts.student
    if path is None:
        raise ValueError(
            f"fast: this model has no student ({STUDENT} in its folder): leave fast out, or see scripts/distill.py"
        )
    student, facts = students.load(model.parts.denoiser, model.config.denoiser.width, path)
    return Fast(student.to(model.device), tuple(sorted(map(int, facts["calls"]), reverse=True)))


def denoiser(
    model: "ECGTwin", requests: Sequence[Request], scales: Sequence[tuple[float, float]], visited: Sequence[Level]
) -> Denoiser:
    """As `ECGTwin.denoiser`, each request at its own scales, for a run over these levels."""
    student = model.fast.student
    settings = student.told(torch.tensor(scales, dtype=torch.float32, device=model.device), len(visited) - 1)
    prepared = student.prepare(model.asked(requests), settings)
    told = model.latent[1], model.objective.prediction, visited
    return run_of(student.network, prepared, *told, dtype=model.operands)
