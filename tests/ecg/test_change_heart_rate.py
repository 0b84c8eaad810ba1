import numpy as np
import pytest

from ecgtwin.ecg.change_heart_rate import change_heart_rate, segments

RATE = 100.0


def beats(rr=1.0, seconds=10, irregular=0.0, rate=RATE):
    """R peaks of 1 mV and T waves of 0.3 mV; returns the signal (1, samples) and the peaks."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rr * (1 + irregular * rng.standard_normal(40)))
    times = times[times < seconds - 0.3] - rr / 2
    t = np.arange(int(seconds * rate)) / rate
    x = sum(np.exp(-(((t - p) / 0.012) ** 2)) + 0.3 * np.exp(-(((t - p - 0.28) / 0.05) ** 2)) for p in times)
    return x[None].astype(np.float32), np.round(times * rate).astype(int)


def find(x, height=0.7):
    inner = x[1:-1]
    return 1 + np.flatnonzero((inner > height) & (inner >= x[:-2]) & (inner > x[2:]))


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.0, 1.3, 1.8])
def test_every_rr_interval_is_scaled(factor):
    x, peaks = beats()
    y = change_heart_rate(x, RATE, peaks, factor)
    assert y.shape == x.shape and np.isfinite(y).all()
    found = np.diff(find(y[0])) / RATE
    assert len(found) >= 10 / factor - 3
    np.testing.assert_allclose(found, factor, atol=0.025)


@pytest.mark.parametrize("factor", [0.6, 1.6])
def test_the_qrs_keeps_its_width(factor):
    x, peaks = beats(rate=1000.0)
    y = change_heart_rate(x, 1000.0, peaks, factor)
    width = lambda s: (s > 0.5).sum() / len(find(s))  # noqa: E731
    assert width(y[0]) == pytest.approx(width(x[0]), rel=0.15)  # a plain stretch would be 1.6


def test_irregularity_is_kept_in_proportion():
    x, peaks = beats(irregular=0.15)
    found = np.diff(find(change_heart_rate(x, RATE, peaks, 1.25)[0]))
    known = np.diff(peaks) * 1.25
    n = min(len(found), len(known)) - 1
    np.testing.assert_allclose(found[:n], known[:n], atol=3)


def test_beat_lengths_add_up():
    rr = np.array([0.4, 0.8, 1.2])
    for new in (0.5 * rr, rr, 1.7 * rr):
        old, now = segments(rr, new)
        np.testing.assert_allclose(old.sum(1), rr)
        np.testing.assert_allclose(now.sum(1), new)
        assert (old > 0).all() and (now > 0).all()


def test_too_few_beats_are_refused():
    x, peaks = beats()
    with pytest.raises(ValueError, match="2 R peaks"):
        change_heart_rate(x, RATE, peaks[:2], 0.8)
