"""The loop and its inverse."""

import pytest
import torch

from ecgtwin.diffusion import (
    bind,
    cosine,
    edit,
    guide,
    invert,
    sample,
    scaled_linear,
    seeded_noise,
    trajectory,
    zero_terminal_snr,
)
from ecgtwin.diffusion.denoiser import clamp_x0
from ecgtwin.diffusion.exact import Gaussian, Mixture
from ecgtwin.diffusion.guidance import classify, guide_two_ways, within
from ecgtwin.diffusion.levels import karras, trailing, uniform_logsnr
from ecgtwin.diffusion.loss import min_snr
from ecgtwin.diffusion.schedule import Flow, Level, linear
from ecgtwin.diffusion.solvers import DDIM, DpmPP, Heun, UniPC

SHAPES = [(2, 4, 8), (2, 4, 3, 5)]


def cloud(shape) -> Mixture:
    generator = torch.Generator().manual_seed(2)
    means = torch.randn((3, *shape[1:]), generator=generator, dtype=torch.float64)
    return Mixture(means, 0.3, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))


@pytest.mark.parametrize("shape", SHAPES)
def test_trajectory_tells_every_step(shape):
    levels = trailing(cosine(100), 9)
    x = torch.randn(shape, dtype=torch.float64)
    moments = list(trajectory(cloud(shape), x, levels, DpmPP(2)))
    assert [m.step for m in moments] == list(range(9)) and [m.at for m in moments] == levels[1:]
    assert torch.equal(moments[0].x0, cloud(shape)(x, levels[0]).x0)
    assert torch.equal(moments[-1].x, sample(cloud(shape), x, levels, DpmPP(2)))
    assert not any(torch.equal(a.x, b.x) for a, b in zip(moments, moments[1:], strict=False))


def test_trajectory_is_lazy_and_checks_at_once():
    calls = []

    def denoise(x, at):
        calls.append(at)
        return Gaussian()(x, at)

    run = trajectory(denoise, torch.randn(1, 1, 8), trailing(cosine(100), 9), DDIM())
    assert calls == []
    next(run)
    assert len(calls) == 1
    with pytest.raises(ValueError, match="noise must fall strictly"):
        trajectory(denoise, torch.randn(1, 1, 8), trailing(cosine(100), 9)[::-1], DDIM())
    with pytest.raises(ValueError, match="a start and an end"):
        sample(denoise, torch.randn(1, 1, 8), trailing(cosine(100), 1)[:1], DDIM())


@pytest.mark.parametrize("solver", [DDIM(), DpmPP(3), UniPC(), Heun()])
def test_gradients_flow_through_a_whole_run(solver):
    levels = trailing(cosine(100), 5)
    scale = torch.tensor(0.5, requires_grad=True)
    x = torch.randn(2, 4, 8)
    sample(bind(lambda x, t, c: scale * x, None, "v"), x, levels, solver).square().mean().backward()
    eps = 1e-3
    either = [
        sample(bind(lambda x, t, c: (0.5 + d) * x, None, "v"), x, levels, solver).square().mean().item()  # noqa: B023
        for d in (-eps, eps)
    ]
    assert scale.grad.item() == pytest.approx((either[1] - either[0]) / (2 * eps), rel=1e-2)


def test_deterministic_solvers_draw_no_noise():
    def never(like):
        raise AssertionError("noise was drawn")

    x = torch.randn(2, 4, 8, dtype=torch.float64)
    for solver in (DDIM(), DpmPP(2), Heun(), UniPC(3)):
        sample(cloud(x.shape), x, trailing(cosine(100), 5), solver, never)


def test_there_and_back_is_as_good_as_the_solver():
    """Inversion over 200 levels: first order leaves a visible error, Heun almost none."""
    schedule = scaled_linear()
    levels = uniform_logsnr(schedule, 200)[:-1]
    x = cloud((2, 4, 8)).draw(6, torch.Generator().manual_seed(0))
    gaps = {}
    for solver in (DDIM(), Heun()):
        noise = invert(cloud(x.shape), x, levels, solver)
        assert 0.7 < noise.std().item() < 1.3
        gaps[solver] = (sample(cloud(x.shape), noise, levels, solver) - x).abs().max().item()
    assert 1e-4 < gaps[DDIM()] < 0.1
    assert gaps[Heun()] < 1e-3 * gaps[DDIM()] + 1e-4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("solver", [DDIM(), Heun(), Heun("edm")])
