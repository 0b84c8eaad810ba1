"""Filling in, on exact denoisers: a pair of correlated normal numbers whose conditional is known in closed form.

Every step here is affine in x and in the noise, so mean and variance of what is drawn follow without chance: from a run
without noise, and from one with a unit of each noise that is drawn.
"""

import math

import pytest
import torch

from ecgtwin.diffusion.denoiser import Denoised
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.inpaint import inpaint, partway, reconstructed, renoise, replaced
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.sample import sample, trajectory
from ecgtwin.diffusion.schedule import cosine
from ecgtwin.diffusion.solvers import DDIM, DDPM, DpmPP, Heun

RHO, SEEN = 0.8, 1.5
COVARIANCE = torch.tensor([[1.0, RHO], [RHO, 1.0]], dtype=torch.float64)
SCHEDULE = cosine(1000)
MASK, KNOWN = torch.tensor([[True, False]]), torch.tensor([[SEEN, 0.0]], dtype=torch.float64)


def pair(x, at):
    """The perfect denoiser of two correlated normal numbers: (B, 2)."""
    noisy = at.alpha**2 * COVARIANCE + at.sigma**2 * torch.eye(2, dtype=torch.float64)
    return Denoised(at.alpha * x @ torch.linalg.inv(noisy) @ COVARIANCE)


def left(at):
    """Variance that is left of the first number, given noisy x."""
    noisy = at.alpha**2 * COVARIANCE + at.sigma**2 * torch.eye(2, dtype=torch.float64)
    return float((COVARIANCE - at.alpha**2 * COVARIANCE @ torch.linalg.inv(noisy) @ COVARIANCE)[0, 0])


def moments(run, calls: int) -> tuple[float, float]:
    """Mean and variance of the second number, of a run(x, noise) that draws noise `calls` times: row 0 without any."""
    drawn = [0]

    def noise(x):
        out = torch.zeros_like(x)
        for axis in range(2):
            out[1 + 2 * drawn[0] + axis, axis] = 1.0
        drawn[0] += 1
        return out

    x = torch.zeros(1 + 2 * (calls + 1), 2, dtype=torch.float64)
    end = run(noise(x), noise)
    assert drawn[0] == calls + 1
    return float(end[0, 1]), float((end[1:, 1] - end[0, 1]).square().sum())


def filled(steps: int, resample: int) -> tuple[float, float]:
    def run(x, noise):
        *_, last = inpaint(pair, KNOWN, MASK, x, trailing(SCHEDULE, steps), DDPM(), noise, resample=resample)
        assert torch.equal(last.x[:, 0], torch.full((len(x),), SEEN, dtype=torch.float64))
        return last.x

    return moments(run, steps * (2 * resample - 1) - resample)


def test_resampling_comes_to_the_conditional():
    """Given the first number, the second has mean rho times it and variance 1 - rho²; plain replacement stays far off.

    What is left of the variance's error is that of the 40 steps' small variance, which every repetition adds to.
    """
    found = {resample: filled(40, resample) for resample in (1, 3, 10)}
    errors = [abs(mean - RHO * SEEN) for mean, _ in found.values()]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.06
    assert found[1][1] > 1 - RHO**2 + 0.1 > found[10][1] > 1 - RHO**2 - 0.1


def test_reconstruction_guidance_is_exact_for_one_number():
    denoise = reconstructed(pair, lambda x: x[:, :1], KNOWN[:, :1], variance=left, noise=1e-3)

    def run(x, noise):
        return sample(denoise, x, trailing(SCHEDULE, 100), Heun())

    mean, variance = moments(run, 0)
    assert math.isclose(mean, RHO * SEEN, abs_tol=2e-3) and math.isclose(variance, 1 - RHO**2, abs_tol=2e-3)
    # A wrong variance is a wrong answer: what the default assumes is not this pair's.
    crude = reconstructed(pair, lambda x: x[:, :1], KNOWN[:, :1], noise=1e-3)
    off, _ = moments(lambda x, noise: sample(crude, x, trailing(SCHEDULE, 100), Heun()), 0)
    assert abs(off - RHO * SEEN) > 0.02


def test_without_the_way_through_the_denoiser_it_is_the_same_for_independent_data():
    """N(0, 1), of which a sum of two entries is known, with a little noise: both are exact."""
    x, at = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)), SCHEDULE.level(500)
    options = {"measure": lambda x: x[:, :1] + x[:, 1:2], "known": KNOWN[:, :1], "noise": 0.1}
    options["variance"] = lambda at: 2 * at.sigma**2
    through, past = (reconstructed(Gaussian(), through=t, **options)(x, at).x0 for t in (True, False))
    assert torch.allclose(through, past)
    noisy = torch.eye(3, dtype=torch.float64) * at.sigma**2  # covariance of x0 given x
    row = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    mean = Gaussian()(x, at).x0
    wanted = mean + (KNOWN[:, :1] - mean @ row.T) / (float(row @ noisy @ row.T) + 0.01) @ row @ noisy
    assert torch.allclose(past, wanted)


