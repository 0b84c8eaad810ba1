"""Samplers with noise, with no Monte Carlo: on a Gaussian every step is affine, so the variance is followed exactly."""

import inspect
import math
import types

import pytest
import torch

from ecgtwin.diffusion import Flow, Level, bind, cosine, sample, seeded_noise
from ecgtwin.diffusion.denoiser import Denoised
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.levels import linspace, trailing
from ecgtwin.diffusion.sde import EulerMaruyama
from ecgtwin.diffusion.solvers import DDIM, DDPM, DpmPP, EulerAncestral, Heun, ancestral, solver


class Circle:
    def level_at(self, logsnr: float) -> Level:
        angle = math.atan(math.exp(-logsnr / 2))
        return Level(angle, math.cos(angle), math.sin(angle))


SOLVERS = {  # how to make it for a number of steps, and its weak order
    "DDIM 0.5": (lambda path, steps: DDIM(0.5), 1),
    "DDIM 1": (lambda path, steps: DDIM(1.0), 1),
    "Euler-ancestral": (lambda path, steps: EulerAncestral(), 1),
    "DDPM small": (lambda path, steps: DDPM("small"), 1),
    "DDPM large": (lambda path, steps: DDPM("large"), 1),
    "SDE-DPM-Solver++ 2M": (lambda path, steps: DpmPP(2, eta=1.0), 2),
    "SDE-DPM-Solver++ 2M, half": (lambda path, steps: DpmPP(2, eta=0.5), 2),
    "Euler-Maruyama": (lambda path, steps: EulerMaruyama(), 1),
    "Heun with churn": (lambda path, steps: Heun(churn=4 / steps, level_at=path.level_at), 2),
}


def reached_variance(made, path, steps: int, variance: float = 0.25) -> tuple[float, float]:
    """(variance at the end of a run, true variance there). x is followed as coefficients of the start and of every
    draw: one entry per independent standard normal, on each of which a linear denoiser acts alike."""
    exact = Gaussian(0.0, variance)
    levels = [path.level_at(-4 + 8 * k / steps) for k in range(steps + 1)]
    x = torch.zeros(1, steps + 2, dtype=torch.float64)
    x[0, 0] = math.sqrt(exact.at(levels[0]).variance)
    draws = iter(range(1, steps + 2))

    def noise(like):
        unit = torch.zeros_like(like)
        unit[0, next(draws)] = 1
        return unit

    return sample(exact, x, levels, made, noise).square().sum().item(), exact.at(levels[-1]).variance


def weak_order(make, path, steps: int = 160) -> float:
    errors = []
    for count in (steps, 2 * steps):
        reached, true = reached_variance(make(path, count), path, count)
        errors.append(abs(reached - true))
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize("path", [Circle(), Flow(1000)], ids=["variance preserving", "flow"])
@pytest.mark.parametrize("name", SOLVERS)
def test_weak_order(name, path):
    make, order = SOLVERS[name]
    assert weak_order(make, path) == pytest.approx(order, abs=0.15)
    assert make(path, 160).order == order


@pytest.mark.parametrize(
    "correct, bug",
    [
        ("s.sigma**2 - spread**2", "s.sigma**2"),  # noise added and none taken away
        ("s.sigma**2 - spread**2", "s.sigma**2 - spread"),
        ("alpha=s.alpha - t.alpha * k", "alpha=s.alpha"),
    ],
)
def test_the_weak_order_test_rejects_planted_bugs(correct, bug, monkeypatch):
    source = inspect.getsource(solver)
    assert source.count(correct) == 1, "the planted bug no longer fits the source"
    mutant = types.ModuleType("mutant")
    mutant.__package__ = solver.__package__
    exec(source.replace(correct, bug), mutant.__dict__)
    monkeypatch.setattr(ancestral, "first_order", mutant.first_order)
    assert abs(weak_order(lambda path, steps: DDIM(1.0), Circle()) - 1) > 0.15


@pytest.mark.parametrize("path", [Circle(), Flow(1000)], ids=["variance preserving", "flow"])
def test_spreads_are_those_of_conditional_gaussians(path):
    """Weak order cannot tell one eta from another; Bayes can: x_s given x_t and x0 is a product of two Gaussians."""
    t, s = path.level_at(-3.0), path.level_at(1.0)
    ratio = t.alpha / s.alpha
    forward = t.sigma**2 - ratio**2 * s.sigma**2
    assert solver.transition_spread(t, s) == pytest.approx(math.sqrt(forward))
    assert solver.posterior_spread(t, s) == pytest.approx((1 / s.sigma**2 + ratio**2 / forward) ** -0.5)
    with pytest.raises(ValueError, match="goes up: use eta = 0"):
        solver.posterior_spread(s, t)


