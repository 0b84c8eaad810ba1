"""The median beat of a recording at 500 Hz: beats laid on each other by their QRS complexes, those of the usual shape.

Measurements (`intervals`) and the fit of a simulated person (`simulate.read`) find the ends of waves in it.

Beats that are laid at other times, of each kind and to a fraction of a sample, are `beats.take`'s; the median of a
lead around R alone, by which metrics compare recordings, is `beats.r_aligned`.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import binary_dilation, median_filter

from .record import resample
from .rhythm import r_peaks

RATE = 500
"""Hz of a median beat, whatever the rate of the recording: two milliseconds a sample."""
BEFORE, AFTER = 200, 340
"""Samples of a beat before and after its R peak (0.40 s and 0.68 s)."""
CORE = 60
"""Samples on each side of R in which beats are compared: the QRS complex, a broad one too."""
ALIKE = 0.85
"""Correlation with the median QRS complex above which a beat has the usual shape."""
WANDER = 0.3
"""Hz below which everything counts as wander of the baseline."""
SPIKE = 0.4
"""mV by which a pacing spike stands out; of 150 recordings of PTB-XL one without a pacemaker has more than 0.5."""


@dataclass(frozen=True, eq=False)
class MedianBeat:
    """signal: (leads, BEFORE + AFTER) in mV at `RATE`. beats: (n, leads, BEFORE + AFTER),
    those that it is the median of.

    before: (n,) s from the beat in front of each, NaN where none is seen. times: s of every ventricular beat of the
    strip, alike points of alike beats.
    """

    signal: np.ndarray
    beats: np.ndarray
    before: np.ndarray
    times: np.ndarray


def median_beat(signal: np.ndarray, rate: float) -> MedianBeat | None:
    """The median beat of signal (leads, samples) in mV, finite, at `rate` Hz, without wander and pacing spikes; None
    with fewer than two whole beats that are alike.

    ValueError for a rate below 100 Hz, at which the ends of waves cannot be seen.
    """
    if not rate >= 100:
        raise ValueError(f"rate is {rate:g} Hz, expected at least 100 Hz to measure intervals")
    signal = np.asarray(signal, np.float64)
    fine = without_wander(at_500(without_spikes(signal, rate), rate))
    peaks = np.round(r_peaks(signal, rate) * RATE / rate).astype(int)
    places, usual = aligned(fine, peaks, reach=30)
    chosen = usual & whole(fine, places)
    if chosen.sum() < 2:
        return None
    beats = beats_at(fine, places[chosen])
    before = np.diff(places, prepend=np.nan)[chosen] / RATE
    return MedianBeat(np.median(beats, axis=0), beats, before, places / RATE)


def at_500(signal: np.ndarray, rate: float) -> np.ndarray:
    """(leads, samples) at `RATE`, as float64."""
    up, down = (Fraction(RATE) / Fraction(rate).limit_denominator(10_000)).limit_denominator(2_000).as_integer_ratio()
    return signal.astype(float) if up == down else resample(signal, up, down).astype(float)


def without_wander(fine: np.ndarray) -> np.ndarray:
    """A signal at `RATE` less what is slower than `WANDER`; nothing is delayed, the ends are continued by point
    reflection."""
    n = fine.shape[1]
    pad = min(2 * RATE, n - 1)
    padded = np.pad(fine, ((0, 0), (pad, next_fast_len(n + 2 * pad, True) - n - pad)), "reflect", reflect_type="odd")
    spectrum = rfft(padded, axis=1)
    hertz = np.arange(spectrum.shape[1]) * RATE / padded.shape[1]
    spectrum *= hertz**4 / (hertz**4 + WANDER**4)
    return irfft(spectrum, padded.shape[1], axis=1)[:, pad : pad + n]


def without_spikes(signal: np.ndarray, rate: float) -> np.ndarray:
    """Without pacing spikes: what stands 0.4 mV (all leads together) out of the median of 10 ms,
    and 6 ms before and after it.

    Below 400 Hz a spike is as wide as a QRS complex is steep, and stays.
    """
    if rate < 400:
        return signal
    smooth = median_filter(signal, size=(1, 2 * round(0.004 * rate) + 1), mode="nearest")
    spike = binary_dilation(np.linalg.norm(signal - smooth, axis=0) > SPIKE, iterations=max(1, round(0.006 * rate)))
    if not spike.any() or spike.all():
        return signal
    clean, gone = signal.copy(), np.flatnonzero(spike)
    for row in clean:
        row[gone] = np.interp(gone, np.flatnonzero(~spike), row[~spike])
    return clean


def whole(signal: np.ndarray, places: np.ndarray, room: int = 0) -> np.ndarray:
    """(n,) whether the beats at R peaks, in samples, lie in the strip with `room` on both sides."""
    return (places >= BEFORE + room) & (places + AFTER + room <= signal.shape[1])


def beats_at(signal: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The beats (n, leads, BEFORE + AFTER) around R peaks, of those that are whole."""
    return windows(signal, places[whole(signal, places)], -BEFORE, AFTER)


def windows(signal: np.ndarray, places: np.ndarray, first: int, stop: int) -> np.ndarray:
    """(n, leads, stop - first) of (leads, samples): what lies from `first` to `stop` around each place."""
    return signal[:, places[:, None] + np.arange(first, stop)].transpose(1, 0, 2)


def aligned(signal: np.ndarray, peaks: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """R peaks (n,) of a signal at `RATE` moved by up to `reach` samples to where the beats' QRS complexes lie on each
    other (least squares), and which beats (n,) have the usual shape.

    Beats too near an edge to be compared stay where they are and are not usual.
    """
    room = CORE + reach
    inner = np.flatnonzero((peaks >= room) & (peaks + room <= signal.shape[1]))
    places, usual = peaks.copy(), np.zeros(len(peaks), bool)
    there = np.flatnonzero(whole(signal, peaks, reach))
    if not len(there):
        return places, usual
    around = windows(signal, peaks[inner], -room, room)  # (n, leads, 2 room)
    squares = np.cumsum(np.pad((around**2).sum(1), ((0, 0), (1, 0))), axis=1)
    energy = squares[:, 2 * CORE :] - squares[:, : -2 * CORE]  # (n, 2 reach + 1)
    template = np.median(windows(signal, peaks[there], -CORE, CORE), axis=0)
    for _ in range(2):
        moved = np.lib.stride_tricks.sliding_window_view(around, 2 * CORE, axis=2)  # (n, leads, 2 reach + 1, 2 CORE)
        product = np.einsum("nlsk,lk->ns", moved, template, optimize=True)
        best = np.argmin(energy - 2 * product, axis=1)
        size = np.sqrt(np.take_along_axis(energy, best[:, None], 1)[:, 0] * np.sum(template**2) + 1e-12)
        places[inner] = peaks[inner] - reach + best
        usual[inner] = np.take_along_axis(product, best[:, None], 1)[:, 0] / size > ALIKE
        chosen = there[usual[there]]
        if not len(chosen):
            break
        template = np.median(windows(signal, places[chosen], -CORE, CORE), axis=0)
    return places, usual
