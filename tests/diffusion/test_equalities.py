"""One step with many names: solvers that must agree with each other, and with their recipes as usually written."""

import math

import pytest
import torch

from ecgtwin.diffusion import Flow, Level, bind, cosine, sample
from ecgtwin.diffusion.denoiser import mixture
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.levels import linspace
from ecgtwin.diffusion.solvers import DDIM, DDPM, DpmPP, DpmSolver, Euler, EulerAncestral, Heun

SHAPES = [(2, 4, 8), (2, 4, 3, 5)]


class Circle:
    """The smooth path alpha = cos t, sigma = sin t."""

    def level_at(self, logsnr: float) -> Level:
        angle = math.atan(math.exp(-logsnr / 2))
        return Level(angle, math.cos(angle), math.sin(angle))


def patient(shape: tuple[int, ...]) -> tuple[Gaussian, torch.Tensor]:
    """A Gaussian with another mean and variance at every entry, and starting points."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    variance = 0.05 + 2 * torch.rand(shape[1:], generator=generator, dtype=torch.float64)
    return Gaussian(mean, variance), torch.randn(shape, generator=generator, dtype=torch.float64)


def grid(path, steps: int) -> list[Level]:
    """Even in log-SNR between two noisy levels, where every solver has its full order."""
    return [path.level_at(-4 + 8 * k / steps) for k in range(steps + 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", [Circle(), Flow(1000)], ids=["variance preserving", "flow"])
def test_many_names_one_step(path, shape):
    exact, x = patient(shape)
    levels = [*grid(path, 7), Level(0.0, 1.0, 0.0)]
    reference = sample(exact, x, levels, DDIM())
    for solver in (Euler(), DpmPP(1), DpmSolver(path.level_at, 1)):
        assert torch.equal(sample(exact, x, levels, solver), reference)
    tape = torch.randn((8, *shape), dtype=torch.float64)
    reference = sample(exact, x, levels, DDIM(1.0), played(tape))
    for solver in (EulerAncestral(), DDPM("small"), DpmPP(1, eta=1.0)):
        assert torch.allclose(sample(exact, x, levels, solver, played(tape)), reference, atol=1e-13)


def played(tape: torch.Tensor):
    """The k-th call answers with the k-th entry of the tape."""
    calls = iter(tape)
    return lambda like: next(calls)


def test_euler_ancestral_is_the_known_recipe_in_sigma_over_alpha():
    """Down to sigma_down, then up by sigma_up, on y = x / alpha: the recipe as it is usually given."""
    exact, x = patient(SHAPES[0])
    levels = grid(Circle(), 6)
    tape = torch.randn((6, *SHAPES[0]), dtype=torch.float64)
    y = x / levels[0].alpha
    for t, s, z in zip(levels, levels[1:], tape, strict=False):
        old, new = t.sigma / t.alpha, s.sigma / s.alpha
        up = math.sqrt(new**2 * (old**2 - new**2) / old**2)
        down = math.sqrt(new**2 - up**2)
        y = y + (y - exact(y * t.alpha, t).x0) / old * (down - old) + up * z
    reached = sample(exact, x, levels, EulerAncestral(), played(tape))
    assert torch.allclose(reached, y * levels[-1].alpha, atol=1e-12)


def test_a_straight_flow_is_stepped_along_its_velocity():
    """x_s = x_t + (s - t) u with u = eps - x0, and Heun's mean of two velocities."""
    exact, x = patient(SHAPES[1])
    levels = [Flow(1).level(t) for t in (1.0, 0.7, 0.3, 0.1)]

    def velocity(x, at):
        return (x - exact(x, at).x0) / at.sigma

    euler = heun_x = x
    for t, s in zip(levels, levels[1:], strict=False):
        euler = euler + (s.sigma - t.sigma) * velocity(euler, t)
        first = velocity(heun_x, t)
        second = velocity(heun_x + (s.sigma - t.sigma) * first, s)
        heun_x = heun_x + (s.sigma - t.sigma) * (first + second) / 2
    assert torch.allclose(sample(exact, x, levels, Euler()), euler, atol=1e-12)
    assert torch.allclose(sample(exact, x, levels, Heun()), heun_x, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "score", "flow"])
def test_the_prediction_does_not_matter(prediction, shape):
    exact, x = patient(shape)
    schedule = cosine(50)

    def network(x, t, condition):
        at = schedule.level(t[0].item())
        x0 = exact(x, at).x0
        p, q = mixture(prediction, at.alpha, at.sigma)
        return p * x0 + q * (x - at.alpha * x0) / at.sigma

    levels = linspace(schedule, 9)
    reached = sample(bind(network, None, prediction), x, levels, DpmPP(2))
    assert torch.allclose(reached, sample(exact, x, levels, DpmPP(2)), atol=1e-6)  # t is told in float32
