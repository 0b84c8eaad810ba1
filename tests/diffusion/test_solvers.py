"""Every deterministic solver: order, exactness, equalities, both ends, calls per step; and planted bugs are found."""

import inspect
import math
import types
from collections.abc import Callable

import pytest
import torch

from ecgtwin.diffusion import Flow, Level, cosine, sample, seeded_noise, trajectory, zero_terminal_snr
from ecgtwin.diffusion.denoiser import Denoised
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.levels import karras, linspace, trailing, uniform_logsnr
from ecgtwin.diffusion.sde import EulerMaruyama, ProbabilityFlow, drift
from ecgtwin.diffusion.solvers import (
    DDIM,
    DDPM,
    PNDM,
    DpmPP,
    DpmPPSingle,
    DpmSolver,
    Euler,
    Evaluation,
    Heun,
    PseudoRungeKutta,
    Solver,
    UniPC,
    dpm,
    dpm_pp,
    heun,
    pndm,
    unipc,
)
from ecgtwin.diffusion.solvers.solver import clock_is_sound

SHAPES = [(2, 4, 8), (2, 4, 3, 5)]  # one axis and two axes


class Circle:
    """The smooth path alpha = cos t, sigma = sin t: no table, so that only the solver's error is seen."""

    def level(self, t: float) -> Level:
        return Level(t, math.cos(t), math.sin(t))

    def level_at(self, logsnr: float) -> Level:
        return self.level(math.atan(math.exp(-logsnr / 2)))


# name: (how to make it on a path, calls of the denoiser per step, steps at which its order shows)
SOLVERS: dict[str, tuple[Callable[..., Solver], int, int]] = {
    "DDIM": (lambda path: DDIM(), 1, 80),
    "Euler": (lambda path: Euler(), 1, 80),
    "Heun": (lambda path: Heun(), 2, 80),
    "Heun on EDM's clock": (lambda path: Heun("edm"), 2, 80),
    "DPM-Solver 1": (lambda path: DpmSolver(path.level_at, 1), 1, 80),
    "DPM-Solver 2": (lambda path: DpmSolver(path.level_at, 2), 2, 80),
    "DPM-Solver 3": (lambda path: DpmSolver(path.level_at, 3), 3, 80),
    "DPM-Solver++ 1M": (lambda path: DpmPP(1), 1, 80),
    "DPM-Solver++ 2S": (lambda path: DpmPPSingle(path.level_at), 2, 80),
    "DPM-Solver++ 2M": (lambda path: DpmPP(2), 1, 80),
    "DPM-Solver++ 3M cold": (lambda path: DpmPP(3), 1, 160),
    "DPM-Solver++ 3M": (lambda path: DpmPP(3, start=DpmPPSingle(path.level_at)), 1, 80),
    "UniPC 1": (lambda path: UniPC(1), 1, 80),
    "UniPC 2": (lambda path: UniPC(2), 1, 80),
    "UniPC 2 bh1": (lambda path: UniPC(2, "bh1"), 1, 80),
    "UniPC 3": (lambda path: UniPC(3), 1, 1280),
    "PNDM": (lambda path: PNDM(), 1, 80),
    "PNDM Runge-Kutta": (lambda path: PNDM(PseudoRungeKutta(path.level)), 1, 80),
    "pseudo Runge-Kutta": (lambda path: PseudoRungeKutta(path.level), 4, 80),
    "probability flow": (lambda path: ProbabilityFlow(path.level_at), 4, 40),
}
# these reach sigma = 0 along a mean of noises, so their last x is not the last estimate of x0
ENDS_ELSEWHERE = {"PNDM", "PNDM Runge-Kutta"}
MEANS_OF_EPS = ENDS_ELSEWHERE | {"pseudo Runge-Kutta"}


