"""The options that say how a run goes from noise to sample."""

import math

import pytest
import torch

from ecgtwin import Condition
from ecgtwin.cli.walk import Levels, Sampler, Walk, interval_of
from ecgtwin.cli.wanted import Options, walked
from ecgtwin.diffusion.exact import Gaussian
from ecgtwin.diffusion.levels import shifted, trailing
from ecgtwin.diffusion.sample import check_levels, sample
from ecgtwin.diffusion.schedule import Flow, cosine

from ..twin import tiny

SCHEDULE = cosine(1000)


@pytest.mark.parametrize("name", [s for s in Sampler if s is not Sampler.ddpm_learned], ids=lambda s: s.value)
@pytest.mark.parametrize("levels", list(Levels), ids=lambda x: x.value)
def test_every_solver_on_every_spacing_draws_what_it_should(name, levels):
    """N(0.5, 0.2²), without noise of the solver's own: from x = 0 all end near the mean."""
    walk = Walk(name.value, levels=levels.value)
    visited = walk.spacing()(SCHEDULE, 20)
    x = torch.zeros(1, 1, dtype=torch.float64)
    end = sample(Gaussian(0.5, 0.04), x, visited, walk.solver_on(SCHEDULE), lambda x: torch.zeros_like(x))
    assert abs(float(end) - 0.5) < 0.1


def test_a_shift_is_that_of_the_flow_and_keeps_both_ends():
    flow, moved = Flow(1000), Flow(1000, shift=3.0)
    for a, b in zip(shifted(flow, trailing(flow, 8), 3.0), trailing(moved, 8), strict=True):
        assert math.isclose(a.sigma, b.sigma, abs_tol=1e-9)
    found = Walk(shift=4.0).spacing()(SCHEDULE, 10)
    check_levels(found)
    assert found[0].t == SCHEDULE.noisiest and found[-1].sigma == 0
    assert found[5].logsnr < trailing(SCHEDULE, 10)[5].logsnr
    with pytest.raises(ValueError, match="shift 0"):
        shifted(flow, trailing(flow, 8), 0.0)


def test_options_that_say_nothing_are_the_model_s_own_and_nonsense_is_refused():
    assert Walk().solver_on(SCHEDULE) is None and Walk().spacing() is trailing
    assert interval_of(None) is None and interval_of("-3:5") == (-3.0, 5.0)
    with pytest.raises(ValueError, match="expected LOW:HIGH"):
        interval_of("-3")
    with pytest.raises(ValueError, match="--eta is for ddim"):
        Walk("heun", eta=1.0).solver_on(SCHEDULE)


def test_they_reach_a_twin(reference=tiny.reference()):
    model = tiny.model()

    def drawn(**options):
        how = walked(model, Options(1, 0, 4, None, None, "npz", **options))
        return torch.from_numpy(model.generate(reference, Condition("atrial fibrillation"), steps=4, **how)[0].signal)

    plain = drawn()
    assert torch.equal(plain, drawn())
    for options in ({"walk": Walk("ddim")}, {"walk": Walk(levels="karras")}, {"walk": Walk(shift=3.0)},
                    {"walk": Walk(interval=(-1.0, 1.0))}, {"negative": ("sinus rhythm",)}, {"fast": True}):  # fmt: skip
        assert not torch.allclose(drawn(**options), plain, atol=1e-4), options
