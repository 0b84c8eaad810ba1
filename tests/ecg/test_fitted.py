"""People found in recordings and shown in other states: what was put in is found, what a state leaves alone stays."""

import numpy as np
import pytest

from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.simulate import STATES, Person, construct, fit, simulate_truth
from ecgtwin.ecg.simulate.run import beats_of

LBBB, RBBB = "complete left bundle branch block", "complete right bundle branch block"
PVC = "ventricular premature complex"
LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture(scope="module")
def people():
    """Five simulated people, their clean recordings in sinus rhythm and what is found in these."""
    out = []
    for number in range(5):
        person = Person.draw(number)
        truth = simulate_truth(person, "sinus rhythm", 62, seed=1, noise=None)
        out.append((person, truth, fit(truth.clean, seed=person.seed)))
    return out


def exact(person: Person, name: str, heart_rate: float, time: np.ndarray) -> np.ndarray:
    """One beat (8, n) of the simulator's own, at times in s from the QRS onset."""
    beat = beats_of(person, STATES[name], heart_rate)["normal"]
    signal = person.qrs_field @ beat.qrs(time) + person.t_field @ beat.t(time)
    return signal if beat.p is None else signal + person.p_field @ beat.p(time)


def one_beat(fitted, name: str, heart_rate: float, time: np.ndarray) -> np.ndarray:
    """The same of a fitted person, out of a constructed strip with a beat a minute."""
    made = construct(fitted, name, heart_rate, peaks=np.array([5.0, 12.0]), seconds=10, rate=1000, noise=None)
    start = made.onsets[0] + time
    return np.stack([np.interp(start, np.arange(made.signal.shape[1]) / 1000, lead) for lead in made.signal])


def test_a_simulated_person_is_found(people):
    for _, truth, fitted in people:
        assert fitted.explained > 0.98 and fitted.explained_leads.min() > 0.95
        assert fitted.heart_rate == pytest.approx(62, abs=0.5)
        assert fitted.own.qrs_ms == pytest.approx(truth.qrs_ms, abs=12)
        assert fitted.own.qt_ms == pytest.approx(truth.qt_ms, abs=15)
        assert fitted.own.pr_ms == pytest.approx(truth.pr_ms, abs=15)
        assert abs(fitted.own.axis_deg - truth.axis_deg) < 8


def test_the_recording_comes_back(people):
    for _, truth, fitted in people:
        again = construct(fitted, "sinus rhythm", peaks=fitted.peaks, noise="own", rate=500)
        eight = truth.clean.select(LEADS).signal
        assert np.abs(again.signal - eight)[:, 500:4400].max() < 0.05
        assert (again.signal - eight)[:, 500:4400].std() < 0.004
        assert again.peaks == pytest.approx(fitted.peaks, abs=1e-9)


def test_strips_follow_their_truth(people):
    fitted = people[0][2]
    for name in STATES:
        low, high = STATES[name].rates
        made = construct(fitted, name, (low + high) / 2, seed=3)
        assert made.signal.shape == (8, 1024) and made.signal.dtype == np.float32 and np.isfinite(made.signal).all()
        assert made.reports == STATES[name].reports and len(made.peaks) == len(made.onsets) == len(made.kinds)
        found = r_peaks(made.signal, 102.4) / 102.4
        miss = [np.abs(made.peaks - t).min() for t in found]
        assert abs(len(found) - len(made.peaks)) <= 1 and np.median(miss) < (0.06 if made.qrs_ms > 120 else 0.03), name
    assert "ventricular" in construct(fitted, PVC, 65, seed=1).kinds
    assert set(construct(fitted, "paced", 70, seed=1).kinds) == {"paced"}


def test_seeds_repeat_and_pairs_share_beats_and_noise(people):
    fitted = people[1][2]
    plain, block, again = (construct(fitted, name, 70, seed=4) for name in ("sinus rhythm", LBBB, LBBB))
    assert np.array_equal(block.signal, again.signal) and np.array_equal(plain.onsets, again.onsets)
    assert not np.array_equal(construct(fitted, LBBB, 70, seed=5).signal, block.signal)


def test_bad_recordings_are_refused():
    person = Person.draw(0)
    good = simulate_truth(person, "sinus rhythm", 70).ecg
    block = simulate_truth(person, LBBB, 70).ecg
    with pytest.raises(ValueError, match="QRS lasts"):
        fit(block)
    with pytest.raises(ValueError, match="beats"):
        fit(ECG(np.zeros((8, 5000)), 500, LEADS))
    with pytest.raises(ValueError, match="rate"):
        fit(good.select(LEADS).signal)
    with pytest.raises(ValueError, match="expected \\(8"):
        fit(good.signal, 500)
    fitted = fit(good)
    for options, words in (
        ({"noise": "loud"}, "drawn"),
        ({"heart_rate": 400}, "20 to 250"),
        ({"rate": 50}, "100 to"),
        ({"seconds": 1}, "2 to"),
    ):
        with pytest.raises(ValueError, match=words):
            construct(fitted, "sinus rhythm", **options)
