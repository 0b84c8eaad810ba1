"""EDM's preconditioning and Karras's training noise against closed forms; what a configuration chooses."""

import math

import pytest
import torch

from ecgtwin.diffusion.denoiser import EDM, bind, read_scale, target, to_x0
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.loss import hybrid, min_snr, simple
from ecgtwin.diffusion.objective import LogNormal, Objective
from ecgtwin.diffusion.schedule import Flow, cosine
from ecgtwin.train.diffusion import DiffusionConfig
from ecgtwin.train.strict import parse

SCHEDULE, STD = cosine(400), 0.5
X = torch.randn(5, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def silent(x, t, condition):
    return torch.zeros_like(x)


@pytest.mark.parametrize("schedule", [SCHEDULE, Flow(100)], ids=["cosine", "flow"])
def test_a_silent_network_is_the_perfect_denoiser_of_a_normal_number(schedule):
    """c_skip x alone is E[x0 | x] for N(0, data_std²): the network is left with what is not Gaussian."""
    for i in (3, 50, 99):
        at = schedule.level(i)
        wanted = Gaussian(0.0, STD**2)(X, at).x0
        assert torch.allclose(bind(silent, None, EDM(STD))(X, at).x0, wanted, atol=1e-12)


def test_it_is_the_paper_in_its_own_variables():
    """Table 1, with the paper's sigma = sigma/alpha and its x = x/alpha."""
    answer = torch.randn(X.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for i in (5, 200, 390):
        at = SCHEDULE.level(i)
        sigma, x = at.sigma / at.alpha, X / at.alpha
        total = sigma**2 + STD**2
        skip, out, read = STD**2 / total, sigma * STD / math.sqrt(total), 1 / math.sqrt(total)
        seen = []
        found = bind(lambda x, t, c, seen=seen: seen.append(x) or answer, None, EDM(STD))(X, at).x0
        assert torch.allclose(found, skip * x + out * answer) and torch.allclose(seen[0], read * x)


def test_what_is_read_and_answered_has_variance_one():
    generator = torch.Generator().manual_seed(2)
    x0, eps = (torch.randn(200_000, dtype=torch.float64, generator=generator) * s for s in (STD, 1.0))
    for i in (0, 100, 399):
        at = SCHEDULE.level(i)
        read = read_scale(EDM(STD), at.alpha, at.sigma) * (at.alpha * x0 + at.sigma * eps)
        assert abs(float(read.var()) - 1) < 0.02
        assert abs(float(target(EDM(STD), x0, eps, at.alpha, at.sigma).var()) - 1) < 0.02


def test_with_variance_one_it_is_v_with_another_sign():
    at, eps = SCHEDULE.level(123), X.flip(0)
    assert torch.allclose(target(EDM(), X, eps, at.alpha, at.sigma), -target("v", X, eps, at.alpha, at.sigma))
    x = at.alpha * X + at.sigma * eps
    assert torch.allclose(to_x0(EDM(STD), target(EDM(STD), X, eps, at.alpha, at.sigma), x, at.alpha, at.sigma), X)
    i = torch.full((5,), 123)
    ours, theirs = (simple(silent, None, X, i, eps, SCHEDULE, p, min_snr(5.0)) for p in (EDM(), "v"))
    assert torch.allclose(ours, theirs)
    with pytest.raises(ValueError, match="data_std 0"):
        EDM(0.0)


@pytest.mark.parametrize("schedule", [cosine(4000), Flow(1000), Flow(1000, shift=3.0)], ids=["cosine", "flow", "shift"])
def test_training_noise_is_log_normal(schedule):
    """Quantiles of ln(sigma/alpha) are those of the normal distribution, and none is outside the levels."""
    i = LogNormal(-1.2, 1.2).draw(schedule, 40_000, torch.Generator().manual_seed(0))
    alpha, sigma = schedule.alpha_sigma(i, torch.float64)
    drawn = (sigma / alpha).log()
    for p, z in ((0.1, -1.2816), (0.5, 0.0), (0.9, 1.2816)):
        assert abs(float(drawn.quantile(p)) - (-1.2 + 1.2 * z)) < 0.03
    half = LogNormal(3.0, 1.0).draw(schedule, 1000, torch.Generator().manual_seed(0), 0.5)
    assert float(half.max()) <= schedule.clean + 0.5 * (schedule.noisiest - schedule.clean) + 1
    assert len(half.unique()) > 100  # nothing heaps up at the end


def chosen(**more) -> Objective:
    return Objective.of(parse(DiffusionConfig, {"steps": 400, **more}, "test"))


def test_a_configuration_chooses_weights_levels_and_variance():
    i, eps = torch.tensor([3, 90, 200, 300, 399]), X.flip(0)

    def doubled(x, t, condition):
        return torch.cat([0.1 * x, 0.3 * x], 1)

    plain, learned = chosen(), chosen(learned_variance=True, prediction="eps")
    assert torch.equal(plain.losses(silent, None, X, i, eps), simple(silent, None, X, i, eps, plain.schedule, "v"))
    assert torch.equal(
        learned.losses(doubled, None, X, i, eps), hybrid(doubled, None, X, i, eps, learned.schedule, "eps")
    )
    only = simple(lambda x, t, c: 0.1 * x, None, X, i, eps, plain.schedule, "eps")
    assert torch.allclose(learned.errors(doubled, None, X, i, eps), only)
    assert learned.bind(doubled, None)(X, plain.schedule.level(7)).variance_mix.shape == X.shape
    # SNR weights without truncation are the plain eps loss, whatever is predicted.
    snr, as_eps = chosen(snr=0.0, prediction="x0"), chosen(prediction="eps")
    at = [plain.schedule.level(k) for k in i.tolist()]
    ratio = torch.tensor([(a.alpha / a.sigma) ** 2 for a in at])
    missed = simple(silent, None, X, i, eps, plain.schedule, "x0")
    assert torch.allclose(snr.losses(silent, None, X, i, eps), missed * ratio, rtol=1e-4)
    assert as_eps.weight is None and chosen(p2=1.0).weight(torch.tensor(3.0)) == 0.75
    assert chosen(prediction="edm", data_std=0.4).prediction == EDM(0.4)
    assert chosen(levels="lognormal", levels_mean=0.5).noise == LogNormal(0.5, 1.2)


def test_what_does_not_go_together_is_refused():
    for more, said in (
        ({"min_snr": 5.0, "p2": 1.0}, "min_snr and p2"),
        ({"learned_variance": True, "schedule": "flow"}, "learned_variance"),
        ({"prediction": "edn"}, "prediction"),
        ({"data_std": 0.0}, "data_std"),
    ):
        with pytest.raises(ValueError, match=said):
            chosen(**more)
