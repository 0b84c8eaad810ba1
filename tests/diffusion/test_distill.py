"""Distillation on distributions whose perfect denoiser and perfect student are known in closed form."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from ecgtwin.diffusion import cosine, distill
from ecgtwin.diffusion.denoiser import Denoised, bind
from ecgtwin.diffusion.exact import Gaussian, Mixture
from ecgtwin.diffusion.guidance import guide
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.objective import Objective
from ecgtwin.diffusion.sample import sample
from ecgtwin.diffusion.solvers import DDIM, DDPM, DpmPP, UniPC

SCHEDULE = cosine(1000)
GAUSSIAN = Gaussian(0.7, 0.3)


def noise(*shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def exact_path(x, levels):
    """The probability-flow ODE itself, without a solver's error."""
    path = [x]
    for t, s in pairwise(levels):
        path.append(GAUSSIAN.flow(path[-1], t, s))
    return torch.stack(path, 1)


def perfect(levels):
    """The student that does all of the ODE between two levels in one step."""
    following = dict(pairwise(levels))
    return lambda x, t: Denoised(distill.landing(x, t, GAUSSIAN.flow(x, t, following[t]), following[t]))


@pytest.mark.parametrize("calls", [1, 2, 4])
def test_the_perfect_student_makes_no_error_in_any_number_of_calls_and_its_teacher_does(calls):
    x, levels = noise(5, 2, 3), trailing(SCHEDULE, calls)
    path = exact_path(x, levels)
    run = sample(perfect(levels), x, levels, DDIM())
    torch.testing.assert_close(run, path[:, -1], atol=1e-12, rtol=0)
    for error in (distill.step_by_step, distill.whole_run):
        assert float(error(perfect(levels), path, levels).max()) < 1e-24
        assert float(error(GAUSSIAN, path, levels).min()) > 1e-5


def test_a_landing_is_where_one_step_ends():
    for t, s in pairwise(trailing(SCHEDULE, 5)):
        x, goal = noise(2, 4), noise(4, 4)[2:]
        x0 = distill.landing(x, t, goal, s)
        landed, _ = DDIM().step(lambda x, at, x0=x0: Denoised(x0), x, t, s, (), torch.randn_like)
        torch.testing.assert_close(landed, goal, atol=1e-12, rtol=0)


def test_the_consistency_function_is_consistent_and_a_denoiser_is_not():
    levels = trailing(SCHEDULE, 6)
    path, clean = exact_path(noise(4, 3), levels), levels[-1]

    def ends(x, t):
        return Denoised(GAUSSIAN.flow(x, t, clean))

    assert float(distill.consistency(ends, ends, path, levels).max()) < 1e-24
    assert float(distill.consistency(GAUSSIAN, GAUSSIAN, path, levels).min()) > 1e-4


def test_a_path_is_thinned_to_the_levels_of_the_student():
    levels = trailing(SCHEDULE, 8)
    path = torch.tensor([[level.t for level in levels]])
    for calls in (1, 2, 4, 8):
        assert distill.thinned(path, calls)[0].tolist() == [level.t for level in trailing(SCHEDULE, calls)]
    for calls in (0, 3, 16):
        with pytest.raises(ValueError, match="divides"):
            distill.thinned(path, calls)


def test_a_path_has_the_run_of_its_teacher_and_takes_no_solver_that_draws_noise():
    x, levels = noise(3, 2), trailing(SCHEDULE, 4)
    path = distill.path_of(GAUSSIAN, x, levels, DpmPP(2))
    assert path.shape == (3, 5, 2) and torch.equal(path[:, 0], x)
    assert torch.equal(path[:, -1], sample(GAUSSIAN, x, levels, DpmPP(2)))
    with pytest.raises(ValueError, match="noise"):
        distill.path_of(GAUSSIAN, x, levels, DDPM())


class Small(nn.Module):
    """(x (B, 2), t, scale (B, 1)) -> v."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 2))

    def forward(self, x, t, scale):
        angle = t[:, None] / 1000 * torch.pi / 2
        return self.body(torch.cat([x, angle.cos(), angle.sin(), scale], 1))


@pytest.mark.parametrize("kind", ["run", "step"])
def test_a_student_of_a_guided_mixture_learns_every_scale_in_one_call_a_step(kind):
    means = torch.tensor([[1.0, 0.5], [-1.0, 0.5], [0.0, -1.0]])
    away, toward = Mixture(means, 0.1, torch.ones(3)), Mixture(means[:2], 0.1, torch.ones(2))
    generator = torch.Generator().manual_seed(1)
    levels, few = trailing(SCHEDULE, 20), trailing(SCHEDULE, 2)

    def paths(n, scale):
        x = torch.randn(n, 2, generator=generator)
        path = distill.path_of(guide(toward, away, scale), x, levels, UniPC(2))
        return distill.thinned(path, 2), torch.full((n, 1), scale)

    made = [paths(128, scale) for scale in (1.0, 1.5, 2.0, 2.5, 3.0)]
    path, scale = (torch.cat(parts) for parts in zip(*made, strict=True))
    torch.manual_seed(0)
    student, loss = Small(), distill.Runs(Objective(SCHEDULE, "v"), kind)
    optimiser = torch.optim.Adam(student.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 400)
    for _ in range(400):
        optimiser.zero_grad()
        loss(student, scale, path, 2).mean().backward()
        optimiser.step()
        schedule.step()
    for wanted in (1.25, 2.75):  # scales that were not taught
        path, scale = paths(256, wanted)
        with torch.no_grad():
            drawn = sample(bind(student, scale, "v"), path[:, 0], few, DDIM())
            teacher = sample(guide(toward, away, wanted), path[:, 0], few, DDIM())
            other = sample(bind(student, 4 - scale, "v"), path[:, 0], few, DDIM())
        error, before, unlike = ((y - path[:, -1]).square().mean() for y in (drawn, teacher, other))
        assert error < 0.2 * before and error < 0.6 * unlike


def test_an_unknown_kind_of_loss_is_refused():
    with pytest.raises(ValueError, match="run, step, consistency"):
        distill.Runs(Objective(SCHEDULE, "v"), "other")
