"""Losses against their formulas, and the learned variance against torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ecgtwin.diffusion import Flow, cosine, linear, zero_terminal_snr
from ecgtwin.diffusion.denoiser import target, to_x0
from ecgtwin.diffusion.loss import bound, hybrid, min_snr, p2, prediction_weight, simple, snr
from ecgtwin.diffusion.solvers import posterior_spread, transition_spread

SHAPES = [(5, 4, 8), (5, 4, 3, 6)]
INDEX = torch.tensor([0, 1, 30, 70, 98])
PREDICTIONS = ["eps", "x0", "v", "score", "flow"]


def data(shape):
    return torch.randn((2, *shape), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("path", [cosine(99), Flow(99)], ids=["table", "flow"])
def test_the_network_sees_noisy_x_and_is_scored_per_sample(prediction, path, shape):
    x0, eps = data(shape)
    index = INDEX.clamp(1)
    alpha, sigma = (v.view(5, *[1] * (len(shape) - 1)) for v in path.alpha_sigma(index))
    truth = target(prediction, x0, eps, alpha, sigma)
    off = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4]).view_as(alpha)

    def network(x, t, condition):
        assert condition == "anything" and torch.equal(t, index.float())
        assert torch.allclose(x, alpha * x0 + sigma * eps)
        return truth + off

    found = simple(network, "anything", x0, index, eps, path, prediction)
    assert torch.allclose(found, off.flatten() ** 2, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("weight", [min_snr(5.0), p2(1.0, 0.5), snr(), snr(1.0)])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_weight_means_the_same_in_every_prediction(prediction, weight):
    """The weighted error of any prediction is weight(SNR) times the squared error of the x0 that it stands for."""
    x0, eps = data(SHAPES[0])
    schedule = cosine(99)
    alpha, sigma = schedule.alpha_sigma(INDEX.clamp(max=95))
    a, b = alpha.view(5, 1, 1), sigma.view(5, 1, 1)
    x = a * x0 + b * eps
    output = target(prediction, x0, eps, a, b) + 0.1 * torch.randn_like(x)
    found = simple(lambda x, t, c: output, None, x0, INDEX.clamp(max=95), eps, schedule, prediction, weight)
    error = (to_x0(prediction, output, x, a, b) - x0).square().flatten(1).mean(1)
    assert torch.allclose(found, weight((alpha / sigma) ** 2) * error, rtol=2e-3)


def test_weights_are_those_of_the_papers():
    schedule = linear(1000)
    alpha, sigma = schedule.alpha_sigma(torch.arange(0, 1000, 37))
    ratio = (alpha / sigma) ** 2

    def weights(weight, prediction):
        return prediction_weight(weight, alpha, sigma, prediction)

    close = {"rtol": 1e-3, "atol": 1e-7}
    assert torch.allclose(weights(min_snr(5), "eps"), ratio.clamp(max=5) / ratio, **close)  # Hang et al.
    assert torch.allclose(weights(min_snr(5), "v"), ratio.clamp(max=5) / (ratio + 1), **close)
    assert torch.allclose(weights(min_snr(5), "x0"), ratio.clamp(max=5), **close)
    assert torch.allclose(weights(p2(1, 1), "eps"), 1 / (1 + ratio), **close)  # Choi et al., eq. 8
    assert torch.allclose(weights(snr(), "eps"), torch.ones_like(ratio), **close)
    assert torch.allclose(weights(snr(1.0), "x0"), ratio.clamp(min=1), **close)  # Salimans & Ho, section 4


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_weights_are_finite_at_pure_noise(prediction):
    alpha, sigma = zero_terminal_snr(linear(100)).alpha_sigma(torch.tensor([98, 99]))
    for weight in (min_snr(5), p2()):
        assert torch.isfinite(prediction_weight(weight, alpha, sigma, prediction)).all()
    assert prediction_weight(min_snr(5), alpha, sigma, "eps")[1] == pytest.approx(1)
    assert prediction_weight(min_snr(5), alpha, sigma, "v")[1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("schedule", [linear(100), zero_terminal_snr(cosine(100))], ids=["linear", "zero terminal"])
def test_the_bound_is_the_divergence_of_two_gaussians(schedule, shape):
    x0, noise = data(shape)
    guess, mix = x0 + 0.1 * noise, torch.tanh(noise.flip(0))
    index = torch.tensor([0, 1, 30, 70, 99])
    found = bound(guess, mix, x0, index, schedule)
    for k, i in enumerate(index.tolist()):
        t, s = schedule.level(i), schedule.level(i - 1)
        small, large = posterior_spread(t, s), transition_spread(t, s)
        gain = s.alpha - t.alpha * math.sqrt(max(s.sigma**2 - small**2, 0)) / t.sigma
        if i == 0:  # the small variance of the next level, as q has none
            small = posterior_spread(schedule.level(1), t)
        part = (mix[k].double() + 1) / 2
        model = Normal(gain * guess[k].double(), torch.exp(part * math.log(large) + (1 - part) * math.log(small)))
        truth = gain * x0[k].double()
        wanted = -model.log_prob(truth) if i == 0 else kl_divergence(Normal(truth, small), model)
        assert torch.allclose(found[k].double(), wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_the_bound_teaches_the_variance_and_not_the_mean(prediction, shape):
    schedule = linear(99)
    x0, eps = data(shape)
    mean = torch.randn(shape, requires_grad=True)
    mix = torch.zeros(shape, requires_grad=True)
    both = hybrid(lambda x, t, c: torch.cat([mean, mix], 1), None, x0, INDEX, eps, schedule, prediction)
    plain = simple(lambda x, t, c: mean, None, x0, INDEX, eps, schedule, prediction)
    (by_both,) = torch.autograd.grad(both.sum(), mean, retain_graph=True)
    (by_plain,) = torch.autograd.grad(plain.sum(), mean)
    assert torch.equal(by_both, by_plain)
    (to_mix,) = torch.autograd.grad(both.sum(), mix)
    assert (to_mix.flatten(1).abs().sum(1) > 0).all()
    assert both.shape == (5,)


def test_the_learned_variance_finds_the_best_one():
    """Minimised over the mix, the bound ends where the model's variance is the true spread of x_{i-1}: small + the
    error of the mean squared (Bao et al. 2022, arXiv 2201.06503)."""
    schedule = linear(100)
    i = torch.full((4,), 2)
    t, s = schedule.level(2), schedule.level(1)
    small, large = posterior_spread(t, s), transition_spread(t, s)
    gain = s.alpha - t.alpha * math.sqrt(s.sigma**2 - small**2) / t.sigma
    miss = 0.5 * math.sqrt(large**2 - small**2) / gain
    best = math.log(small**2 + (gain * miss) ** 2)
    part = (best - 2 * math.log(small)) / (2 * math.log(large / small))
    x0 = torch.randn(4, 2, 8)

    def slope(mix):
        mix = torch.full((4, 2, 8), mix, requires_grad=True)
        (gradient,) = torch.autograd.grad(bound(x0 + miss, mix, x0, i, schedule).sum(), mix)
        return gradient.mean().item()

    assert slope(2 * part - 1) == pytest.approx(0, abs=1e-4)
    assert slope(2 * part - 1.5) < -5e-3 and slope(2 * part - 0.5) > 5e-3


def test_weights_and_factors_of_the_hybrid_loss():
    schedule = linear(99)
    x0, eps = data(SHAPES[0])

    def network(x, t, c):
        return torch.cat([x, 0 * x], 1)

    def run(**kwargs):
        return hybrid(network, None, x0, INDEX, eps, schedule, "v", **kwargs)

    none = run(bound_weight=0.0)
    assert torch.equal(none, simple(lambda x, t, c: x, None, x0, INDEX, eps, schedule, "v"))
    assert torch.allclose(run() - none, 0.001 * 99 * (run(bound_weight=1.0) - none), rtol=1e-3, atol=1e-6)
    weighted = run(bound_weight=0.0, weight=min_snr())
    assert torch.equal(weighted, simple(lambda x, t, c: x, None, x0, INDEX, eps, schedule, "v", min_snr()))


def test_wrong_shapes_are_named():
    x0, eps = data(SHAPES[0])
    with pytest.raises(ValueError, match="expected the same shape"):
        simple(lambda x, t, c: x[:, :2], None, x0, INDEX, eps, linear(99), "v")
    with pytest.raises(ValueError, match="twice the channels"):
        hybrid(lambda x, t, c: x, None, x0, INDEX, eps, linear(99), "v")
