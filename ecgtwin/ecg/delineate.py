"""Where the waves of a median beat begin and end.

QRS begins and ends where the eight independent leads together move faster than a small part of their fastest; T ends
where the steepest tangent after its peak meets the baseline (Lepeschkin and Surawicz, Circulation 1952; 6:378), and P
begins and ends by such tangents too; a P wave is marked only if it is there: a wave before QRS that the beats agree
about, which fibrillating atria do not have.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from .leads import with_limbs
from .median_beat import BEFORE, RATE, MedianBeat

SLOW = 0.055
"""Part of the fastest speed of QRS below which it has not begun or is over."""
BROAD = 75
"""Samples (150 ms) above which a QRS complex is looked at again."""
T_BEFORE = 0.62
"""Part of the RR interval after R before which T peaks: what peaks later is the next P wave."""
AGREEMENT = 0.6
"""Mean correlation of each beat's P wave with that of the others, above which there is a P wave."""


class Marks(NamedTuple):
    """Samples of the median beat: where QRS begins and ends, T peaks and ends, P begins and
    ends. NaN: not to be seen."""

    on: int
    off: int
    t_peak: float
    t_end: float
    p_on: float
    p_off: float


def delineate(beat: MedianBeat, leads: tuple[str, ...]) -> tuple[Marks, tuple[float, ...], bool | None] | None:
    """Marks of a median beat of these leads, each beat's evidence of a P wave, and whether there is one (None: cannot
    be told); None without a QRS complex."""
    x = beat.signal
    rr = float(np.median(np.diff(beat.times))) * RATE
    ends = qrs_ends(x, rr)
    if ends is None:
        return None
    on, off = ends
    t_peak, t_end = t_ends(_rows(x, leads), on, off, rr)
    late, before = _after_long(beat, rr)
    p_on, p_off, evidence, present = p_ends(late, _rows(np.median(late, axis=0), leads), on, t_end, before)
    return Marks(on, off, t_peak, t_end, p_on, p_off), evidence, present


def _rows(x: np.ndarray, leads: tuple[str, ...]) -> np.ndarray:
    """All leads that follow from these, as rows."""
    return np.stack(list(with_limbs(dict(zip(leads, x, strict=True))).values()))


def qrs_ends(x: np.ndarray, rr: float) -> tuple[int, int] | None:
    """First and last sample at which the leads (n, samples) together move faster than `SLOW` of their fastest;
    None: no QRS complex there."""
    smooth = gaussian_filter1d(x, 1.5, axis=1)
    squared = (np.gradient(smooth, axis=1) ** 2).sum(0)
    quiet = np.quantile(squared[BEFORE - 150 : BEFORE - 45], 0.25)  # what noise alone moves
    speed = np.sqrt(np.maximum(squared - quiet, 0.0))
    core = speed[BEFORE - 75 : BEFORE + 80]
    fast = np.flatnonzero(core > 0.3 * core.max()) + BEFORE - 75
    near = fast[np.abs(fast - BEFORE) < 60]
    if not len(near):
        return None
    on, off = int(near[0]), int(near[-1])
    limit = max(SLOW * core.max(), 1.5 * np.sqrt(quiet))
    while on > BEFORE - 100 and (speed[on - 5 : on] > limit).any():
        on -= 1
    off = _still(speed, off, limit)
    if off - on > BROAD:
        # So broad that it may be T: ST and T may be as fast as the slow end of QRS, and what they
        # reach later does not count.
        after = speed[on + 100 : min(on + 240, int(BEFORE + rr) - 75)]
        limit = float(np.clip(1.1 * after.max() if len(after) else 0.0, limit, 0.12 * core.max()))
        fast = np.flatnonzero(speed[on : on + 100] > 0.15 * core.max())
        off = _still(speed, on + int(fast[-1]), limit)
    return on, off


def _still(speed: np.ndarray, off: int, limit: float) -> int:
    """The next sample after which the speed stays below the limit for 20 ms."""
    while off < BEFORE + 120 and (speed[off + 1 : off + 11] > limit).any():
        off += 1
    return off


def t_ends(twelve: np.ndarray, on: int, off: int, rr: float) -> tuple[float, float]:
    """Peak and end of the T wave of all leads together, or NaN: its last peak that counts, and the tangent after it."""
    last = min(on + 310, int(on + rr) - 30, twelve.shape[1] - 3)
    latest = min(last, max(int(BEFORE + T_BEFORE * rr), off + 60))
    if latest < off + 60:
        return np.nan, np.nan
    base = twelve[:, on - 8 : on - 1].mean(1, keepdims=True)
    size = np.sqrt((gaussian_filter1d(twelve - base, 4, axis=1) ** 2).mean(0))
    first = off + 25
    seen = size[first:latest]
    peaks, _ = find_peaks(seen, height=0.4 * seen.max(), prominence=0.15 * seen.max())  # a U wave hardly stands out
    if not len(peaks):
        return np.nan, np.nan
    peak = first + int(peaks[-1])
    slope = np.gradient(size)
    stop = min(peak + 75, last)
    if stop - peak < 3:
        return np.nan, np.nan
    valleys, _ = find_peaks(-size[peak:stop], prominence=0.1 * size[peak])
    stop = peak + int(valleys[0]) if len(valleys) else stop  # what falls after it rose again is the next P wave
    steep = peak + int(np.argmin(slope[peak:stop]))
    noise = np.quantile(size[peak:stop], 0.1)
    if size[peak] < 0.03 or size[peak] < 1.5 * noise or slope[steep] > -2e-4:
        return np.nan, np.nan
    return float(peak), float(steep - size[steep] / slope[steep])