def patient(shape: tuple[int, ...]) -> tuple[Gaussian, torch.Tensor]:
    """A Gaussian with another mean and variance at every entry, and starting points."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    variance = 0.05 + 2 * torch.rand(shape[1:], generator=generator, dtype=torch.float64)
    return Gaussian(mean, variance), torch.randn(shape, generator=generator, dtype=torch.float64)


def two_calls(path, module=dpm) -> Solver:
    return module.DpmPPSingle(path.level_at)


def grid(path, steps: int) -> list[Level]:
    """Even in log-SNR between two noisy levels, where every solver has its full order."""
    return [path.level_at(-4 + 8 * k / steps) for k in range(steps + 1)]


def measured_order(solver: Solver, path, steps: int, shape: tuple[int, ...]) -> float:
    exact, x = patient(shape)
    errors = []
    for count in (steps, 2 * steps):
        levels = grid(path, count)
        errors.append((sample(exact, x, levels, solver) - exact.flow(x, levels[0], levels[-1])).abs().max().item())
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", [Circle(), Flow(1000)], ids=["variance preserving", "flow"])
@pytest.mark.parametrize("name", SOLVERS)
def test_order(name, path, shape):
    make, _, steps = SOLVERS[name]
    solver = make(path)
    assert measured_order(solver, path, steps, shape) == pytest.approx(solver.order, abs=0.15)


MUTANTS = [  # (module, correct text, planted bug, how to make the solver from the mutated module)
    (dpm_pp, "weight * (1 + lean)", "weight * (1 - lean)", lambda m, path: m.DpmPP(2)),
    (dpm_pp, "/ (2 * (lam - half_logsnr(before)))", "/ (lam - half_logsnr(before))", lambda m, path: m.DpmPP(2)),
    (dpm_pp, "(half_logsnr(s) - lam) / (2", "(half_logsnr(s) - lam) ** 2 / (2", lambda m, path: m.DpmPP(2)),
    (dpm_pp, "1 - 2 * (decay + h)", "1 - 1 * (decay + h)", lambda m, path: m.DpmPP(3, start=two_calls(path))),
    (dpm_pp, "on_d0 = slope - on_d1", "on_d0 = slope + on_d1", lambda m, path: m.DpmPP(3, start=two_calls(path))),
    (dpm, "math.expm1(h) / (2 * r)", "math.expm1(h) / r", lambda m, path: m.DpmSolver(path.level_at, 2)),
    (dpm, "(r_far / r) * _second", "(r / r_far) * _second", lambda m, path: m.DpmSolver(path.level_at, 3)),
    (dpm, "s.sigma / r_far", "s.sigma * r_far", lambda m, path: m.DpmSolver(path.level_at, 3)),
    (dpm, "/ (2 * (half_logsnr(mid) - lam))", "/ (half_logsnr(mid) - lam)", lambda m, path: two_calls(path, m)),
    (heun, "alpha=half * scale_t / t.sigma", "alpha=half * scale_s / t.sigma", lambda m, path: m.Heun("edm")),
    (heun, "scale_s / scale_t) / 2", "scale_s / scale_t) / 3", lambda m, path: m.Heun()),
    (unipc, "factorial *= k + 1", "factorial *= k", lambda m, path: m.UniPC(2)),
    (unipc, "return [0.5]", "return [0.4]", lambda m, path: m.UniPC(2)),
    (unipc, "x = self._leap(past", "self._leap(past", lambda m, path: m.UniPC(2)),
    (pndm, "(55 / 24, -59 / 24", "(59 / 24, -55 / 24", lambda m, path: m.PNDM()),
    (pndm, "2 * third + fourth", "third + 2 * fourth", lambda m, path: m.PseudoRungeKutta(path.level)),
]


@pytest.mark.parametrize("module, correct, bug, make", MUTANTS, ids=[f"{m[0].__name__[-6:]}: {m[2]}" for m in MUTANTS])
def test_the_order_test_rejects_planted_bugs(module, correct, bug, make):
    source = inspect.getsource(module)
    assert source.count(correct) == 1, "the planted bug no longer fits the source"
    mutant = types.ModuleType("mutant")
    mutant.__package__ = module.__package__
    exec(source.replace(correct, bug), mutant.__dict__)
    order = measured_order(make(mutant, Circle()), Circle(), 80, SHAPES[0])
    assert abs(order - make(module, Circle()).order) > 0.15, f"the bug passed with order {order:.3f}"


def test_adams_bashforth_weights_integrate_polynomials():
    """Order decides nothing about the first, lower rows, which are used once each: they must be exact on their own."""
    for row in pndm.ADAMS_BASHFORTH:
        for power in range(len(row)):
            assert sum(w * (-k) ** power for k, w in enumerate(row)) == pytest.approx(1 / (power + 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", [n for n in SOLVERS if n != "probability flow"])
def test_one_point_is_reached_exactly_in_any_number_of_steps(name, shape):
    """Where x0 is known for certain the noise in x never changes: x_s = alpha_s x0 + sigma_s eps, whatever the step."""
    path = Circle()
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    for steps in (1, 2, 5):
        levels = grid(path, steps)
        first, last = levels[0], levels[-1]
        x = sample(lambda x, at: Denoised(x0), first.alpha * x0 + first.sigma * eps, levels, SOLVERS[name][0](path))
        assert torch.allclose(x, last.alpha * x0 + last.sigma * eps, atol=1e-10)


def test_third_order_multistep_is_exact_where_x0_is_a_parabola_in_log_snr():
    """x_s = sigma_s/sigma_t x + sigma_s int e^l x0(l) dl (arXiv 2211.01095, eq. 8), integrated in closed form."""
    a, b, c = 0.3, -0.7, 0.4
    path = Circle()
    t_older, t_before, t, s = (path.level_at(2 * lam) for lam in (-1.0, -0.7, -0.2, 0.6))
    lam = [at.logsnr / 2 for at in (t_older, t_before, t, s)]

    def x0(value: float) -> torch.Tensor:
        return torch.tensor([[a + b * value + c * value**2]], dtype=torch.float64)

    def integral(value: float) -> float:
        return math.exp(value) * ((a - b + 2 * c) + (b - 2 * c) * value + c * value**2)

    x = torch.tensor([[0.9]], dtype=torch.float64)
    past = (Evaluation(t_before, x, x0(lam[1])), Evaluation(t_older, x, x0(lam[0])))
    moved, _ = DpmPP(3).step(lambda x, at: Denoised(x0(at.logsnr / 2)), x, t, s, past, torch.randn_like)
    exact = s.sigma / t.sigma * 0.9 + s.sigma * (integral(lam[3]) - integral(lam[2]))
    assert moved.item() == pytest.approx(exact, abs=1e-13)


@pytest.mark.parametrize("spacing", [trailing, linspace, karras, uniform_logsnr])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_ends_clean_with_any_number_of_steps(name, steps, spacing):
    schedule = cosine(100)
    exact, x = patient(SHAPES[0])
    levels = spacing(schedule, steps)
    *_, last = trajectory(exact, x, levels, SOLVERS[name][0](schedule))
    assert last.at.sigma == 0 and last.step == steps - 1 and torch.isfinite(last.x).all()
    if name not in ENDS_ELSEWHERE:
        assert torch.allclose(last.x, last.x0, atol=1e-12)
    if steps == 1:
        assert torch.allclose(last.x, exact(x, levels[0]).x0, atol=1e-9)


def whole(steps: int, alpha: float) -> list[Level]:
    """A whole schedule, even in the angle: from this alpha, at or near pure noise, to sigma = 0.01."""
    top, bottom = math.acos(alpha), math.asin(0.01)
    levels = [Circle().level(top + (bottom - top) * k / steps) for k in range(steps + 1)]
    return [Level(levels[0].t, alpha, math.sqrt(1 - alpha**2)), *levels[1:]]


@pytest.mark.parametrize("alpha", [5e-5, 0.0], ids=["cosine's noisiest", "pure noise"])
@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_is_right_on_a_whole_schedule(name, alpha):
    """Where sigma/alpha begins at 20,000 or at infinity: the order holds, from third on at least the second (a step
    from pure noise has no log-SNR), and 160 steps are close."""
    solver = SOLVERS[name][0](Circle())
    exact, x = patient(SHAPES[0])
    errors = []
    for steps in (160, 1280):
        levels = whole(steps, alpha)
        errors.append((sample(exact, x, levels, solver) - exact.flow(x, levels[0], levels[-1])).abs().max().item())
    assert errors[0] < (0.05 if solver.order == 1 else 5e-3)
    slope = math.log2(errors[0] / errors[1]) / 3
    if name in MEANS_OF_EPS:  # their error is small, but its first steps do not shrink as fast
        assert errors[0] < 5e-4 and errors[1] < 1e-4
    else:
        assert slope > min(solver.order, 2) - 0.35


def test_heun_takes_twenty_steps_from_pure_noise():
    """On EDM's clock, where each step would go by sigma/alpha, this was wrong by more than 1."""
    exact, x = patient(SHAPES[0])
    for alpha in (5e-5, 0.0):
        levels = whole(20, alpha)
        for solver, most in ((Heun(), 1e-3), (Heun("edm"), 0.1)):
            assert (sample(exact, x, levels, solver) - exact.flow(x, levels[0], levels[-1])).abs().max() < most


