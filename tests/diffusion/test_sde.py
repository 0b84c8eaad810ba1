"""The continuous view: coefficients, the reverse SDE, log-likelihoods."""

import math

import pytest
import torch

from ecgtwin.diffusion import Flow, Level, cosine, linear, sample, zero_terminal_snr
from ecgtwin.diffusion.exact import Gaussian, Mixture
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.sde import EulerMaruyama, ProbabilityFlow, diffusion, drift, log_likelihood


@pytest.mark.parametrize("path", [linear(1000), Flow(1000)], ids=["variance preserving", "flow"])
def test_coefficients_carry_the_variance(path):
    """The forward SDE from s to t turns variance v into alpha-ratio² v + what G adds: the transition's variance, to
    third order in the step."""
    gaps = []
    for step in (40, 20):
        t, s = path.level(600), path.level(600 - step)
        ratio = math.exp(drift(t, s))
        assert ratio == pytest.approx(t.alpha / s.alpha)
        transition = t.sigma**2 - ratio**2 * s.sigma**2
        gaps.append(abs(diffusion(t, s) * ratio - transition))  # noise of the middle of the step decays by sqrt(ratio)
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(3, abs=0.3)


def test_diffusion_is_beta_for_variance_preserving_paths():
    schedule = linear(1000)
    for i in (1, 100, 500, 999):
        t, s = schedule.level(i), schedule.level(i - 1)
        assert diffusion(t, s) == pytest.approx(-math.log1p(-(1 - (t.alpha / s.alpha) ** 2)), rel=1e-3)


def test_reverse_sde_draws_the_distribution():
    """With the perfect score and many steps, mean and variance of the samples are those of the data."""
    exact = Gaussian(0.5, 0.3)
    generator = torch.Generator().manual_seed(0)

    def noise(like):
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    x = noise(torch.empty(64, 4, 64))
    reached = sample(exact, x, trailing(linear(1000), 500), EulerMaruyama(), noise)
    assert reached.mean().item() == pytest.approx(0.5, abs=0.02)
    assert reached.var().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 2, 2, 3)])
@pytest.mark.parametrize("exactly", [True, False])
def test_log_likelihood_of_a_gaussian(shape, exactly):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    exact = Gaussian(mean, 0.05 + torch.rand(shape[1:], generator=generator, dtype=torch.float64))
    schedule = zero_terminal_snr(linear(1000))  # so that the start is standard normal, as the likelihood takes it to be
    levels = trailing(schedule, 50)[:-1]
    x = exact.flow(torch.randn(shape, generator=generator, dtype=torch.float64), levels[0], levels[-1])
    # signs as probes: exact where the denoiser treats each entry alone, as here
    probes = None if exactly else torch.randn((1, *shape), dtype=torch.float64).sign()
    found = log_likelihood(exact, x, levels, schedule.level_at, probes)
    assert found.shape == (3,)
    assert torch.allclose(found, exact.log_prob(x, levels[-1]), atol=1e-3)


@pytest.mark.parametrize("path", [zero_terminal_snr(cosine(200)), Flow(200)], ids=["zero terminal", "flow"])
def test_log_likelihood_from_pure_noise(path):
    exact = Gaussian(torch.tensor([0.3, -0.6], dtype=torch.float64), 0.2)
    levels = trailing(path, 50)[:-1]
    x = torch.tensor([[0.1, -0.2], [1.0, 0.5]], dtype=torch.float64)
    found = log_likelihood(exact, x, levels, path.level_at)
    assert torch.allclose(found, exact.log_prob(x, levels[-1]), atol=1e-3)


def test_log_likelihood_of_a_mixture():
    means = torch.tensor([[-1.0, 0.5], [1.0, 1.0], [0.0, -2.0]], dtype=torch.float64)
    exact = Mixture(means, 0.2, torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64))
    schedule = zero_terminal_snr(linear(1000))
    levels = trailing(schedule, 200)[:-1]
    x = exact.draw(8, torch.Generator().manual_seed(1))
    found = log_likelihood(exact, x, levels, schedule.level_at)
    assert torch.allclose(found, exact.log_prob(x, levels[-1]), atol=1e-3)
    signs = torch.randint(0, 2, (400, *x.shape), generator=torch.Generator().manual_seed(2)) * 2 - 1
    estimated = log_likelihood(exact, x, levels[::10], schedule.level_at, signs.double())
    assert torch.allclose(estimated, log_likelihood(exact, x, levels[::10], schedule.level_at), atol=0.15)


def test_likelihood_at_the_clean_level_is_refused():
    with pytest.raises(ValueError, match=r"levels\[:-1\]"):
        log_likelihood(Gaussian(), torch.randn(2, 3), trailing(linear(100), 5), linear(100).level_at)


def test_probability_flow_is_the_reference_on_a_mixture():
    means = torch.tensor([[-1.5], [1.0]], dtype=torch.float64)
    exact = Mixture(means, 0.05, torch.tensor([0.5, 0.5], dtype=torch.float64))

    class Circle:
        def level_at(self, logsnr):
            angle = math.atan(math.exp(-logsnr / 2))
            return Level(angle, math.cos(angle), math.sin(angle))

    path = Circle()
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]

    def run(steps):
        levels = [path.level_at(-8 + 14 * k / steps) for k in range(steps + 1)]
        return sample(exact, x, levels, ProbabilityFlow(path.level_at))

    gaps = [(run(n) - run(2 * n)).abs().max().item() for n in (100, 200)]
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(4, abs=0.3)
