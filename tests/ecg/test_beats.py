"""Median beats of a recording, and recordings laid of them."""

import numpy as np
import pytest

from ecgtwin.ecg.beats import FINE, KINDS, Beats, Heartbeat, lay, take
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.simulate import Person, simulate_truth

RATE, SAMPLES = 102.4, 1024


def clean(state: str, seed: int = 1, heart_rate: float = 70):
    made = simulate_truth(Person.draw(seed), state, heart_rate, seed, fs=RATE, noise=None)
    return made.clean.select(INDEPENDENT).signal[:, :SAMPLES].astype(float)


@pytest.mark.parametrize("state", ["sinus rhythm", "complete left bundle branch block", "left ventricular hypertrophy"])
def test_a_recording_is_made_again_of_its_median_beats(state):
    x = clean(state)
    beats, beat = take(x, RATE)
    again = lay(beat, beats, RATE, SAMPLES)
    inside = slice(int((beats.times[0] + 0.4) * RATE), int((beats.times[-1] - 0.4) * RATE))
    a, b = (s - np.median(s, -1, keepdims=True) for s in (x, again))
    assert np.sqrt(np.mean((a - b)[:, inside] ** 2)) < 0.10 * np.sqrt(np.mean(a[:, inside] ** 2))
    assert np.ptp(b, axis=-1) == pytest.approx(np.ptp(a, axis=-1), rel=0.12)  # no lead leaks into another


def test_beats_are_laid_where_they_are_asked_for():
    _, beat = take(clean("sinus rhythm"), RATE)
    for heart_rate in (50, 75, 100, 125):
        times = np.arange(0.5, 9.6, 60 / heart_rate)
        y = lay(beat, Beats(times, np.zeros(len(times))), RATE, SAMPLES)
        found = r_peaks(y, RATE) / RATE
        assert len(found) == len(times) and np.abs(found - times).max() < 0.03


def test_qt_follows_the_cube_root_of_rr():
    _, beat = take(clean("sinus rhythm", heart_rate=60), RATE)
    ends = []
    for rr in (1.0, 0.6):
        y = lay(beat, Beats(np.arange(0.5, 9.5, rr), np.zeros(len(np.arange(0.5, 9.5, rr)))), RATE, SAMPLES)[1]
        start = int((0.5 + 3 * rr + 0.1) * RATE)
        ends.append(0.1 + np.argmax(y[start : start + int(0.42 * RATE)]) / RATE)  # the top of T after R
    # From the end of QRS (0.06 s) on, time is scaled as the end of T is.
    scale = (0.40 * np.cbrt(0.6) - 0.10) / 0.30
    assert ends[1] - 0.06 == pytest.approx((ends[0] - 0.06) * scale, abs=0.015)


def test_ectopic_beats_are_a_kind_of_their_own():
    made = simulate_truth(Person.draw(4), "ventricular premature complex", 70, 3, fs=RATE, noise=None)
    beats, beat = take(made.clean.select(INDEPENDENT).signal, RATE)
    ectopic = {round(t, 1) for t, k in zip(made.beats, made.kinds, strict=True) if k == "ventricular"}
    found = beats.times[beats.kinds == KINDS.index("ventricular")]
    assert ectopic and len(found) == len(ectopic)
    assert all(min(abs(t - e) for e in ectopic) < 0.2 for t in found)
    assert KINDS.index("ventricular") in beat.shapes


def test_a_kind_that_was_not_recorded_leaves_a_gap():
    _, beat = take(clean("sinus rhythm"), RATE)
    y = lay(beat, Beats([2.0, 5.0], [0, KINDS.index("ventricular")]), RATE, SAMPLES)
    assert np.abs(y[:, int(1.8 * RATE) : int(2.2 * RATE)]).max() > 0.2
    assert np.abs(y[:, int(4.8 * RATE) : int(5.2 * RATE)]).max() == 0


@pytest.mark.parametrize("state", ["sinus rhythm", "complete left bundle branch block", "first degree AV block"])
def test_a_beat_loses_its_p_wave_and_keeps_its_qrs(state):
    made = simulate_truth(Person.draw(1), state, 70, 1, fs=RATE, noise=None)
    _, beat = take(made.clean.select(INDEPENDENT).signal[:, :SAMPLES].astype(float), RATE)
    (was,), (now,) = beat.shapes.values(), beat.without_p().shapes.values()
    seconds = np.arange(was.shape[-1]) / FINE - beat.before
    np.testing.assert_array_equal(now[:, seconds > -0.02], was[:, seconds > -0.02])
    before = seconds < -0.11 if "bundle" not in state else seconds < -0.14
    bend = [np.abs(np.diff(x[:, before], n=2, axis=-1)).max() for x in (was, now)]
    assert bend[1] < 1e-9 < bend[0]  # a line is left
    qrs = (seconds > -0.08) & (seconds < 0)
    assert np.abs(now - was)[:, qrs].max() < 0.12 * np.ptp(was, axis=-1).max()


@pytest.mark.parametrize(
    "times, kinds, message",
    [
        ([1.0, 1.0], [0, 0], "later than the one before"),
        ([1.0], [0, 0], "one length"),
        ([1.0], [7], "kinds of beats"),
        ([np.nan], [0], "finite"),
    ],
)
def test_beats_that_cannot_be_are_refused(times, kinds, message):
    with pytest.raises(ValueError, match=message):
        Beats(np.array(times), np.array(kinds))


def test_too_few_beats_are_refused():
    with pytest.raises(ValueError, match="at least 3"):
        take(np.zeros((8, SAMPLES)), RATE)


@pytest.mark.parametrize("lag", [-30, 0, 17])
def test_a_beat_is_moved_onto_another(lag):
    """By whole samples, whatever lies before R in the two; a plain copy moved by `lag` comes back."""
    rng = np.random.default_rng(0)
    shape = np.zeros((8, 400))
    shape[:, 150:200] = rng.normal(size=(8, 50))
    one = Heartbeat({0: shape, 1: 2 * shape}, 180 / FINE, 1.0)
    other = Heartbeat({2: np.roll(shape, lag, -1)[:, 20:]}, 160 / FINE, 1.0)
    moved = one.onto(other)
    np.testing.assert_array_equal(moved.shapes[0][:, 20:], other.shapes[2])
    np.testing.assert_array_equal(moved.shapes[1], 2 * moved.shapes[0])
    assert moved.before == one.before
