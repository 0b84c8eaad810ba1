"""Solvers fitted to distributions whose perfect run is known in closed form."""

from itertools import pairwise

import pytest
import torch

from ecgtwin.diffusion import Denoised, cosine, fitting
from ecgtwin.diffusion.distill import path_of
from ecgtwin.diffusion.exact import Gaussian, Mixture
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.sample import invert, sample
from ecgtwin.diffusion.solvers import DDIM, Fitted, UniPC

SCHEDULE = cosine(1000)
LEVELS = trailing(SCHEDULE, 20)
MIXTURE = Mixture(
    torch.tensor([[[-0.8, 0.5, 1.0, 0.2]], [[1.0, -0.4, 0.3, -0.9]]]).double(), 0.1, torch.tensor([0.6, 0.4])
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact_path(data: Gaussian, x: torch.Tensor) -> torch.Tensor:
    """The probability-flow ODE itself, without a solver's error."""
    path = [x]
    for t, s in pairwise(LEVELS):
        path.append(data.flow(path[-1], t, s))
    return torch.stack(path, 1)


@pytest.mark.parametrize(("stds", "calls"), [((0.3,), 1), ((0.3, 1.1), 1), ((0.2, 0.6, 1.3), 2)])
@pytest.mark.parametrize("shape", [(8, 6, 4), (8, 6, 2, 2)])
def test_with_as_many_numbers_as_there_are_variances_the_fitted_run_is_the_ode_itself(stds, calls, shape):
    std = torch.tensor(stds, dtype=torch.float64).repeat(6 // len(stds)).view(6, *[1] * (len(shape) - 2))
    data, asked = Gaussian(0.0, std**2), range(0, 20, 20 // calls)
    solver, end = fitting.fit(data, exact_path(data, noise(*shape)), LEVELS, asked, ridge=1e-12)
    fresh = noise(*shape, seed=1)
    expected = exact_path(data, fresh)[:, -1]
    run = sample(data, fresh, solver.levels(SCHEDULE, calls), solver)
    torch.testing.assert_close(run, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(end, exact_path(data, noise(*shape))[:, -1], atol=1e-4, rtol=0)
    assert (sample(data, fresh, trailing(SCHEDULE, calls), UniPC(2)) - expected).abs().max() > 0.02


def test_the_numbers_of_a_single_call_are_those_of_the_ode():
    """Two variances, one call: two equations for two numbers."""
    std = torch.tensor([0.4, 1.2], dtype=torch.float64)[:, None]
    data = Gaussian(0.0, std**2)
    solver, _ = fitting.fit(data, exact_path(data, noise(64, 2, 3)), LEVELS, [0], ridge=0.0)
    one = torch.ones(1, 2, 1, dtype=torch.float64)
    of_noise, of_x0 = solver.weights[0]
    expected = data.flow(one, LEVELS[0], LEVELS[-1])
    torch.testing.assert_close(of_noise * one + of_x0 * data(one, LEVELS[0]).x0, expected, atol=1e-9, rtol=0)


def test_held_near_where_it_starts_it_is_ddim():
    data, x = Gaussian(0.3, 0.5), noise(4, 2, 3)
    asked = (0, 6, 12)
    solver, end = fitting.fit(data, exact_path(data, x), LEVELS, asked, ridge=1e12)
    torch.testing.assert_close(end, sample(data, x, solver.levels(SCHEDULE, 3), DDIM()), atol=1e-9, rtol=0)


def test_on_a_mixture_it_ends_nearer_to_the_long_run_than_unipc_on_noise_that_it_never_saw():
    train, held = (path_of(MIXTURE, noise(400, 1, 4, seed=k), LEVELS, UniPC(2)) for k in (1, 2))
    for calls, part in ((2, 0.7), (4, 0.6)):
        plain = fitting.missed(sample(MIXTURE, held[:, 0], trailing(SCHEDULE, calls), UniPC(2)), held)
        asked = fitting.search(MIXTURE, train, LEVELS, calls)
        solver, end = fitting.fit(MIXTURE, train, LEVELS, asked)
        even, _ = fitting.fit(MIXTURE, train, LEVELS, range(0, 20, 20 // calls))
        found, by_even = (
            fitting.missed(sample(MIXTURE, held[:, 0], one.levels(SCHEDULE, calls), one), held)
            for one in (solver, even)
        )
        assert found < part * plain and found <= by_even
        assert fitting.missed(sample(MIXTURE, train[:, 0], solver.levels(SCHEDULE, calls), solver), train) == (
            pytest.approx(fitting.missed(end, train))
        )


def test_a_run_does_not_depend_on_its_neighbours_and_leaves_its_noise_alone():
    solver, _ = fitting.fit(MIXTURE, path_of(MIXTURE, noise(50, 1, 4), LEVELS, UniPC(2)), LEVELS, [0, 5, 10])
    x = noise(3, 1, 4, seed=5)
    kept, levels = x.clone(), solver.levels(SCHEDULE, 3)
    together = sample(MIXTURE, x, levels, solver)
    assert torch.equal(x, kept)
    torch.testing.assert_close(together[1:2], sample(MIXTURE, x[1:2], levels, solver), atol=1e-12, rtol=0)


def test_other_levels_and_other_numbers_are_refused():
    solver = Fitted((999.0, 400.0), ((0.5, 0.5), (0.1, 0.4, 0.5)))
    x = noise(1, 1, 4)
    with pytest.raises(ValueError, match="fitted for 2"):
        solver.levels(SCHEDULE, 3)
    for steps in (2, 3):
        with pytest.raises(ValueError, match="fitted to be asked at"):
            sample(MIXTURE, x, trailing(SCHEDULE, steps), solver)
    with pytest.raises(ValueError, match="fitted to be asked at"):
        invert(MIXTURE, x, LEVELS[:-1], solver, tolerance=1e-6)
    for indices, weights in (((), ()), ((999.0,), ((1.0,),)), ((999.0, 5.0), ((1.0, 0.0),))):
        with pytest.raises(ValueError, match="expected"):
            Fitted(indices, weights)
    path = path_of(MIXTURE, x, LEVELS, DDIM())
    for asked in ([], [1, 2], [0, 20], [0, 5, 5], [0, 7, 5]):
        with pytest.raises(ValueError, match="asked at"):
            fitting.fit(MIXTURE, path, LEVELS, asked)
    for calls in (0, 21):
        with pytest.raises(ValueError, match="calls on a path"):
            fitting.search(MIXTURE, path, LEVELS, calls)


def test_a_search_tells_what_it_tried_and_never_leaves_the_path():
    heard = []
    path = path_of(MIXTURE, noise(20, 1, 4), LEVELS, UniPC(2))
    best = fitting.search(
        MIXTURE, path, LEVELS, 3, start=(0, 1, 2), told=lambda asked, error: heard.append((error, asked))
    )
    assert best == min(heard)[1] and all(asked[0] == 0 and asked[-1] < 20 for _, asked in heard)
    assert len({asked for _, asked in heard}) == len(heard)


def test_a_denoiser_that_says_nothing_new_adds_nothing():
    """Its estimates are all zero: the ridge keeps the equations solvable."""
    path = exact_path(Gaussian(0.0, 1.0), noise(4, 1, 3))
    solver, end = fitting.fit(lambda x, at: Denoised(torch.zeros_like(x)), path, LEVELS, [0, 10])
    torch.testing.assert_close(end, path[:, -1], atol=1e-3, rtol=0)
