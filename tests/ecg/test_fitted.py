"""People found in recordings and shown in other states: what was put in is found, what a state leaves alone stays."""

import numpy as np
import pytest

from ecgtwin.ecg.datasets.ptbxl import read_table
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.simulate import STATES, Noise, Person, construct, fit, simulate_truth
from ecgtwin.ecg.simulate.changes import spike
from ecgtwin.ecg.simulate.construct import draw
from ecgtwin.ecg.simulate.run import beats_of

LBBB, RBBB = "complete left bundle branch block", "complete right bundle branch block"
PVC = "ventricular premature complex"
RHYTHMS = {"atrial fibrillation", "atrial flutter", "ventricular premature complex", "atrial premature complex"}
DRIVEN = {
    "normal functioning artificial pacemaker",
    "Wolf-Parkinson-White syndrome",
}  # a spike, and a delta wave in steps
SHAPED = [name for name in STATES if name not in RHYTHMS]
ALL = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
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
    qrs = beat.qrs + spike(person) if STATES[name].rhythm == "paced" else beat.qrs
    signal = person.qrs_field @ qrs(time) + person.t_field @ beat.t(time)
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


def test_the_same_person_in_other_states_is_what_the_simulator_says(people):
    time = np.arange(-0.2, 0.45, 0.002)
    for name in SHAPED:
        for person, _, fitted in people:
            truth, found = exact(person, name, 62, time), one_beat(fitted, name, 62, time)
            assert np.corrcoef(truth.ravel(), found.ravel())[0, 1] > (0.92 if name in DRIVEN else 0.98), name
            assert 0.92 < found.std() / truth.std() < 1.12, name


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


def test_intervals_follow_the_rate(people):
    fitted = people[2][2]
    at = {rate: construct(fitted, "sinus rhythm", rate) for rate in (50, 75, 100, 125)}
    qtc = [made.qt_ms * (rate / 60) ** (1 / 3) for rate, made in at.items()]
    assert qtc == pytest.approx([qtc[0]] * 4, abs=0.1)
    assert at[50].pr_ms > at[75].pr_ms > at[100].pr_ms > 0.75 * at[50].pr_ms
    for rate, made in at.items():
        assert made.heart_rate == rate and 60 / np.diff(made.peaks).mean() == pytest.approx(rate, rel=0.02)
    own = construct(fitted, "sinus rhythm", fitted.heart_rate)
    assert (own.pr_ms, own.qrs_ms, own.qt_ms) == pytest.approx((fitted.own.pr_ms, fitted.own.qrs_ms, fitted.own.qt_ms))


def test_limb_leads_agree_bit_for_bit(people):
    made = construct(people[0][2], "atrial fibrillation", 90, seed=1)
    x = dict(zip(ALL, ECG(made.signal, made.rate, LEADS).select(ALL).signal, strict=True))
    assert (x["I"] + x["III"] == x["II"]).all() and (x["aVR"] + x["aVL"] + x["aVF"] == 0).all()


def test_beats_can_be_given(people):
    fitted = people[0][2]
    times, kinds = (
        np.array([1.0, 1.9, 2.5, 3.9, 4.8, 5.7]),
        ("normal", "normal", "ventricular", "normal", "normal", "normal"),
    )
    made = construct(fitted, "sinus rhythm", peaks=times, kinds=kinds, seconds=7, noise=None, rate=500)
    inside = (made.peaks > 0.9) & (made.peaks < 5.8)
    assert made.peaks[inside] == pytest.approx(times) and tuple(np.array(made.kinds)[inside]) == kinds
    wide = made.signal[:, 1250 - 80 : 1250 + 80]
    assert np.abs(wide - made.signal[:, 950 - 80 : 950 + 80]).max() > 0.3
    with pytest.raises(ValueError, match="as many"):
        construct(fitted, "sinus rhythm", peaks=times, kinds=kinds[:2])
    with pytest.raises(ValueError, match="in order"):
        construct(fitted, "sinus rhythm", peaks=times[::-1])


