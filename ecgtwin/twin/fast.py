"""Twins in few steps: by a solver that was fitted to the model (`scripts/fit_solver.py`), by UniPC, or by the model's
student (`scripts/distill.py`), which asks the network once a step."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..diffusion.denoiser import Denoiser
from ..diffusion.levels import Spacing, trailing
from ..diffusion.schedule import Level
from ..diffusion.solvers import Fitted, Solver, UniPC
from ..nets import adapters
from ..nets import student as students
from ..nets.student import Student
from .lean import run_of
from .model import SOLVERS, STUDENT, Parts
from .request import Request

if TYPE_CHECKING:
    from .twin import ECGTwin

SOLVER: Solver = UniPC(2)
"""Of those that follow from the levels alone it was, for its calls, nearest to the end of long runs."""


class FittedSolvers(NamedTuple):
    """Solvers that were fitted to a model, by their number of calls, and the number where nobody says one."""

    calls: int
    solvers: dict[int, Fitted]

    def described(self, parts: Parts) -> dict[str, Any]:
        """As they lie in a model's folder, with the fingerprint of the network that they were fitted to."""
        runs = {str(n): {"indices": s.indices, "weights": s.weights} for n, s in self.solvers.items()}
        return {"network": adapters.fingerprint(parts.denoiser), "calls": self.calls, "solvers": runs}


def fitted_of(parts: Parts) -> FittedSolvers | None:
    """Those in the model's folder, None where there are none. ValueError: they are damaged, or another network's."""
    said = parts.solvers
    if said is None:
        return None
    try:
        found = {
            int(n): Fitted(tuple(map(float, one["indices"])), tuple(tuple(map(float, row)) for row in one["weights"]))
            for n, one in said["solvers"].items()
        }
        calls, network = int(said["calls"]), said["network"]
        numbers = [w for one in found.values() for row in (one.indices, *one.weights) for w in row]
        if calls not in found or any(n != one.calls for n, one in found.items()) or not all(map(isfinite, numbers)):
            raise ValueError(f"calls {calls}, solvers of {', '.join(map(str, found))}")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{SOLVERS} in the model's folder is damaged: {str(error)[:200]}") from None
    if network != adapters.fingerprint(parts.denoiser):
        raise ValueError(
            f"{SOLVERS} in the model's folder was fitted to another network: fit it anew (scripts/fit_solver.py), or "
            "remove it: then UniPC takes its place"
        )
    return FittedSolvers(calls, found)


def walk_of(model: "ECGTwin", steps: int, levels: Spacing) -> tuple[Solver, Spacing]:
    """How few steps are walked: by the solver that was fitted for so many, where there is one and no other levels are
    asked for; else by UniPC."""
    known = model.fitted
    if known is None or steps not in known.solvers or levels is not trailing:
        return SOLVER, levels
    return known.solvers[steps], known.solvers[steps].levels


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
