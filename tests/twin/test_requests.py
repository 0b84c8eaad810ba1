"""Requests for many references at once are those of each alone."""

import numpy as np
import pytest

from ecgtwin.twin import drawing
from ecgtwin.twin.condition import Condition

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