def _after_long(beat: MedianBeat, rr: float) -> tuple[np.ndarray, float]:
    """Beats (n, leads, samples) in front of which the T wave before is over, and the shortest
    interval (samples) in front of them.

    Where intervals vary, as in fibrillation, T of the beat before lies in the place of P after the short ones.
    """
    known = np.isfinite(beat.before)
    varied = known.sum() >= 6 and np.nanstd(beat.before) > 0.05 * np.nanmean(beat.before)
    if not varied:
        return beat.beats, rr
    long = known & (beat.before >= np.nanmedian(beat.before))
    return beat.beats[long], float(np.nanmin(beat.before[long])) * RATE


def p_ends(
    beats: np.ndarray, twelve: np.ndarray, on: int, t_end: float, rr: float
) -> tuple[float, float, tuple[float, ...], bool | None]:
    """Begin and end of the P wave of the median (12, samples) of beats, each beat's evidence of
    it, and whether it is there."""
    earliest = on - 165  # 330 ms
    if not np.isnan(t_end):
        earliest = max(earliest, int(t_end - rr) + 5)
    earliest = max(earliest, 5)
    if on - earliest < 45:
        return np.nan, np.nan, (), None
    smooth = gaussian_filter1d(twelve, 3, axis=1)
    ramp = over_ramp(smooth, earliest, on - 4)
    size = np.sqrt((ramp**2).mean(0))
    top = earliest + int(np.argmax(size[: on - 12 - earliest]))
    window = slice(max(top - 30, earliest), min(top + 30, on - 4))
    evidence = _evidence(gaussian_filter1d(beats, 3, axis=2)[:, :, window])
    present = bool(np.mean(evidence) > AGREEMENT and size[top - earliest] > 0.01)
    if not present:
        return np.nan, np.nan, evidence, False
    # In front of P lies its level, unless the heart is so fast that T ends there: then it begins where the two meet.
    if earliest <= top - 58:
        valley = top - 52
    elif top - earliest < 18:
        valley = earliest
    else:
        speed = (np.gradient(smooth[:, earliest : top - 12], axis=1) ** 2).sum(0)
        valley = earliest + int(np.argmin(gaussian_filter1d(speed, 2)))
    earlier = size[: max(valley - 10 - earliest, 0)]
    if len(find_peaks(earlier, prominence=0.6 * size[top - earliest])[0]):
        return np.nan, np.nan, evidence, False  # waves all the way: flutter
    first = _foot(_above(smooth, slice(max(valley - 6, 0), valley + 7)), top, -1, max(valley, earliest))
    last = _foot(_above(smooth, slice(on - 6, on - 1)), top, +1, min(top + 60, on - 3))
    return max(first, 0.0), min(last, float(on)), evidence, True


def _above(x: np.ndarray, level: slice) -> np.ndarray:
    """Size of all leads together above their level, less what noise makes of it there."""
    size = np.sqrt(((x - x[:, level].mean(1, keepdims=True)) ** 2).mean(0))
    return size - size[level].mean()


def _foot(size: np.ndarray, top: int, side: int, edge: int) -> float:
    """Where the tangent at the steepest slope of a wave meets 0; looked for from its top to a third of its height."""
    at = top + side * np.arange(max(side * (edge - top), 3) + 1)
    below = np.flatnonzero(size[at] < size[top] / 3)
    at = at[: below[0] + 1] if len(below) else at
    fall = -side * np.gradient(size)[at]
    steep = int(np.argmax(fall))
    return float(at[steep] + side * size[at[steep]] / max(fall[steep], 1e-9))


def _evidence(parts: np.ndarray) -> tuple[float, ...]:
    """For each of (n, leads, samples) its correlation with the mean of the others, without level and slope."""
    ramp = np.linspace(-1, 1, parts.shape[2])
    ramp /= np.linalg.norm(ramp)
    parts = parts - parts.mean(2, keepdims=True)
    parts = parts - (parts @ ramp)[..., None] * ramp
    others = (parts.sum(0) - parts) / max(len(parts) - 1, 1)
    dot = (parts * others).sum((1, 2))
    size = np.sqrt((parts**2).sum((1, 2)) * (others**2).sum((1, 2)))
    return tuple(float(v) for v in dot / np.maximum(size, 1e-12))


def over_ramp(x: np.ndarray, start: int, stop: int) -> np.ndarray:
    """x[:, start:stop] above the straight line from its level at `start` to that at `stop`."""
    begin, end = (x[:, max(k - 3, 0) : k + 4].mean(1, keepdims=True) for k in (start, stop))
    return x[:, start:stop] - begin - (end - begin) * np.linspace(0, 1, stop - start)
