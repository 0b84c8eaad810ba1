"""Beats are planned: the rate is the one asked for, regularity that of the rhythm."""

import numpy as np
import pytest
import torch

from ecgtwin.ecg.beats import FINE, KINDS, Beats, take
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.twin.rhythm import beat_track, kind_of, plan, shown, variation


def planned(reports, heart_rate, seed=0, **options):
    return plan(reports, heart_rate, 10.0, np.random.default_rng(seed), **options)


@pytest.mark.parametrize(
    "reports", [("sinus rhythm",), ("atrial fibrillation",), ("paced rhythm",), ("sinus tachycardia",)]
)
@pytest.mark.parametrize("heart_rate", [40, 75, 120, 160])
def test_the_mean_rate_is_the_one_asked_for(reports, heart_rate):
    for seed in range(5):
        assert planned(reports, heart_rate, seed).heart_rate == pytest.approx(heart_rate, abs=2)


def test_each_rhythm_is_as_regular_as_it_should_be():
    found = {
        r: np.median([variation(planned((r,), 80, s)) for s in range(30)])
        for r in ("sinus rhythm", "atrial fibrillation", "paced rhythm")
    }
    assert found["paced rhythm"] < 0.01 < found["sinus rhythm"] < 0.06 and 0.12 < found["atrial fibrillation"] < 0.35


def test_bigeminy_alternates_and_ectopic_beats_are_early():
    kinds = planned(("bigeminy",), 70).kinds
    assert (np.diff(kinds) != 0).all()
    one = planned(("sinus rhythm", "ventricular premature complex"), 70)
    early = np.flatnonzero(one.kinds == KINDS.index("ventricular"))
    rr = np.diff(one.times)
    assert len(early) and all(rr[k - 1] < 0.8 * np.median(rr) for k in early if 0 < k)


def test_the_references_own_rhythm_is_kept_where_its_kind_stays():
    rng = np.random.default_rng(3)
    own = Beats(np.cumsum(0.8 + 0.04 * rng.standard_normal(12)), np.zeros(12))
    same = planned(("sinus rhythm",), None, own=own)
    assert same.heart_rate == pytest.approx(own.heart_rate, abs=1)
    assert set(np.round(np.diff(same.times), 2)) & set(np.round(np.diff(own.times), 2))
    assert variation(same) == pytest.approx(variation(own), abs=0.03)
    faster = planned(("sinus tachycardia",), 120, own=own)
    assert faster.heart_rate == pytest.approx(120, abs=1) and variation(faster) < variation(own) + 0.01
    # Beats at even intervals that somebody called fibrillation do not make a fibrillation regular.
    assert variation(planned(("atrial fibrillation",), 120, own=own, own_reports=("atrial fibrillation",))) > 0.1
    # An irregular reference does not make a sinus rhythm irregular.
    wild = Beats(np.cumsum(rng.gamma(20, 0.04, 14)), np.zeros(14))
    assert np.median([variation(planned(("sinus rhythm",), 75, s, own=wild)) for s in range(20)]) < 0.06


def test_a_slow_or_fast_sinus_rhythm_is_drawn_where_the_reference_has_none():
    own = planned(("sinus rhythm",), 72)
    for name, low, high in (("sinus bradycardia", 40, 60), ("sinus tachycardia", 100, 135)):
        assert low < planned((name,), None, own=own, own_reports=("sinus rhythm",)).heart_rate < high
    slow = planned(("sinus rhythm",), 52)
    assert planned(("sinus bradycardia",), None, own=slow).heart_rate == pytest.approx(52, abs=0.1)


def test_a_p_wave_is_shown_unless_the_rhythm_has_none():
    signal = simulate(Person.draw(1), "sinus rhythm", 70.0, seed=1).select(INDEPENDENT).signal
    _, beat = take(signal.astype(float), 500.0)
    for reports in (("sinus rhythm",), ("complete left bundle branch block",), ("paced rhythm",)):
        assert shown(beat, reports, ("sinus rhythm",)) is beat
    for rhythm in ("atrial fibrillation", "atrial flutter"):
        flat = shown(beat, (rhythm,), ("sinus rhythm",))
        p = slice(round((beat.before - 0.25) * FINE), round((beat.before - 0.1) * FINE))
        bend = [np.abs(np.diff(x.shapes[0][:, p], n=2, axis=-1)).max() for x in (flat, beat)]
        assert bend[0] < 1e-9 < bend[1]  # a line is left
        assert shown(beat, (rhythm,), (rhythm,)) is beat  # what it shows before QRS is the rhythm's own


def test_plans_follow_the_seed_alone():
    assert (planned(("atrial fibrillation",), 90, 5).times == planned(("atrial fibrillation",), 90, 5).times).all()
    assert len(planned(("atrial fibrillation",), 90, 5)) and not np.array_equal(
        planned(("atrial fibrillation",), 90, 5).times, planned(("atrial fibrillation",), 90, 6).times
    )


def test_the_first_statement_of_a_rhythm_decides():
    assert kind_of(("left ventricular hypertrophy", "atrial fibrillation")) == "fibrillation" and kind_of(()) == "sinus"


def test_a_beat_track_has_its_bumps_at_sample_precision():
    track = beat_track(Beats([1.0, 2.005], [0, 1]), 102.4, 1024)
    assert track.shape == (len(KINDS), 1024)
    where = (track[1] * torch.arange(1024)).sum() / track[1].sum()
    assert float(where) == pytest.approx(2.005 * 102.4, abs=0.01)
    assert track[0].argmax() == 102 and track[2].abs().max() == 0
    assert beat_track(None, 102.4, 1024).abs().max() == 0
