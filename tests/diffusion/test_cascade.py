"""A cascade's augmentation and sampling in closed form: a Gaussian sample of which the coarse one tells a part."""

import pytest
import torch

from ecgtwin.diffusion.cascade import Cascade, augment, short
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.objective import Objective
from ecgtwin.diffusion.sample import seeded_noise
from ecgtwin.diffusion.schedule import cosine

SCHEDULE = cosine(1000)


def exact(slope: float, variance: float, seen: list):
    """The network that predicts v, of x0 ~ N(slope coarse, variance) with a coarse sample that may be noisy itself."""

    def network(x, t, condition):
        coarse, strength = condition
        seen.append((coarse, strength))
        alpha, sigma = SCHEDULE.alpha_sigma(t.round().long())
        alpha, sigma = (v.view(-1, 1, 1) for v in (alpha, sigma))
        s = strength.view(-1, 1, 1)
        # coarse = sqrt(1 - s²) c + s noise with c ~ N(0, 1): what is known of c, and so of x0, before x is seen.
        mean = slope * (1 - s**2).sqrt() * coarse
        spread = variance + slope**2 * s**2
        x0 = mean + spread * alpha / (alpha**2 * spread + sigma**2) * (x - alpha * mean)
        eps = (x - alpha * x0) / sigma
        return alpha * eps - sigma * x0

    return network


def test_augmentation_keeps_the_variance_and_nothing_is_noised_at_strength_zero():
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(4, 2, 50_000, generator=generator) for _ in range(2))
    strength = torch.tensor([0.0, 0.2, 0.6, 1.0])
    made = augment(x, strength, noise)
    assert torch.equal(made[0], x[0]) and torch.equal(made[3], noise[3])
    assert torch.allclose(made.std((1, 2)), torch.ones(4), atol=0.01)
    kept = (made * x).mean((1, 2))
    assert torch.allclose(kept, (1 - strength**2).sqrt(), atol=0.02)


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_samples_follow_the_posterior_of_the_fine_sample_under_the_coarse_one(strength):
    seen: list = []
    cascade, n = Cascade(Objective(SCHEDULE), strongest=0.3), 4000
    coarse = torch.randn(n, 1, 8, generator=torch.Generator().manual_seed(1))
    network = exact(0.8, 0.25, seen)
    made = cascade.sample(network, coarse, 1, noise=seeded_noise(range(n)), steps=40, strength=strength)
    shown, told = seen[0]
    assert torch.allclose(told, torch.full((n,), strength)) and all(torch.equal(a, shown) for a, _ in seen)
    assert torch.equal(shown, coarse) == (strength == 0)
    assert (shown * coarse).mean() == pytest.approx((1 - strength**2) ** 0.5, abs=0.02)
    # Whatever the augmentation, pairs of coarse and fine have the moments of the data.
    assert made.var() == pytest.approx(0.8**2 + 0.25, abs=0.03)
    assert (made * shown).mean() == pytest.approx(0.8 * (1 - strength**2) ** 0.5, abs=0.03)


def test_the_limit_thresholds_each_estimate_dynamically():
    seen: list = []
    network, coarse = exact(3.0, 0.01, seen), torch.full((2, 1, 64), 1.0)
    coarse[1] *= 0.1
    free, held = (Cascade(Objective(SCHEDULE), limit=limit, fraction=1.0) for limit in (None, 1.0))
    noise = lambda: seeded_noise([0, 1])  # noqa: E731
    a, b = (c.sample(network, coarse, 1, noise=noise(), steps=10) for c in (free, held))
    assert a[0].mean() == pytest.approx(3, abs=0.1) and b[0].abs().max() <= 1 + 1e-6 and b[0].mean() > 0.8
    assert torch.allclose(a[1], b[1], atol=1e-5)  # a sample within the limit is left as it is


def test_samples_do_not_depend_on_the_batch_and_strengths_are_those_of_training():
    network, cascade = exact(0.5, 0.5, []), Cascade(Objective(SCHEDULE), strongest=0.2)
    coarse = torch.randn(3, 1, 16, generator=torch.Generator().manual_seed(2))
    whole = cascade.sample(network, coarse, 1, noise=seeded_noise([4, 5, 6]), steps=4, strength=0.1)
    alone = cascade.sample(network, coarse[1:2], 1, noise=seeded_noise([5]), steps=4, strength=0.1)
    assert torch.allclose(whole[1:2], alone, atol=1e-6)
    with pytest.raises(ValueError, match="trained with 0 … 0.2"):
        cascade.sample(network, coarse, 1, noise=seeded_noise([4, 5, 6]), strength=0.5)
    levels, strengths = cascade.draw(4000, torch.Generator().manual_seed(3))
    assert levels.shape == (4000,) and 0 <= strengths.min() and strengths.max() <= 0.2
    assert (strengths == 0).float().mean() == pytest.approx(0.125, abs=0.02)


def test_a_short_run_keeps_the_power_of_noise_where_trailing_levels_lose_it():
    def kept(std: float, levels) -> float:
        network, coarse = exact(0.0, std**2, []), torch.zeros(1, 1, 4096)
        cascade = Cascade(Objective(SCHEDULE))
        return float(cascade.sample(network, coarse, 1, noise=seeded_noise([7]), steps=8, levels=levels).std()) / std

    assert all(0.85 < kept(std, short) < 1.08 for std in (0.1, 0.3, 1.0, 3.0))
    assert kept(0.1, trailing) < 0.5
    assert [round(level.logsnr, 6) for level in short(SCHEDULE, 3)[:3]] == [-9, -0.5, 8]
