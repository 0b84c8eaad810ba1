"""What the beats of a sample share of its noise, and twins without it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgtwin.diffusion.sample import seeded_noise
from ecgtwin.ecg.beats import Beats
from ecgtwin.metrics.identity import median_beats
from ecgtwin.twin.beat_noise import FEWEST, shared, steadied
from ecgtwin.twin.condition import Condition
from ecgtwin.twin.request import Request
from ecgtwin.twin.twin import ECGTwin

from .tiny import CONFIG, model, reference

RATE, SAMPLES, PLACES = 102.4, 1024, 128
PLACE = SAMPLES / RATE / PLACES


def beats(*times: float) -> Beats:
    return Beats(np.array(times), np.zeros(len(times), int))


def asked(*times: float) -> Request:
    return Request(torch.zeros(4), Condition("sinus rhythm"), 0, beats(*times))


def test_what_repeats_with_every_beat_goes_and_nothing_else():
    request = asked(*(np.arange(10) * 12 * PLACE + 5.5 * PLACE))  # R in the middle of every twelfth place
    repeated = torch.zeros(1, 2, PLACES)
    for k in range(10):
        repeated[0, :, 12 * k + 2 : 12 * k + 9] = torch.randn(2, 7, generator=torch.Generator().manual_seed(3))
    once = torch.zeros(1, 2, PLACES)
    once[0, :, 5], once[0, :, 17] = 1.0, -1.0  # of two beats, and it cancels
    assert torch.allclose(steadied(once, [request], RATE, SAMPLES, 0.0), once, atol=1e-5)
    left = steadied(repeated + once, [request], RATE, SAMPLES, 0.0)
    assert torch.allclose(left, once * (repeated + once).norm() / once.norm(), atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.3, 1.6), min_size=FEWEST, max_size=20), st.floats(0, 1), st.integers(0, 2**32))
def test_the_shared_part_is_scaled_and_the_rest_stays(intervals, variety, seed):
    times = 0.3 + np.cumsum(intervals)
    request, noise = asked(*times), seeded_noise([seed])(torch.empty(1, 4, PLACES))
    columns = torch.from_numpy(shared(request.beats, PLACES, SAMPLES / RATE)).float()
    assert torch.allclose(columns.T @ columns, torch.eye(columns.shape[1]), atol=1e-5)
    made = steadied(noise, [request], RATE, SAMPLES, variety)
    assert float(made.norm()) == pytest.approx(float(noise.norm()), rel=1e-4)
    rest, before = (x - (x @ columns) @ columns.T for x in (made, noise))
    longer = float(rest.norm() / before.norm())
    assert 1 <= longer + 1e-5 and torch.allclose(rest, longer * before, atol=1e-4)
    assert torch.allclose(made @ columns, longer * variety * (noise @ columns), atol=1e-4)


def test_each_sample_has_its_own_beats_and_none_are_no_matter():
    noise = seeded_noise([1, 2, 3])(torch.empty(3, 4, PLACES))
    nobody = Request(None, Condition(), 2, beats(0.5, 1.3, 2.1, 2.9, 3.7))
    requests = [asked(0.5, 1.3, 2.1, 2.9, 3.7), nobody, asked(0.2, 1.4, 2.8, 4.1)]
    together = steadied(noise, requests, RATE, SAMPLES, 0.0)
    for k, request in enumerate(requests):
        assert torch.equal(together[k], steadied(noise[k : k + 1], [request], RATE, SAMPLES, 0.0)[0])
    assert torch.equal(together[1], noise[1])
    assert steadied(noise, requests, RATE, SAMPLES, 1.0) is noise


def test_variety_is_that_of_the_model_unless_another_is_asked_for():
    tiny = model(CONFIG | {"denoiser": CONFIG["denoiser"] | {"draft": True}, "sampling": {"variety": 0.25}})
    x, as_learned, own = (
        np.stack([e.signal for e in tiny.generate(reference(), Condition("sinus rhythm"), n=2, steps=2, **how)])
        for how in ({}, {"variety": 1.0}, {"variety": 0.25})
    )
    assert np.array_equal(x, own) and np.abs(x - as_learned).max() > 1e-4


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), "0"])
def test_an_impossible_variety_is_refused(wrong):
    with pytest.raises(ValueError, match="variety"):
        model().generate(reference(), Condition("sinus rhythm"), steps=1, variety=wrong)


def test_samples_of_the_shipped_model_agree_on_the_beat_and_differ_in_the_rest():
    twin = ECGTwin.from_pretrained()
    ecg, wanted = reference(), Condition("sinus rhythm", heart_rate=70)
    apart, noise = {}, {}
    for variety in (0.0, 1.0):
        made = twin.generate(ecg, wanted, reference_condition=wanted, n=6, seed=1, variety=variety)
        signals = np.stack([e.select(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")).signal for e in made])
        shapes = median_beats(signals, twin.config.signal.rate)
        apart[variety] = shapes.std(0).mean()
        noise[variety] = np.diff(signals, axis=-1).std()
    assert apart[0.0] < 0.8 * apart[1.0]
    assert noise[0.0] == pytest.approx(noise[1.0], rel=0.1)
