"""Guidance against closed-form posteriors of Gaussians, where everything is known."""

import math

import pytest
import torch

from ecgtwin.diffusion import Level, bind, classify, cosine, guide, guide_two_ways, sample, two_ways, weigh, within
from ecgtwin.diffusion.denoiser import Denoised, target
from ecgtwin.diffusion.exact import Gaussian, Mixture
from ecgtwin.diffusion.levels import trailing, uniform_logsnr
from ecgtwin.diffusion.sde import ProbabilityFlow
from ecgtwin.diffusion.solvers import DDIM, DpmPP

SHAPES = [(3, 4, 8), (3, 4, 3, 5)]
LEVELS = [Level(a, math.cos(a), math.sin(a)) for a in (0.05, 0.4, 0.9, 1.5)]


def two(shape):
    generator = torch.Generator().manual_seed(4)
    mean = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    return Gaussian(mean, 0.4), Gaussian(-0.5 * mean, 0.9), torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("scale", [-0.5, 0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_classifier_free_guidance_is_the_tilted_gaussian(shape, scale):
    """Its score is that of p_away^(1-w) p_toward^w at every
    level: a Gaussian of precision (1-w)/V_away + w/V_toward."""
    toward, away, x = two(shape)
    for at in LEVELS:
        a, b = away.at(at), toward.at(at)
        precision = (1 - scale) / a.variance + scale / b.variance
        score = (1 - scale) * a.mean / a.variance + scale * b.mean / b.variance - precision * x
        wanted = (x + at.sigma**2 * score) / at.alpha
        assert torch.allclose(guide(toward, away, scale)(x, at).x0, wanted, atol=1e-9)


@pytest.mark.parametrize("prediction", ["eps", "v", "score"])
def test_guidance_is_the_same_in_every_prediction(prediction):
    toward, away, x = two(SHAPES[0])
    at = LEVELS[1]

    def output(exact):
        x0 = exact(x, at).x0
        return target(prediction, x0, (x - at.alpha * x0) / at.sigma, at.alpha, at.sigma)

    mixed = output(away) + 2.5 * (output(toward) - output(away))
    guided = guide(toward, away, 2.5)(x, at).x0
    assert torch.allclose(bind(lambda x, t, c: mixed, None, prediction)(x, at).x0, guided)


def counted(exact, calls):
    def denoise(x, at):
        calls.append(exact)
        return exact(x, at)

    return denoise


def test_scales_0_and_1_cost_one_network():
    toward, away, x = two(SHAPES[0])
    for scale, only in ((1.0, toward), (0.0, away)):
        calls = []
        found = guide(counted(toward, calls), counted(away, calls), scale)(x, LEVELS[1]).x0
        assert calls == [only] and torch.equal(found, only(x, LEVELS[1]).x0)


@pytest.mark.parametrize("shape", SHAPES)
def test_two_scales_for_two_conditions(shape):
    base, nothing, x = two(shape)
    both = Gaussian(base.mean + 0.3, 0.2)
    for at in LEVELS:
        n, f, b = (d(x, at).x0 for d in (nothing, base, both))
        for first, second in ((1.0, 1.0), (2.0, 3.0), (1.5, 1.5), (0.0, 2.0), (0.0, 0.0), (1.0, 0.0)):
            found = guide_two_ways(nothing, base, both, first, second)(x, at).x0
            assert torch.allclose(found, n + first * (f - n) + second * (b - f), atol=1e-12)


@pytest.mark.parametrize("scales, used", [((1, 1), 1), ((0, 0), 1), ((1, 0), 1), ((2, 2), 2), ((2, 3), 3)])
def test_two_way_guidance_calls_only_what_counts(scales, used):
    base, nothing, x = two(SHAPES[0])
    calls = []
    both = Gaussian(0.1, 0.2)
    guide_two_ways(*(counted(d, calls) for d in (nothing, base, both)), *scales)(x, LEVELS[1])
    assert len(calls) == used


@pytest.mark.parametrize("scales", [(1.5, 1.5), (2.0, 3.0), (1.0, 2.5), (0.0, 0.0)])
@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_branches_in_one_call_are_the_branches_one_by_one(scales, rescale):
    base, nothing, x = two(SHAPES[1])
    knows, at, sizes = (nothing, base, Gaussian(0.1, 0.2)), LEVELS[1], []

    def at_once(x, at):
        sizes.append(len(x))
        parts = [denoise(part, at).x0 for denoise, part in zip(knows, x.chunk(3), strict=True)]
        return Denoised(torch.cat(parts), torch.cat([torch.full_like(part, k) for k, part in enumerate(parts)]))

    if rescale and scales[1] == 0:
        with pytest.raises(ValueError, match="give 0"):
            two_ways(*scales, rescale=rescale)
        return
    found = weigh(at_once, two_ways(*scales, rescale=rescale), rescale=rescale)(x, at)
    assert sizes == [3 * len(x)] and (found.variance_mix == 2).all()
    torch.testing.assert_close(found.x0, guide_two_ways(*knows, *scales, rescale=rescale)(x, at).x0, atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="at least one"):
        weigh(at_once, ())


def test_rescale_gives_back_the_spread_per_sample():
    toward, away, x = two(SHAPES[1])
    at = LEVELS[1]
    plain, wanted = guide(toward, away, 6.0)(x, at).x0, toward(x, at).x0
    full, half = (guide(toward, away, 6.0, rescale=r)(x, at).x0 for r in (1.0, 0.5))
    for k in range(3):
        assert full[k].std().item() == pytest.approx(wanted[k].std().item())
        assert torch.allclose(full[k] / plain[k], (full[k] / plain[k]).flatten()[0].expand_as(plain[k]))
    assert torch.allclose(half, (plain + full) / 2)
    with pytest.raises(ValueError, match="give 0"):
        guide(toward, away, 6.0, rescale=1.5)


def test_two_way_guidance_rescales_to_what_knows_both():
    base, nothing, x = two(SHAPES[1])
    both, at = Gaussian(0.1, 0.2), LEVELS[1]
    plain, wanted = guide_two_ways(nothing, base, both, 1.5, 4.0)(x, at).x0, both(x, at).x0
    full, half = (guide_two_ways(nothing, base, both, 1.5, 4.0, rescale=r)(x, at).x0 for r in (1.0, 0.5))
    assert torch.allclose(full.std((1, 2, 3)), wanted.std((1, 2, 3))) and torch.allclose(half, (plain + full) / 2)
    for scales, rescale in (((1.5, 4.0), 2.0), ((1.5, 0.0), 0.5)):
        with pytest.raises(ValueError, match="give 0"):
            guide_two_ways(nothing, base, both, *scales, rescale=rescale)


def test_an_interval_guides_inside_and_costs_nothing_outside():
    toward, away, x = two(SHAPES[0])
    guided = guide(toward, away, 4.0)
    calls = []
    denoise = within(counted(guided, calls), toward, -2.0, 2.0)
    for at in LEVELS:
        inside = -2 <= at.logsnr <= 2
        calls.clear()
        assert torch.equal(denoise(x, at).x0, (guided if inside else toward)(x, at).x0)
        assert bool(calls) == inside
    with pytest.raises(ValueError, match="comes first"):
        within(guided, toward, 2.0, -2.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_classifier_guidance_is_bayes(shape):
    """Prior N(m, v), reading y = x0 + N(0, r). The noisy classifier N(y; E[x0|x], Var[x0|x] + r) turns the prior's
    perfect denoiser into the posterior's, at every level; so a guided run is a run of the posterior."""
    prior, _, x = two(shape)
    reading, spread = torch.randn(shape[1:], dtype=torch.float64), 0.2

    def log_prob(x, at):
        left = prior.variance * at.sigma**2 / (at.alpha**2 * prior.variance + at.sigma**2) + spread
        return (-0.5 * (reading - prior(x, at).x0).square() / left).flatten(1).sum(1)

    gain = prior.variance / (prior.variance + spread)
    posterior = Gaussian(prior.mean + gain * (reading - prior.mean), prior.variance * (1 - gain))
    guided = classify(prior, log_prob)
    for at in LEVELS:
        assert torch.allclose(guided(x, at).x0, posterior(x, at).x0, atol=1e-9)
    schedule = cosine(1000)
    levels = uniform_logsnr(schedule, 40, noisiest=998)[:-1]
    with torch.no_grad():
        reached = sample(guided, x, levels, ProbabilityFlow(schedule.level_at))
    assert (reached - posterior.flow(x, levels[0], levels[-1])).abs().max() < 1e-4


def test_a_perfect_classifier_picks_the_component():
    means = torch.tensor([[-1.0, 0.5], [1.0, 1.0], [0.0, -2.0]], dtype=torch.float64)
    mixture = Mixture(means, 0.2, torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64))
    guided = classify(mixture, lambda x, at: mixture.component_log_prob(x, at).log_softmax(1)[:, 2])
    x = torch.randn(5, 2, dtype=torch.float64)
    for at in LEVELS:
        assert torch.allclose(guided(x, at).x0, Gaussian(means[2], 0.2)(x, at).x0, atol=1e-8)


def test_guided_sampling_moves_to_the_condition():
    """Drawn under growing guidance, samples gather ever closer to where the condition is likelier than without it."""
    toward, away = Gaussian(1.0, 0.5), Gaussian(0.0, 1.0)
    x = torch.randn(400, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = trailing(cosine(1000), 20)
    means = [sample(guide(toward, away, w), x, levels, DpmPP(2)).mean().item() for w in (0.0, 1.0, 2.0, 4.0)]
    assert means[0] == pytest.approx(0, abs=0.05) and means[1] == pytest.approx(1, abs=0.05)
    assert means[1] < means[2] < means[3]


def test_pure_noise_cannot_be_classified():
    guided = classify(Gaussian(), lambda x, at: -x.square().flatten(1).sum(1))
    top = Level(9.0, 0.0, 1.0)
    x = torch.randn(2, 4, 8)
    with pytest.raises(ValueError, match="use within"):
        guided(x, top)
    careful = within(guided, Gaussian(), -20.0, 20.0)
    assert torch.isfinite(sample(careful, x, [top, LEVELS[1], Level(0.0, 1.0, 0.0)], DDIM())).all()


def test_guidance_keeps_the_learned_variance():
    x = torch.randn(2, 4, 8)

    def learned(value):
        return lambda x, at: Denoised(value * x, torch.full_like(x, value))

    assert torch.equal(guide(learned(0.5), learned(0.1), 2.0)(x, LEVELS[1]).variance_mix, torch.full_like(x, 0.5))
    mixed = guide_two_ways(learned(0.1), learned(0.2), learned(0.5), 2.0, 3.0)(x, LEVELS[1])
    assert torch.equal(mixed.variance_mix, torch.full_like(x, 0.5))