def test_one_point_keeps_its_noise_under_every_eta():
    """With x0 known for certain, x_s is alpha_s x0 plus noise of variance sigma_s² exactly, in one step or in many."""
    for made in (DDIM(0.3), DDIM(1.0), DDPM("small"), DpmPP(2, eta=1.0)):
        for steps in (1, 3, 10):
            reached, true = reached_variance(made, Circle(), steps, variance=0.0)
            assert reached == pytest.approx(true, rel=1e-9)


SHAPES = [(6, 4, 8), (6, 4, 3, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_sample_k_is_bit_equal_alone_and_in_any_batch(name, shape):
    """One seed per sample: neighbours, their number and their order change nothing."""
    schedule = cosine(100)
    exact = Gaussian(torch.linspace(-1, 1, shape[1]).view(-1, *[1] * (len(shape) - 2)), 0.3)
    levels = linspace(schedule, 6)[1:]
    made = SOLVERS[name][0](schedule, 40)
    seeds = [3, 14, 15, 92, 65, 35]

    def run(chosen):
        noise = seeded_noise(chosen)
        return sample(exact, noise(torch.empty(len(chosen), *shape[1:])), levels, made, noise)

    together = run(seeds)
    for k, seed in enumerate(seeds):
        assert torch.equal(run([seed])[0], together[k])
    assert torch.equal(run(seeds[::-1]), together.flip(0))
    assert not torch.equal(together[0], together[1])


def test_seeded_noise_is_standard_normal_and_goes_on():
    noise = seeded_noise(range(4))
    first, second = noise(torch.empty(4, 64, 256)), noise(torch.empty(4, 64, 256))
    assert not torch.equal(first, second)
    assert first.mean().abs() < 0.02 and first.std().item() == pytest.approx(1, abs=0.02)
    again = seeded_noise(range(4))
    assert torch.equal(again(torch.empty(4, 64, 256, dtype=torch.float64)), first.double())  # the same in every type
    with pytest.raises(ValueError, match="3 samples but 4 seeds"):
        noise(torch.empty(3, 2))


def test_learned_variance_spans_small_to_large():
    schedule = cosine(100)
    levels = trailing(schedule, 7)
    x = torch.randn(2, 4, 8, dtype=torch.float64)

    def learned(mix):
        def denoise(x, at):
            return Denoised(0.5 * x, torch.full_like(x, mix))

        return sample(denoise, x, levels, DDPM("learned"), seeded_noise([1, 2]))

    def fixed(variance):
        return sample(lambda x, at: Denoised(0.5 * x), x, levels, DDPM(variance), seeded_noise([1, 2]))

    assert torch.allclose(learned(-1.0), fixed("small")) and torch.allclose(learned(1.0), fixed("large"))
    assert not torch.allclose(learned(0.0), fixed("small"))
    with pytest.raises(ValueError, match="learned_variance=True"):
        sample(bind(lambda x, t, c: x, None, "v"), x, levels, DDPM("learned"))


def test_half_way_is_the_geometric_mean():
    schedule = cosine(100)
    t, s = schedule.level(60), schedule.level(40)
    x = torch.zeros(1, 1, 8, dtype=torch.float64)
    ones = torch.ones_like

    def spread(variance):
        moved, _ = DDPM(variance).step(lambda x, at: Denoised(x, x), x, t, s, (), ones)  # x is 0: only noise moves it
        return moved[0, 0, 0].item()

    assert spread("learned") == pytest.approx(math.sqrt(spread("small") * spread("large")))


def test_churn_beyond_the_schedule_is_an_error():
    schedule = cosine(100)
    x = torch.randn(1, 1, 8)
    with pytest.raises(ValueError, match="noisier than this schedule"):
        sample(Gaussian(), x, linspace(schedule, 4), Heun(churn=0.4, level_at=schedule.level_at))
    within = Heun(churn=0.4, churn_range=(0.01, 5.0), level_at=schedule.level_at)
    assert torch.isfinite(sample(Gaussian(), x, linspace(schedule, 4), within)).all()