@pytest.mark.parametrize("schedule", [cosine(400), zero_terminal_snr(cosine(400))], ids=["cosine", "zero terminal SNR"])
@pytest.mark.parametrize("name", SOLVERS)
def test_tables_of_levels_too(name, schedule):
    exact, x = patient(SHAPES[0])
    solver = SOLVERS[name][0](schedule)
    levels = trailing(schedule, 100)[:-1]
    error = (sample(exact, x, levels, solver) - exact.flow(x, levels[0], levels[-1])).abs().max()
    assert error < (0.1 if solver.order == 1 else 0.02)


def test_the_reverse_sde_starts_at_pure_noise_in_closed_form():
    schedule = zero_terminal_snr(cosine(40))
    exact, x = patient(SHAPES[0])
    levels = trailing(schedule, 10)[:2]
    first, second = (sample(exact, x, levels, made, seeded_noise([1, 2])) for made in (EulerMaruyama(), DDIM(1.0)))
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match="infinite drift at alpha = 0"):
        drift(*levels)


def test_a_sound_clock():
    """Up and down alike; only where there is more noise than signal."""
    at = Circle().level_at
    for t, s, sound in (
        (-8.0, -2.0, False),
        (-8.0, -7.0, True),
        (-4.0, 8.0, True),
        (1.0, 18.0, True),
        (-5.0, 0.0, False),
    ):
        assert clock_is_sound(at(t), at(s)) == clock_is_sound(at(s), at(t)) == sound
    assert not clock_is_sound(Level(1.0, 0.0, 1.0), at(-9.0)) and not clock_is_sound(
        Level(1.0, 0.0, 1.0), Level(0.0, 1.0, 0.0)
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_calls_per_step(name):
    make, per_step, _ = SOLVERS[name]
    exact, x = patient(SHAPES[0])
    calls = []

    def counted(x, at):
        calls.append(at)
        return exact(x, at)

    path = Circle()
    moments = list(trajectory(counted, x, grid(path, 9), make(path)))
    extra = {"PNDM": 1, "PNDM Runge-Kutta": 9, "DPM-Solver++ 3M": 1}.get(name, 0)  # spent once, at the start
    assert len(calls) == 9 * per_step + extra
    assert all(torch.equal(moment.x0, exact(before, at).x0) for before, at, moment in seen(x, path, moments, name))


def seen(x, path, moments, name):
    """Each moment's x0 is what the denoiser says of x before the step (UniPC corrects x afterwards: not compared)."""
    if name.startswith("UniPC"):
        return []
    return [(b, at, m) for b, at, m in zip([x, *(m.x for m in moments)], grid(path, 9), moments, strict=False)]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: DDIM(1.5),
        lambda: DDPM("medium"),
        lambda: DpmPP(4),
        lambda: DpmPP(3, eta=1.0),
        lambda: DpmSolver(Circle().level_at, 4),
        lambda: UniPC(2, "bh3"),
        lambda: Heun(churn=0.1),
        lambda: Heun("ratio"),
    ],
)
def test_wrong_settings_are_errors(wrong):
    with pytest.raises(ValueError, match="give|defined|needs"):
        wrong()