def test_noise_is_of_the_recordings_size():
    person = Person.draw(3)
    for noise in (Noise(), Noise(wander=0.03, muscle=0.02)):
        loud = simulate_truth(person, "sinus rhythm", 65, seed=2, noise=noise)
        real = (loud.ecg.signal - loud.clean.signal)[[0, 1, *range(6, 12)]]
        fitted = fit(loud.ecg)
        made = [construct(fitted, "sinus rhythm", 65, seed=s, rate=500).signal for s in range(3)]
        clean = construct(fitted, "sinus rhythm", 65, seed=0, rate=500, noise=None).signal
        fast = [np.diff(x, axis=1).std() for x in (made[0] - clean, real)]
        assert fast[0] == pytest.approx(fast[1], rel=0.25)
        assert (made[0] - clean).std() == pytest.approx((real - real.mean(1, keepdims=True)).std(), rel=0.4)
        assert not np.allclose(made[0], made[1])


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


# -- real recordings


@pytest.fixture(scope="module")
def real(ptbxl):
    """Ten normal recordings of PTB-XL at 100 Hz and what is found in them."""
    table = read_table(ptbxl)
    table = table[table.codes.map(lambda codes: codes.get("NORM", 0) >= 80) & table.sex.notna() & table.age.notna()]
    out = []
    for _, row in table.iloc[:: len(table) // 10].iterrows():
        ecg = ECG.read(ptbxl / row.low)
        out.append((ecg, fit(ecg.select(LEADS).signal, ecg.rate, sex=row.sex, age=row.age)))
    return out


def test_real_normal_beats_are_explained(real):
    assert np.median([fitted.explained for _, fitted in real]) > 0.985
    assert min(np.median([fitted.explained_leads for _, fitted in real], axis=0)) > 0.97


def test_the_unchanged_state_is_the_real_median_beat(real):
    for _, fitted in real:
        (beat,) = beats_of(
            fitted.person, STATES["sinus rhythm"], fitted.heart_rate, own=fitted.parts, clear=False
        ).values()
        drawn = draw(fitted, beat, (), 500.0)
        time = np.arange(60, 500) / 500 - fitted.onset / 500
        at = drawn.start + np.arange(drawn.still.shape[1]) / 1000
        made = np.stack([np.interp(time, at, lead) for lead in drawn.p + drawn.still])
        missed = made - fitted.beat[:, 60:500]
        assert (
            np.abs(missed).max() < 0.015 and missed.std() < 0.0015
        )  # mV; the largest at the R peak, between two samples


def test_real_recordings_come_back(real):
    for ecg, fitted in real:
        again = construct(fitted, "sinus rhythm", peaks=fitted.peaks, noise="own", rate=100).signal
        difference = (again - ecg.select(LEADS).signal)[:, 100:880]
        assert difference.std() < 0.006


def test_real_people_have_the_voltages_of_real_left_bundle_branch_block(real):
    """Medians over people of 42 real ones: S in V1 1.9, V2 2.95, V3 2.3 mV, R in V5 0.69 mV, QRS 140
    to 180 ms by most rulers."""
    made = [construct(fitted, LBBB, 60, peaks=[3.0, 7.0], rate=500, noise=None) for _, fitted in real]
    starts = [round(500 * x.onsets[np.argmin(np.abs(x.peaks - 3.0))]) for x in made]
    beats = [x.signal[:, at : at + round(x.qrs_ms / 2)] for at, x in zip(starts, made, strict=True)]
    s, r = -np.median([beat.min(1) for beat in beats], axis=0), np.median([beat.max(1) for beat in beats], axis=0)
    assert s[2:5] == pytest.approx([1.9, 2.95, 2.3], rel=0.25) and r[6] == pytest.approx(0.69, abs=0.25)
