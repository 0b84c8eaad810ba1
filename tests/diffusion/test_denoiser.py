"""Predictions are conversions of each other; a bound network tells the truth about its level and its shape."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgtwin.diffusion import Flow, bind, clamp_x0, cosine, sample, zero_terminal_snr
from ecgtwin.diffusion.denoiser import Denoised, target, threshold_x0, to_eps, to_score, to_x0
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.solvers import DDIM, DpmPP, Heun

PREDICTIONS = ["eps", "x0", "v", "score", "flow"]
SHAPES = [(3, 4, 8), (3, 4, 5, 6)]


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PREDICTIONS), st.floats(0.02, 1.55), st.floats(0.3, 3))
def test_conversions_are_inverses(shape, prediction, angle, scale):
    """Also off the unit circle: nothing here asks for alpha² + sigma² = 1."""
    alpha, sigma = scale * math.cos(angle), scale * math.sin(angle)
    x0, eps = torch.randn((2, *shape), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = alpha * x0 + sigma * eps
    output = target(prediction, x0, eps, alpha, sigma)
    back = to_x0(prediction, output, x, alpha, sigma)
    assert torch.allclose(back, x0, atol=1e-9)
    assert torch.allclose(to_eps(x, back, alpha, sigma), eps, atol=1e-8)
    assert torch.allclose(to_score(x, back, alpha, sigma), -eps / sigma, atol=1e-5)


def test_levels_may_be_tensors_one_per_sample():
    schedule = cosine(100)
    alpha, sigma = (v.double().view(3, 1, 1) for v in schedule.alpha_sigma(torch.tensor([3, 50, 90])))
    x0, eps = torch.randn((2, 3, 4, 8), dtype=torch.float64)
    for prediction in PREDICTIONS:
        output = target(prediction, x0, eps, alpha, sigma)
        assert torch.allclose(to_x0(prediction, output, alpha * x0 + sigma * eps, alpha, sigma), x0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_bind_calls_the_network_with_the_index_and_the_condition(prediction, shape):
    at = cosine(100).level(37)
    x0, eps = torch.randn((2, *shape))
    x = at.alpha * x0 + at.sigma * eps

    def network(given, t, condition):
        assert given is x and condition == {"any": "thing"}
        assert t.shape == (3,) and t.dtype == torch.float32 and bool((t == 37).all())
        return target(prediction, x0, eps, at.alpha, at.sigma)

    found, mix = bind(network, {"any": "thing"}, prediction)(x, at)
    assert mix is None and torch.allclose(found, x0, atol=1e-5)


def test_learned_variance_is_split_off():
    x = torch.randn(2, 4, 8)
    at = cosine(100).level(50)
    denoise = bind(lambda x, t, c: torch.cat([x * 0.5, x + 2], dim=1), None, "x0", learned_variance=True)
    x0, mix = denoise(x, at)
    assert torch.equal(x0, x * 0.5) and torch.equal(mix, x + 2)


def test_x_is_never_written_to():
    x = torch.randn(2, 4, 8)
    kept = x.clone()
    for prediction in PREDICTIONS:
        bind(lambda x, t, c: x, None, prediction)(x, cosine(100).level(50))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("prediction", ["eps", "score"])
def test_eps_at_pure_noise_is_an_error_with_advice(prediction):
    denoise = bind(lambda x, t, c: x, None, prediction)
    with pytest.raises(ValueError, match=r"alpha = 0 \(t = 9\).*prediction v or x0"):
        denoise(torch.randn(2, 4, 8), zero_terminal_snr(cosine(10)).level(9))


@pytest.mark.parametrize("prediction", ["x0", "v", "flow"])
@pytest.mark.parametrize("path", [zero_terminal_snr(cosine(10)), Flow(9)])
def test_other_predictions_work_at_pure_noise(prediction, path):
    x0, eps = torch.randn((2, 2, 4, 8))
    at = path.level(9)
    assert at.alpha == 0
    output = target(prediction, x0, eps, 0.0, 1.0)
    assert torch.allclose(bind(lambda x, t, c: output, None, prediction)(eps, at).x0, x0, atol=1e-6)


def test_mistakes_are_named():
    at = cosine(10).level(5)
    with pytest.raises(ValueError, match="'noise': give one of eps, x0, v"):
        bind(lambda x, t, c: x, None, "noise")
    with pytest.raises(ValueError, match=r"answered \(2, 8, 8\) to \(2, 4, 8\).*learned_variance"):
        bind(lambda x, t, c: torch.cat([x, x], 1), None, "eps")(torch.randn(2, 4, 8), at)
    with pytest.raises(ValueError, match="expects twice the channels"):
        bind(lambda x, t, c: x, None, "eps", learned_variance=True)(torch.randn(2, 4, 8), at)


def test_clamping_is_a_wrapper():
    at = cosine(10).level(5)
    clamped = clamp_x0(bind(lambda x, t, c: 3 * x, None, "x0"), -1, 1)
    x = torch.randn(2, 4, 8)
    assert torch.equal(clamped(x, at).x0, (3 * x).clamp(-1, 1))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("index", [1, 50, 900, 998, 999])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_conversions_in_half_precision_are_those_of_the_rounded_numbers(prediction, index, kind):
    """They lose what rounding their input and output costs, and nothing between the two."""
    at = cosine().level(index)
    x0, eps = torch.randn((2, 4, 64), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (at.alpha * x0 + at.sigma * eps).to(kind)
    output = target(prediction, x0, eps, at.alpha, at.sigma).to(kind)
    for half, exact in (
        (
            to_x0(prediction, output, x, at.alpha, at.sigma),
            to_x0(prediction, output.double(), x.double(), at.alpha, at.sigma),
        ),
        (to_eps(x, x0.to(kind), at.alpha, at.sigma), to_eps(x.double(), x0.to(kind).double(), at.alpha, at.sigma)),
        (to_score(x, x0.to(kind), at.alpha, at.sigma), to_score(x.double(), x0.to(kind).double(), at.alpha, at.sigma)),
    ):
        assert half.dtype == kind
        inside = exact.abs() < 6e4  # the largest float16 is 65504
        assert torch.allclose(half.double()[inside], exact[inside], rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("solver", [DDIM(), DpmPP(2), Heun()])
@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_a_whole_run_in_half_precision_ends_where_float64_does(prediction, solver, kind):
    """From alpha = 5e-5 on, with a network whose answers are exact but rounded."""
    schedule, exact = cosine(), Gaussian(0.0, 0.5)

    def network(x, t, condition):
        at = schedule.level(t[0].item())
        x0 = exact(x.double(), at).x0
        return target(prediction, x0, to_eps(x.double(), x0, at.alpha, at.sigma), at.alpha, at.sigma).to(x.dtype)

    x = torch.randn(8, 4, 64, generator=torch.Generator().manual_seed(0)).to(kind)
    ends = [sample(bind(network, None, prediction), start, trailing(schedule, 20), solver) for start in (x, x.double())]
    assert ends[0].dtype == kind
    assert ends[0].double().std().item() == pytest.approx(ends[1].std().item(), rel=0.05)
    assert (ends[0].double() - ends[1]).abs().mean() < 0.05


def test_dynamic_thresholding_bends_what_is_too_large_and_leaves_the_rest():
    x = torch.tensor([[0.5, -0.9, 0.2, 0.1], [4.0, -2.0, 1.0, 0.0]], dtype=torch.float64)
    found = threshold_x0(lambda x, at: Denoised(x), 0.75)(x, None).x0
    s = x[1].abs().quantile(0.75)
    assert torch.equal(found[0], x[0]) and torch.allclose(found[1], x[1].clamp(-s, s) / s)
    assert float(found.abs().max()) <= 1.0
    with pytest.raises(ValueError, match="fraction 0"):
        threshold_x0(lambda x, at: Denoised(x), 0.0)
