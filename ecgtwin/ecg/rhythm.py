"""Where the heart beats are, and how many there are per minute, judged from all leads together.

The detector follows the usual chain (band-pass, slope, moving energy, adaptive threshold, refractory time, search-back:
Pan and Tompkins, IEEE Trans Biomed Eng 1985; 32:230-236) with three changes that a whole 12-lead strip allows: the
leads are pooled after each is scaled by its own beats and weighted by how far these stand out of the rest; the
threshold looks at both sides; and what is left between two beats is judged against the beats around it.
"""

from functools import lru_cache

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d
from scipy.signal import butter, find_peaks, sosfilt, sosfilt_zi

BAND = (5.0, 22.0)  # Hz: most QRS energy, little of P, T and muscle
SHARP_BAND = (12.0, 40.0)  # Hz: edges that a QRS complex has, a broad one too, and a T wave has not
WIDE_BAND = (1.0, 15.0)  # Hz: for the area of a complex, in which a spike of a few ms hardly counts
REFRACTORY = 0.2  # s: no two ventricular beats are closer
WORKING_RATE = 250.0  # Hz: more samples than this add nothing to detection
FLAT = 0.01  # mV: a lead whose filtered beats are below this says nothing


def r_peaks(signal: np.ndarray, rate: float) -> np.ndarray:
    """Sample indices of the ventricular beats (QRS complexes), in order.

    signal: (leads, samples) in mV, any number of leads, offsets and flat leads allowed; samples that are not finite are
    taken as missing. rate: Hz, at least 50. Each index is where the pooled QRS is largest. Returns an int array,
    empty if there is no beat or less than half a second of signal. ValueError for a wrong shape or rate.
    """
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 2:
        raise ValueError(f"signal has shape {signal.shape}, expected (leads, samples)")
    if not rate >= 50:
        raise ValueError(f"rate is {rate} Hz, expected at least 50 Hz to see a QRS complex")
    if signal.shape[0] == 0 or signal.shape[1] < 0.5 * rate:
        return np.empty(0, dtype=int)
    step = max(1, int(rate // WORKING_RATE))
    clean = _without_glitches(_filled(signal), rate)
    filtered = _band_passed(clean, rate, BAND)[:, ::step]
    rate_low = rate / step
    energy = _pooled_slope(filtered, rate_low)
    if energy is None:
        return np.empty(0, dtype=int)
    beats = _without_broad_t_waves(_beats(energy, rate_low), energy, clean, rate, step)
    beats = _refined(filtered, beats, rate_low)
    beats = _without_spikes(beats, _band_passed(clean, rate, WIDE_BAND)[:, ::step], rate_low)
    return np.minimum(beats * step, signal.shape[1] - 1)


def heart_rate(signal: np.ndarray, rate: float) -> float | None:
    """Ventricular rate in beats/min: 60 / mean RR interval, which is also the usual figure for an irregular rhythm.

    Arguments as for `r_peaks`. None if there are fewer than three beats: two intervals are the least that makes a rate.
    """
    beats = r_peaks(signal, rate)
    if len(beats) < 3:
        return None
    return float(60.0 * rate * (len(beats) - 1) / (beats[-1] - beats[0]))


def _filled(signal: np.ndarray) -> np.ndarray:
    """The signal around zero, with missing samples at zero."""
    missing = ~np.isfinite(signal)
    if missing.any():
        signal = np.where(missing, np.nan, signal)
        rows = ~missing.all(axis=1)
        centre = np.zeros((len(signal), 1))
        centre[rows] = np.nanmedian(signal[rows], axis=1, keepdims=True)
        return np.where(missing, 0.0, signal - centre)
    return signal - np.median(signal, axis=1, keepdims=True)


def _without_glitches(signal: np.ndarray, rate: float) -> np.ndarray:
    """Pacing spikes and glitches taken out where the rate shows them: they are thinner than any QRS."""
    width = max(3, 2 * int(round(0.008 * rate)) + 1)
    smooth = median_filter(signal, size=(1, width), mode="nearest")
    limit = np.maximum(0.5 * np.percentile(np.abs(smooth), 99.5, axis=1, keepdims=True), 0.2)
    return np.where(np.abs(signal - smooth) > limit, smooth, signal)


def _band_passed(signal: np.ndarray, rate: float, band: tuple[float, float]) -> np.ndarray:
    """Without delay: forward and backward, the ends mirrored."""
    sos, state = _filter(rate, band)
    pad = min(signal.shape[1] - 1, int(rate))
    x = np.concatenate([signal[:, pad:0:-1], signal, signal[:, -2 : -2 - pad : -1]], axis=1)
    for _ in range(2):
        x = sosfilt(sos, x, axis=1, zi=state * x[:, :1])[0][:, ::-1]
    return x[:, pad : pad + signal.shape[1]]


@lru_cache(64)
def _filter(rate: float, band: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Second-order sections and their state for a constant input: designing them takes longer
    than a strip does to filter."""
    sos = butter(2, (band[0], min(band[1], 0.45 * rate)), btype="bandpass", fs=rate, output="sos")
    return sos, sosfilt_zi(sos)[:, None, :]


def _typical_peak(x: np.ndarray, rate: float) -> np.ndarray:
    """The usual height of a beat in each row: the median, over windows that are long enough
    to hold one, of the maximum."""
    width = int(1.5 * rate)
    n = x.shape[-1] // width
    if n < 2:
        return np.max(x, axis=-1, keepdims=True)
    windows = x[..., : n * width].reshape(*x.shape[:-1], n, width)
    return np.median(windows.max(axis=-1), axis=-1, keepdims=True)


def _pooled_slope(filtered: np.ndarray, rate: float) -> np.ndarray | None:
    """One curve that is about 1 at beats and about 0 between them, or None if every lead is flat."""
    alive = _typical_peak(np.abs(filtered), rate)[:, 0] > FLAT
    if not alive.any():
        return None
    slope = np.abs(np.gradient(filtered[alive], axis=1))
    slope = uniform_filter1d(slope, max(3, int(round(0.10 * rate))), axis=1, mode="nearest")
    height = np.maximum(_typical_peak(slope, rate), 1e-12)
    floor = np.median(slope, axis=1, keepdims=True)
    weight = np.maximum(height / np.maximum(floor, 1e-9) - 1.0, 0.05)  # a noisy lead's beats hardly leave its floor
    slope = np.minimum(slope / height, 2.0)  # an artefact in one lead must not outvote the others
    pooled = np.sum(weight * slope, axis=0) / np.sum(weight)
    return pooled / max(float(_typical_peak(pooled, rate)[0]), 1e-12)


def _beats(energy: np.ndarray, rate: float) -> np.ndarray:
    """Indices in `energy` that are beats: local maxima that are high enough among their neighbours."""
    refractory = max(1, int(round(REFRACTORY * rate)))
    peaks, _ = find_peaks(np.concatenate(([0.0], energy, [0.0])), distance=refractory)
    peaks = peaks - 1
    heights = energy[peaks]
    keep = heights > 0.40
    beats = list(peaks[keep])
    beats = _without_t_waves(beats, energy, rate)
    beats = _searched_back(beats, peaks, energy, rate)
    return np.array(beats, dtype=int)


def _without_t_waves(beats: list[int], energy: np.ndarray, rate: float) -> list[int]:
    """Drop what follows a beat within 0.36 s with less than 0.6 of its slope: a T wave (Pan and Tompkins use 0.5)."""
    kept: list[int] = []
    for beat in beats:
        if kept and beat - kept[-1] < 0.36 * rate and energy[beat] < 0.6 * energy[kept[-1]]:
            continue
        if kept and beat - kept[-1] < 0.30 * rate and energy[kept[-1]] < 0.5 * energy[beat]:
            kept[-1] = beat  # a P wave or pacing artefact that came just before its beat
            continue
        kept.append(beat)
    return kept


def _without_broad_t_waves(
    beats: np.ndarray, energy: np.ndarray, clean: np.ndarray, rate: float, step: int
) -> np.ndarray:
    """Drop what follows a beat, or the start of the strip, within 0.5 s with less than 0.85 of its slope, not more
    than its area, and hardly an edge.

    After a broad QRS complex (paced, bundle branch block) the T wave is late and nearly as steep, but it is smooth; a
    premature ventricular beat is smooth too, but larger than the narrow beat before it. Beats are judged against each
    other, so that noise, which gives everything edges, leaves all of them in.
    """
    if len(beats) < 3:
        return beats
    before = np.concatenate(
        [[np.median(energy[beats])], energy[beats[:-1]]]
    )  # the median stands in for what came before the strip
    doubted = (np.diff(beats, prepend=0) < 0.5 * rate / step) & (energy[beats] < 0.85 * before)
    edges = _pooled_slope(_band_passed(clean, rate, SHARP_BAND)[:, ::step], rate / step) if doubted.any() else None
    if edges is None:
        return beats
    reach = int(round(0.08 * rate / step))
    around = [slice(max(0, beat - reach), beat + reach + 1) for beat in beats]
    sharp = np.array([edges[place].max() for place in around])
    size = np.sum(np.abs(_band_passed(clean, rate, WIDE_BAND)[:, ::step]), axis=0)
    area = np.array([size[place].mean() for place in around])
    bounds = np.concatenate([[np.median(area[~doubted])], area[:-1]])
    return beats[~(doubted & (sharp < 0.33 * np.median(sharp[~doubted])) & (area < bounds))]


def _searched_back(beats: list[int], peaks: np.ndarray, energy: np.ndarray, rate: float) -> list[int]:
    """In a gap of more than 1.6 usual intervals, take the largest maximum if it is above half the usual threshold."""
    if len(beats) < 3:
        return beats
    usual = float(np.median(np.diff(beats)))
    found = list(beats)
    for left, right in zip(beats[:-1], beats[1:], strict=True):
        if right - left <= 1.6 * usual:
            continue
        inside = peaks[(peaks > left + 0.4 * usual) & (peaks < right - 0.4 * usual)]
        inside = inside[(inside - left > 0.3 * rate) & (right - inside > 0.3 * rate)]
        if len(inside):
            best = int(inside[np.argmax(energy[inside])])
            if energy[best] > 0.2:
                found.append(best)
    return sorted(found)


def _refined(filtered: np.ndarray, beats: np.ndarray, rate: float) -> np.ndarray:
    """Each beat moved to the largest pooled deflection within 80 ms."""
    scale = np.maximum(_typical_peak(np.abs(filtered), rate), FLAT)
    size = np.sum(np.minimum(np.abs(filtered) / scale, 2.0), axis=0)
    reach = int(round(0.08 * rate))
    starts = [max(0, beat - reach) for beat in beats]
    moved = [start + int(np.argmax(size[start : beat + reach + 1])) for start, beat in zip(starts, beats, strict=True)]
    return np.unique(np.array(moved, dtype=int))


def _without_spikes(beats: np.ndarray, slow: np.ndarray, rate: float) -> np.ndarray:
    """Drop what is followed within 0.36 s by a beat of five times its area: an atrial pacing spike, steep but too thin.

    The area is that of the pooled |signal| within 80 ms, in a band low enough for wide complexes. Of two beats closer
    than the refractory time the smaller goes.
    """
    size = np.sum(np.abs(slow), axis=0)
    reach = int(round(0.08 * rate))
    kept: list[tuple[int, float]] = []
    for beat in beats:
        area = float(size[max(0, beat - reach) : beat + reach + 1].sum())
        if kept:
            apart, before = (beat - kept[-1][0]) / rate, kept[-1][1]
            if apart < 0.36 and before < 0.2 * area or apart < REFRACTORY and before < area:
                kept.pop()
            elif apart < REFRACTORY:
                continue
        kept.append((int(beat), area))
    return np.array([beat for beat, _ in kept], dtype=int)
