"""`ECGTwin.attention` and `rewrite`: on a tiny model exactly, on the shipped weights where findings lie."""

import numpy as np
import pytest

from ecgtwin import Condition, ECGTwin
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.twin.attention import over_time

from . import tiny

OWN = Condition("sinus rhythm")
BOTH = Condition("sinus rhythm|complete left bundle branch block")


@pytest.fixture(scope="module")
def twin():
    return tiny.model()


def same(a, b) -> bool:
    return np.allclose(a.signal, b.signal, atol=2e-4)


def test_the_maps_are_of_the_ecg_that_generate_draws(twin, tmp_path):
    found = twin.attention(tiny.reference(), BOTH, reference_condition=OWN, seed=3)
    (plain,) = twin.generate(tiny.reference(), BOTH, reference_condition=OWN, seed=3)
    assert same(found.ecg, plain) and set(found.statements) == set(BOTH.reports)
    assert found.maps.shape == (2, plain.signal.shape[1])
    np.testing.assert_allclose(found.maps.sum(0), 1, atol=1e-5)
    share, even = found.share("sinus rhythm", np.arange(found.maps.shape[1]) < 256)
    assert 0 < share < 1 and even == 0.25
    assert found.plot("sinus rhythm", tmp_path / "map.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="was not asked for"):
        found.plot("atrial fibrillation")


def test_edits_of_nothing_change_nothing_and_weights_act(twin):
    plain = twin.generate(tiny.reference(), BOTH, reference_condition=OWN, n=2, seed=3)
    again = twin.rewrite(tiny.reference(), BOTH, reference_condition=OWN, n=2, seed=3)
    assert all(same(a, b) for a, b in zip(again, plain, strict=True))
    beside = twin.rewrite(tiny.reference(), BOTH, source=OWN, kept=0.0, reference_condition=OWN, seed=3)
    assert same(beside[0], plain[0])
    (weighed,) = twin.rewrite(tiny.reference(), BOTH, weights={"LBBB": 2.0}, reference_condition=OWN, seed=3)
    assert not same(weighed, plain[0])
    (kept,) = twin.rewrite(tiny.reference(), BOTH, source=OWN, kept=1.0, reference_condition=OWN, seed=3)
    assert not same(kept, plain[0])
    (itself,) = twin.rewrite(tiny.reference(), BOTH, source=BOTH, kept=1.0, reference_condition=OWN, seed=3)
    assert same(itself, plain[0])


def test_what_cannot_be_done_is_said(twin):
    who = tiny.reference()
    for wrong, what in (
        ({"kept": 1.5}, "kept"),
        ({"guidance": 0.0}, "guidance 0"),
        ({"weights": {"AFIB": 2}}, "asked"),
    ):
        with pytest.raises(ValueError, match=what):
            twin.rewrite(who, BOTH, **wrong)
    with pytest.raises(ValueError, match="no statement"):
        twin.attention(who, Condition(age=60))
    adaln = tiny.model({**tiny.CONFIG, "denoiser": {**tiny.CONFIG["denoiser"], "inject": "adaln"}})
    with pytest.raises(ValueError, match="no cross-attention"):
        adaln.attention(who, BOTH)


def test_maps_over_time_keep_their_sum():
    import torch

    maps = torch.rand(3, 8).softmax(0)
    grown = over_time(maps, 64)
    torch.testing.assert_close(grown.sum(0), torch.ones(64))
    torch.testing.assert_close(grown[:, 4:-4].mean(), maps.mean(), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    "statement, begin, end", [("complete left bundle branch block", -0.06, 0.09), ("inverted T waves", 0.09, 0.4)]
)
def test_the_default_looks_where_the_finding_is(statement, begin, end):
    model = ECGTwin.from_pretrained(device="cpu")
    found = model.attention(tiny.reference(2), Condition(f"sinus rhythm|{statement}"), reference_condition=OWN, seed=0)
    inside = np.zeros(found.maps.shape[1], bool)
    for peak in r_peaks(found.ecg.select(INDEPENDENT).signal, found.ecg.rate):
        inside[max(0, round(peak + begin * found.ecg.rate)) : max(0, round(peak + end * found.ecg.rate))] = True
    share, even = found.share(statement, inside)
    assert share > 1.05 * even
