"""The usual beat of an ECG: band-limited up-sampling, beats aligned on their QRS complex, the median of
those of the usual shape."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
from scipy.fft import irfft, rfft
from scipy.ndimage import binary_dilation, median_filter

from .rhythm import r_peaks

RATE = 500.0
"""Hz of a median beat, whatever the rate of the recording: two milliseconds a sample."""
BEFORE, AFTER = 200, 350
"""Samples before and after the fiducial point (0.40 s and 0.70 s)."""
CORE = slice(BEFORE - 40, BEFORE + 60)
"""Where beats are compared: the QRS complex, a broad one too."""
REACH = 30
"""Samples by which a beat is moved at most to lie on the others."""
WANDER = 0.3
"""Hz below which everything counts as wander of the baseline."""
SPIKE = 0.4
"""mV by which a pacing spike stands out; of 150 recordings of PTB-XL one without a pacemaker has more than 0.5."""


@dataclass(frozen=True, eq=False)
class MedianBeat:
    """signal: (leads, BEFORE + AFTER) in mV at `RATE`. beats: (n, leads, BEFORE + AFTER),
    those that it is the median of.

    before: (n,) s from the beat in front of each, NaN where none is seen. times: s of every ventricular beat of the
    strip, alike points of alike beats; usual: (len(times),) True where a beat has the usual shape (also where it lies
    too near an edge to be among `beats`).
    """

    signal: np.ndarray
    beats: np.ndarray
    before: np.ndarray
    times: np.ndarray
    usual: np.ndarray


def at_500(signal: np.ndarray, rate: float) -> np.ndarray:
    """(leads, samples) at `RATE`, without wander, by one Fourier transform: band-limited, and nothing is delayed.

    The ends are continued by point reflection, in whole periods of the two rates, so that the
    first sample keeps its time.
    """
    n = signal.shape[1]
    period = Fraction(RATE / rate).limit_denominator(400).denominator
    pad = period * ceil(2 * rate / period)
    end = -n % period + pad
    padded = np.pad(signal, ((0, 0), (pad, end)), mode="reflect", reflect_type="odd")
    total = padded.shape[1]
    out = round(total * RATE / rate)
    spectrum = rfft(padded, axis=1)
    hertz = np.arange(spectrum.shape[1]) * rate / total
    spectrum *= hertz**4 / (hertz**4 + WANDER**4)
    wide = irfft(spectrum[:, : out // 2 + 1], out, axis=1) * (out / total)
    first = round(pad * RATE / rate)
    return wide[:, first : first + round(n * RATE / rate)]


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


def median_beat(signal: np.ndarray, rate: float) -> MedianBeat | None:
    """The usual beat of signal (leads, samples) in mV, finite, at `rate` Hz; None with fewer than two whole beats.

    ValueError for a rate below 100 Hz, at which the ends of waves cannot be seen.
    """
    if not rate >= 100:
        raise ValueError(f"rate is {rate:g} Hz, expected at least 100 Hz to measure intervals")
    signal = np.asarray(signal, np.float64)
    fine = at_500(without_spikes(signal, rate), rate)
    peaks = np.round(r_peaks(signal, rate) * RATE / rate).astype(int)
    at = peaks[(peaks >= BEFORE // 2) & (peaks < fine.shape[1] - AFTER // 2)]  # enough of it to compare
    if len(at) < 2:
        return None
    margin = BEFORE + AFTER + REACH
    padded = np.pad(fine, ((0, 0), (margin, margin)), mode="edge")

    def windows(places: np.ndarray, window: slice = slice(0, BEFORE + AFTER), extra: int = 0) -> np.ndarray:
        """(n, leads, samples) around places."""
        steps = np.arange(window.start - extra, window.stop + extra) - BEFORE + margin
        return padded[:, places[:, None] + steps].transpose(1, 0, 2)

    cores = _level(windows(at, CORE))
    alike = _alike(cores, cores)
    template = cores[np.argmax(np.median(alike, axis=1))]  # the beat that most resemble
    for _ in range(2):
        shift = _shifts(windows(at, CORE, REACH), template)
        cores = _level(windows(at + shift, CORE))
        match = _alike(cores, template[None])[:, 0]
        size = np.linalg.norm(cores, axis=(1, 2)) / np.linalg.norm(template)
        usual = (match > 0.85) & (size > 0.5) & (size < 2.0)
        template = np.median(cores[usual], axis=0) if usual.any() else template
    places = at + shift
    whole = usual & (places >= BEFORE) & (places + AFTER <= fine.shape[1])
    if whole.sum() < 2:
        return None
    beats = windows(places[whole])
    moved, kept = peaks.copy(), np.zeros(len(peaks), bool)
    kept[np.isin(peaks, at)] = usual
    moved[kept] = places[usual]
    order = np.searchsorted(moved, places[whole])
    before = np.where(order > 0, places[whole] - moved[np.maximum(order - 1, 0)], np.nan) / RATE
    return MedianBeat(np.median(beats, axis=0), beats, before, moved / RATE, kept)


def _level(x: np.ndarray) -> np.ndarray:
    return x - x.mean(-1, keepdims=True)


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlations (n, m) of beats (n, leads, samples) and (m, leads, samples) without a mean."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return a @ b.T / np.maximum(np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1), 1e-12)


def _shifts(wide: np.ndarray, template: np.ndarray) -> np.ndarray:
    """By how many samples each of (n, leads, samples + 2 REACH) has to be moved to lie on the template best."""
    width = template.shape[1]
    moved = np.lib.stride_tricks.sliding_window_view(wide, width, axis=2)  # (n, leads, 2 REACH + 1, samples)
    dot = np.einsum("nlks,ls->nk", moved, template, optimize=True)
    total, squares = (np.pad(np.cumsum(x, axis=2), ((0, 0), (0, 0), (1, 0))) for x in (wide, wide**2))
    mean = (total[..., width:] - total[..., :-width]) / width
    power = squares[..., width:] - squares[..., :-width] - width * mean**2
    return np.argmax(dot / np.sqrt(np.maximum(power.sum(1), 1e-12)), axis=1) - REACH
