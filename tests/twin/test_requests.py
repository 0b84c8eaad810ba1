"""Requests for many references at once are those of each alone."""

import numpy as np
import pytest

from ecgtwin.ecg.rhythm import heart_rate
from ecgtwin.twin import drawing
from ecgtwin.twin.condition import Condition
from ecgtwin.twin.twin import ECGTwin

from .tiny import CONFIG, model, reference

WAS = Condition("sinus rhythm", "female", 60, 70)


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("own", [None, [WAS, WAS, WAS]])
def test_requests_for_many_are_those_of_each(draft, own, monkeypatch):
    tiny = model(CONFIG | {"denoiser": CONFIG["denoiser"] | {"draft": draft}})
    monkeypatch.setitem(drawing.FULL, "cpu", 2)  # a full batch and a part of one
    signals = tiny.signals([reference(k) for k in (1, 2, 3)])
    wanted = [Condition("atrial fibrillation", heart_rate=rate) for rate in (80, 100, 120)]
    found = tiny.requests_for(signals, wanted, 7, own)
    for k, request in enumerate(found):
        alone = tiny.requests_of(signals[k], wanted[k], [7 + k], own and own[k])[0]
        np.testing.assert_allclose(request.base, alone.base, atol=1e-5)
        assert (request.seed, request.condition, request.leaves) == (alone.seed, alone.condition, alone.leaves)
        if draft:
            assert np.array_equal(request.beats.times, alone.beats.times)
            assert request.heartbeat.rr == alone.heartbeat.rr
    assert np.abs(found[0].base.numpy() - found[1].base.numpy()).max() > 1e-3


def test_a_run_begins_at_the_own_beats_where_nothing_but_the_rate_is_asked_to_change():
    default, ecg = ECGTwin.from_pretrained(), reference(5)
    was = Condition("sinus rhythm|normal ECG", "female", 60, 70)

    def start(*reports, own=was, **asked):
        wanted = Condition(reports, **({"sex": "female", "age": 60} | asked))
        return default.requests(ecg, wanted, [1], reference_condition=own)[0].start

    slow = start("sinus rhythm", heart_rate=60)
    assert slow.shape == (8, default.config.signal.samples) and abs(heart_rate(slow, 102.4) - 60) < 2
    assert start("sinus bradycardia", heart_rate=50) is not None
    assert start("sinus rhythm", age=25) is start("sinus rhythm", sex="male") is None
    assert start("sinus rhythm", "non-diagnostic T-wave abnormalities") is None  # only the network knows it
    scarred = Condition("sinus rhythm|inferior myocardial infarction", "female", 60, 70)
    assert start("sinus rhythm", "normal ECG", own=scarred) is None  # what is left has to go
    assert start("atrial fibrillation") is start("sinus rhythm", own=None) is None