def test_a_mask_is_a_measure_of_the_entries_that_count():
    denoise = reconstructed(pair, lambda x: x, KNOWN, mask=MASK, variance=left, noise=1e-3)
    other = reconstructed(pair, lambda x: x[:, :1], KNOWN[:, :1], variance=left, noise=1e-3)
    x, at = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), SCHEDULE.level(600)
    assert torch.allclose(denoise(x, at).x0, other(x, at).x0)


@pytest.mark.parametrize("solver", [DDIM(), DDIM(eta=1.0), DpmPP(2), Heun()], ids=repr)
def test_known_entries_end_as_they_are_and_pass_their_noisy_selves(solver):
    """Under replacement by a deterministic solver, the known part is alpha known + sigma times its first noise."""
    x = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    levels = trailing(SCHEDULE, 12)
    x = levels[0].alpha * KNOWN + levels[0].sigma * x
    eps = (x - levels[0].alpha * KNOWN) / levels[0].sigma
    for moment in trajectory(replaced(pair, KNOWN, MASK), x, levels, solver, lambda x: torch.ones_like(x)):
        if solver != DDIM(eta=1.0):
            wanted = moment.at.alpha * KNOWN + moment.at.sigma * eps
            assert torch.allclose(moment.x[:, 0], wanted[:, 0], atol=1e-9)
    assert torch.equal(moment.x[:, 0], torch.full((3,), SEEN, dtype=torch.float64))


def test_nothing_known_is_plain_sampling_and_everything_known_is_it():
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    levels, denoise = trailing(SCHEDULE, 8), Gaussian(0.3, 0.5)
    none, known = torch.zeros(2, 3, dtype=torch.bool), torch.full((2, 3), 7.0, dtype=torch.float64)
    *_, last = inpaint(denoise, known, none, x, levels, DpmPP(2))
    assert torch.equal(last.x, sample(denoise, x, levels, DpmPP(2)))
    *_, last = inpaint(denoise, known, ~none, x, levels, DDPM(), resample=2)
    assert torch.equal(last.x, known)


def test_renoising_has_the_marginal_of_the_level():
    """From a clean normal number of variance v: alpha² v + sigma²; in two legs the same."""
    levels = trailing(SCHEDULE, 10)
    t, s, clean = levels[2], levels[6], levels[-1]
    one = torch.ones(1, 1, dtype=torch.float64)
    for legs in ((clean, t), (clean, s, t)):
        gain, spread = 1.0, 0.0
        for low, high in zip(legs, legs[1:], strict=False):
            kept = float(renoise(one, low, high, lambda x: torch.zeros_like(x)))
            added = float(renoise(0 * one, low, high, lambda x: torch.ones_like(x)))
            gain, spread = gain * kept, spread * kept**2 + added**2
        assert math.isclose(gain, t.alpha) and math.isclose(spread, t.sigma**2)


def test_a_variation_keeps_more_of_a_sample_the_weaker_it_is():
    """SDEdit of a normal number: correlation of result and sample falls with strength, the distribution stays."""
    kept = []
    for strength in (0.2, 0.5, 1.0):
        levels = partway(trailing(SCHEDULE, 200), strength)
        one = torch.ones(1, 1, dtype=torch.float64)
        clean = SCHEDULE.level(-1)
        down = Gaussian(0.0, 1.0)
        response = sample(down, renoise(one, clean, levels[0], torch.zeros_like), levels, DDIM())
        added = sample(down, renoise(0 * one, clean, levels[0], torch.ones_like), levels, DDIM())
        kept.append(float(response))
        assert math.isclose(float(response**2 + added**2), 1.0, rel_tol=2e-2)
    assert kept[0] > 0.9 > kept[1] > 0.4 > kept[2] and kept[2] < 1e-2


def test_what_cannot_be_done_is_refused():
    levels = trailing(SCHEDULE, 4)
    with pytest.raises(ValueError, match="give bool"):
        replaced(pair, KNOWN, MASK.double())
    with pytest.raises(ValueError, match="resample 0"):
        next(inpaint(pair, KNOWN, MASK, KNOWN, levels, DDPM(), resample=0))
    for strength in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="strength"):
            partway(levels, strength)
    assert len(partway(levels, 1e-6)) == 2 and partway(levels, 1.0) == levels
