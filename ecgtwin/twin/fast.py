"""Twins by the model's student (`scripts/distill.py`): one call of the network a step, and few steps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ..diffusion.denoiser import Denoiser
from ..diffusion.levels import trailing
from ..diffusion.sample import seeded_noise, trajectory
from ..diffusion.solvers import Solver, UniPC
from ..nets import student as students
from ..nets.student import Student
from ..train.distillation import told
from .model import STUDENT
from .request import Request, check_seed

if TYPE_CHECKING:
    from .twin import ECGTwin

SOLVER: Solver = UniPC(2)
"""Of students, and of the paths that they learn from: for its calls it was nearest to the end of long runs."""


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
    model: "ECGTwin", requests: Sequence[Request], scales: Sequence[tuple[float, float]], calls: int
) -> Denoiser:
    """As `ECGTwin.denoiser`, each request at its own scales, for a run of so many calls."""
    settings = told(torch.tensor(scales, dtype=torch.float32, device=model.device), calls)
    student = model.fast.student
    return model.objective.bind(student.network, student.prepare(model.asked(requests), settings))


@torch.inference_mode()
def sample_fast(
    model: "ECGTwin",
    requests: Sequence[Request],
    scales: Sequence[tuple[float, float]],
    steps: int | None = None,
    *,
    progress: bool = False,
) -> Tensor:
    """`ECGTwin.sample`, each request at its own scales, in one call of the network a step."""
    calls = model.fast.steps(steps)
    for request in requests:
        check_seed(request.seed)
    noise = seeded_noise([r.seed for r in requests])
    x = noise(torch.empty(len(requests), *model.latent, device=model.device))
    walk = trajectory(denoiser(model, requests, scales, calls), x, trailing(model.schedule, calls), SOLVER, noise)
    for moment in tqdm(walk, total=calls, desc="denoising", disable=not progress):
        x = moment.x
    return model.parts.vae.decode(x)