def test_exact_inversion_returns_to_rounding(solver, shape):
    levels = uniform_logsnr(scaled_linear(), 30)[:-1]
    x = cloud(shape).draw(3, torch.Generator().manual_seed(0))
    noise = invert(cloud(shape), x, levels, solver, tolerance=1e-13)
    assert (sample(cloud(shape), noise, levels, solver) - x).abs().max() < 1e-10


@pytest.mark.parametrize("schedule", [cosine(), zero_terminal_snr(cosine())], ids=["cosine", "zero terminal SNR"])
def test_twenty_steps_of_heun_are_there_and_back_on_a_whole_schedule(schedule):
    """From the cleanest level to alpha = 5e-5 or to pure noise, and down again."""
    levels = trailing(schedule, 20)[:-1]
    exact = Gaussian(
        torch.tensor([[0.3], [-1.0]], dtype=torch.float64), torch.tensor([[0.2], [1.5]], dtype=torch.float64)
    )
    x = torch.randn(3, 2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.5
    there = invert(exact, x, levels, Heun())
    assert (sample(exact, there, levels, Heun()) - x).abs().max() < 1e-3
    there = invert(exact, x, levels, Heun(), tolerance=1e-8)
    assert (sample(exact, there, levels, Heun()) - x).abs().max() < 1e-6


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize("solver", [DDIM(), Heun(), Heun("edm")])
def test_editing_with_the_same_denoiser_changes_nothing_with_any_number_of_steps(solver, steps):
    x = cloud((2, 4, 8)).draw(3, torch.Generator().manual_seed(0))
    levels = trailing(cosine(), steps + 1)[:-1]
    *_, last = edit(cloud(x.shape), cloud(x.shape), x, levels, solver)
    assert last.step == steps - 1 and (last.x - x).abs().max() < 1e-10


def test_editing_moves_a_sample_to_the_same_place_of_the_other_distribution():
    """Between two Gaussians the exact edit keeps each entry's quantile."""
    before, after = Gaussian(-0.5, 0.3), Gaussian(1.0, 0.6)
    levels = trailing(cosine(), 101)[:-1]
    x = torch.randn(2, 4, 8, dtype=torch.float64) * 0.3 - 0.5
    *_, last = edit(before, after, x, levels, Heun())
    wanted = after.flow(before.flow(x, levels[-1], levels[0]), levels[0], levels[-1])
    assert (last.x - wanted).abs().max() < 2e-3
    assert (last.x - x).abs().mean() > 1
    with pytest.raises(ValueError, match="remembers"):
        edit(before, after, x, levels, DpmPP(2))
    with pytest.raises(ValueError, match=r"use levels\[:-1\]"):
        edit(before, after, x, trailing(cosine(), 5), Heun())


def test_exact_inversion_treats_each_sample_by_itself():
    x = cloud((2, 4, 8)).draw(3, torch.Generator().manual_seed(0))
    x[0] *= 4  # takes more iterations than its neighbours
    levels = uniform_logsnr(scaled_linear(), 30)[:-1]
    together = invert(Gaussian(0.1, 0.4), x, levels, DDIM(), tolerance=1e-6)
    for k in range(3):
        assert torch.equal(invert(Gaussian(0.1, 0.4), x[k : k + 1], levels, DDIM(), tolerance=1e-6)[0], together[k])


def test_exact_inversion_returns_under_guidance_too():
    one, two = Gaussian(torch.tensor(0.4), 0.5), Gaussian(torch.tensor(-0.2), 0.8)
    denoise = guide(one, two, 1.5)
    levels = uniform_logsnr(scaled_linear(), 40)[:-1]
    x = torch.randn(2, 4, 8, dtype=torch.float64)
    noise = invert(denoise, x, levels, DDIM(), tolerance=1e-13)
    assert (sample(denoise, noise, levels, DDIM()) - x).abs().max() < 1e-10


def test_a_step_too_large_to_invert_says_so():
    x = torch.randn(1, 1, 8, dtype=torch.float64)
    schedule = scaled_linear()
    with pytest.raises(RuntimeError, match="take more steps"):
        invert(Gaussian(), x, [schedule.level(999), schedule.level(0)], DDIM(), tolerance=1e-9)


def test_what_cannot_be_inverted_is_an_error():
    x = torch.randn(2, 4, 8)
    levels = trailing(cosine(100), 5)
    with pytest.raises(ValueError, match=r"use levels\[:-1\]"):
        invert(Gaussian(), x, levels, DDIM())
    with pytest.raises(ValueError, match="eta = 0"):
        invert(Gaussian(), x, levels[:-1], DDIM(1.0))
    churned = Heun(churn=0.1, level_at=cosine(100).level_at)
    with pytest.raises(ValueError, match="cannot be inverted"):
        invert(Gaussian(), x, levels[1:-1], churned)
    for remembers in (DpmPP(2), UniPC()):
        with pytest.raises(ValueError, match="remembers"):
            invert(Gaussian(), x, levels[:-1], remembers, tolerance=1e-6)


def test_float32_and_half_stay_what_they_are():
    levels = trailing(cosine(100), 6)
    for kind in (torch.float32, torch.bfloat16, torch.float64):
        x = seeded_noise([1, 2])(torch.empty(2, 4, 8, dtype=kind))
        for solver in (DDIM(1.0), DpmPP(3), Heun(), UniPC()):
            assert sample(bind(lambda x, t, c: x, None, "v"), x, levels, solver).dtype == kind


def test_levels_need_no_schedule():
    """A hand-written list is as good: here of a variance-exploding process, alpha = 1."""
    levels = [Level(80.0, 1.0, 80.0), Level(10.0, 1.0, 10.0), Level(1.0, 1.0, 1.0), Level(0.0, 1.0, 0.0)]
    exact = Gaussian(0.5, 0.0)
    assert torch.allclose(sample(exact, 80 * torch.randn(2, 4, 8), levels, DpmPP(2)), torch.full((2, 4, 8), 0.5))


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: seeded_noise([]),
        lambda: seeded_noise([1, 2**64]),
        lambda: seeded_noise([-1]),
        lambda: sample(Gaussian(), torch.empty(0, 4, 8), trailing(cosine(100), 5), DDIM()),
        lambda: list(edit(Gaussian(), Gaussian(), torch.empty(0, 4), trailing(cosine(100), 5)[:-1], DDIM())),
        lambda: sample(Gaussian(), torch.ones(1, 4), [Level(1.0, NAN, 1.0), Level(0.0, 1.0, 0.0)], DDIM()),
        lambda: guide(Gaussian(), Gaussian(), NAN),
        lambda: guide(Gaussian(), Gaussian(), INFINITE),
        lambda: guide(Gaussian(), Gaussian(), 2.0, rescale=NAN),
        lambda: guide_two_ways(Gaussian(), Gaussian(), Gaussian(), NAN, 1.0),
        lambda: guide_two_ways(Gaussian(), Gaussian(), Gaussian(), 1.0, -INFINITE),
        lambda: within(Gaussian(), Gaussian(), NAN, 1.0),
        lambda: classify(Gaussian(), lambda x, at: x.sum(1), NAN),
        lambda: clamp_x0(Gaussian(), NAN, 1.0),
        lambda: Heun(churn=NAN),
        lambda: DDIM(NAN),
        lambda: Flow(100, shift=NAN),
        lambda: Flow(100, shift=INFINITE),
        lambda: Flow(100).level_at(NAN),
        lambda: cosine(100).level_at(NAN),
        lambda: cosine(100).level(NAN),
        lambda: karras(cosine(100), 5, rho=NAN),
        lambda: linear(100, first=NAN),
        lambda: min_snr(NAN),
    ],
)
def test_what_is_not_a_number_and_what_is_empty_is_refused(wrong):
    with pytest.raises(ValueError, match=r"give|comes first|expected|must|outside|strictly"):
        wrong()
