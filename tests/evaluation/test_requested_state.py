"""Whether twins show what was asked for, read by a judge; here a stand-in that the test decides."""

import numpy as np
import pytest

from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.evaluation.requested_state import followed, v1_area
from ecgtwin.metrics.judge import CLASSES, at_500

from ..twin.tiny import model


@pytest.fixture(scope="module")
def held(simulated_store):
    return Recordings.of([simulated_store])


def says(label: str):
    return lambda lead, rate: np.eye(len(CLASSES))[CLASSES.index(label)]


def test_shares_are_those_of_the_judge(held):
    found = followed(model(), held, says("afib"), references=4, steps=2)
    assert set(found) == {
        "sinus rhythm",
        "atrial fibrillation",
        "right bundle branch block",
        "left bundle branch block",
    }
    for name, row in found.items():
        assert row["n"] == 4 and row["n_real"] > 0
        assert row["read"] == row["references"] == row["real"] == (name == "atrial fibrillation")


def test_the_judge_sees_lead_ii_of_twins_references_and_real_ecgs(held):
    seen = []

    def judge(lead, rate):
        seen.append((len(lead), rate))
        return np.eye(len(CLASSES))[0]

    found = followed(model(), held, judge, references=3, steps=2)
    assert set(seen) == {(1024, 102.4)}
    assert len(seen) == 3 + sum(3 + row["n_real"] for row in found.values())


def test_v1_tells_left_from_right(held):
    def eight(state):
        ecgs = [simulate(Person.draw(k), state, seed=k).resample(102.4).select(held.leads) for k in range(4)]
        return np.stack([e.signal for e in ecgs])

    left, right = (v1_area(eight(f"complete {side} bundle branch block"), held) for side in ("left", "right"))
    assert left < -30 and right > left + 30


def test_too_few_references_are_refused(held):
    few = held.where(np.array([k for k in range(len(held)) if "sinus rhythm" not in held.statements(k)][:3]))
    with pytest.raises(ValueError, match="plain sinus rhythm"):
        followed(model(), few, says("afib"))


def test_signals_are_brought_to_the_judge_s_rate():
    t = np.arange(1024) / 102.4
    y = at_500(np.sin(2 * np.pi * 5 * t), 102.4)
    assert len(y) == 5000 and np.abs(y - np.sin(2 * np.pi * 5 * np.arange(5000) / 500))[200:-200].max() < 0.01
    assert at_500(y, 500) is y
