"""The bound against closed forms: a normal number's entropy, and probabilities that add up."""

import math
from functools import partial

import pytest
import torch

from ecgtwin.diffusion.denoiser import Denoised
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.likelihood import bits_per_dimension, discretised_log_likelihood, prior_bits
from ecgtwin.diffusion.loss import bound
from ecgtwin.diffusion.schedule import cosine, linear, zero_terminal_snr

VARIANCE = 0.25
X = VARIANCE**0.5 * torch.randn(400, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def like(x, generator):
    return torch.randn(x.shape, dtype=x.dtype, generator=generator)


def test_a_perfect_denoiser_stays_above_the_entropy_and_comes_nearer_with_more_steps():
    exact = -Gaussian(0.0, VARIANCE).log_prob(X, linear(100).level(-1)) / 4 / math.log(2)
    gaps = []
    for steps in (50, 400):
        generator = torch.Generator().manual_seed(1)
        noise = partial(like, generator=generator)
        found = bits_per_dimension(Gaussian(0.0, VARIANCE), X, linear(steps), noise)
        assert found.steps.shape == (400, steps - 1)
        gaps.append(float((found.total - exact).mean()))
    assert 0 < gaps[1] < 0.5 * gaps[0]  # what is left is the small variance of the least noisy steps


def test_the_prior_term_is_that_of_torch():
    schedule = cosine(20)
    last = schedule.level(19)
    q = torch.distributions.Normal(last.alpha * X, last.sigma)
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean(1)
    assert torch.allclose(prior_bits(X, schedule), kl / math.log(2))


def test_probabilities_of_all_values_add_up_to_one():
    values = torch.linspace(-1, 1, 17, dtype=torch.float64)
    for mean, std in ((0.3, 0.05), (-1.2, 0.4), (5.0, 0.1)):
        log = discretised_log_likelihood(values, torch.tensor(mean), torch.tensor(std), 17)
        assert math.isclose(float(log.exp().sum()), 1.0, abs_tol=1e-9)
    fine = discretised_log_likelihood(values[8:9], torch.tensor(0.01), torch.tensor(0.5), 100_001)
    density = torch.distributions.Normal(0.01, 0.5).log_prob(values[8:9])
    assert torch.allclose(fine, density + math.log(2 / 100_000), atol=1e-6)


def test_learned_variances_and_bins_count():
    schedule, values = linear(40), (X.clamp(-1, 1) * 8).round() / 8
    mix = torch.full_like(X, 0.4)

    def learned(x, at):
        return Denoised(Gaussian(0.0, VARIANCE)(x, at).x0, mix)

    zeros = torch.zeros_like
    found = bits_per_dimension(learned, X, schedule, zeros)
    at = schedule.level(3)
    guess = Gaussian(0.0, VARIANCE)(at.alpha * X, at).x0
    wanted = bound(guess, mix, X, torch.full((400,), 3), schedule).mean(1) / math.log(2)
    assert torch.allclose(found.steps[:, 2], wanted)
    binned = bits_per_dimension(learned, values, schedule, zeros, bins=17)
    assert bool((binned.decoder > 0).all()) and torch.isfinite(binned.total).all()
    with pytest.raises(ValueError, match="zero terminal"):
        bits_per_dimension(learned, X, zero_terminal_snr(schedule))
    with pytest.raises(ValueError, match="bins 1"):
        discretised_log_likelihood(X, X, X, 1)
