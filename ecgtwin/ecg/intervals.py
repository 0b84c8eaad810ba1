"""What a reader measures in an ECG: rate and rhythm, P, PR, QRS, QT, axes and amplitudes, from
the median beat of all leads.

QRS begins and ends where the eight independent leads together move faster than a twentieth of their fastest; T ends
where the steepest tangent after its peak meets the baseline (Lepeschkin and Surawicz, Circulation 1952; 6:378); a P
wave is measured only if it is there: a wave before QRS that the beats agree about, which fibrillating atria do not
have. None is "not measurable".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from .leads import INDEPENDENT, LEADS, canonical, complete
from .median_beat import BEFORE, RATE, MedianBeat, median_beat

if TYPE_CHECKING:
    from pandas import DataFrame

MS = 1000 / RATE
"""ms a sample of the median beat."""
ODD = (0.75, 1.33)
"""An RR interval below or above these multiples of the median is odd."""
IRREGULAR = 0.08
"""Variation of the RR intervals that are not odd, above which a rhythm is irregular."""
BROAD = 75
"""Samples (150 ms) above which a QRS complex is looked at again."""
AGREEMENT = 0.6
"""Mean correlation of each beat's P wave with that of the others, above which there is a P wave."""


class Amplitudes(NamedTuple):
    """mV in one lead, from the level in front of QRS (P: from its own). Q and S are negative, 0 where
    there is none; R is positive.

    q: lowest before R; r: highest; s: lowest after R; st: 60 ms after the end of QRS; t:
        largest deflection, with its sign.
    """

    p: float | None
    q: float
    r: float
    s: float
    st: float
    t: float | None


@dataclass(frozen=True)
class Measurements:
    """One ECG measured. None: not measurable. Intervals in ms, axes in degrees (0 = left, 90
    = down, within -180 to 180).

    heart_rate: beats/min. rr_variation: standard deviation / mean of RR. odd_fraction: of the RR intervals that are
    below 0.75 or above 1.33 of the median; rr_variation_usual: rr_variation of the others. regularity: "regular",
    "regular with odd beats" or "irregular" (the usual intervals vary by more than `IRREGULAR`). p_present: None where
    it cannot be told. p_evidence: for each beat measured, the correlation of what it has in the place of P with what
    the others have there. amplitudes: by lead.
    sokolow: S in V1 + R in V5, mV.
    """

    beats: int
    heart_rate: float | None = None
    rr_variation: float | None = None
    odd_fraction: float | None = None
    rr_variation_usual: float | None = None
    regularity: str | None = None
    p_present: bool | None = None
    p: float | None = None
    pr: float | None = None
    qrs: float | None = None
    qt: float | None = None
    qtc_bazett: float | None = None
    qtc_fridericia: float | None = None
    p_axis: float | None = None
    qrs_axis: float | None = None
    t_axis: float | None = None
    sokolow: float | None = None
    amplitudes: dict[str, Amplitudes] | None = None
    p_evidence: tuple[float, ...] = ()

    def rows(self) -> Iterator[tuple[str, str, float | str | bool | None, str]]:
        """(quantity, lead or "", value, unit), in the order of a report."""
        for field in fields(self):
            if field.name in UNITS:
                yield field.name, "", getattr(self, field.name), UNITS[field.name]
        for lead, row in (self.amplitudes or {}).items():
            for name, value in row._asdict().items():
                yield name + "_amplitude", lead, value, "mV"

    def table(self) -> "DataFrame":
        """A pandas table with the columns quantity, lead, value and unit; None where a quantity is not measurable."""
        import pandas as pd

        return pd.DataFrame(list(self.rows()), columns=["quantity", "lead", "value", "unit"], dtype=object)


UNITS = {
    "beats": "",
    "heart_rate": "/min",
    "rr_variation": "",
    "odd_fraction": "",
    "rr_variation_usual": "",
    "regularity": "",
    "p_present": "",
    **dict.fromkeys(("p", "pr", "qrs", "qt", "qtc_bazett", "qtc_fridericia"), "ms"),
    **dict.fromkeys(("p_axis", "qrs_axis", "t_axis"), "degrees"),
    "sokolow": "mV",
}
"""Quantities of the whole ECG, with their units."""


def measure(signal: np.ndarray, rate: float, leads: Sequence[str]) -> Measurements:
    """Measure (leads, samples) in mV at `rate` Hz (at least 100), leads in any order and spelling.

    Axes and limb leads need two limb leads. A lead with missing samples is not measured.
    ValueError for a wrong shape or rate.
    """
    names = tuple(canonical(lead) for lead in leads)
    found = _beat(signal, rate, names)
    return Measurements(beats=0) if found is None else _measured(*found, names)


def measure_many(signals: np.ndarray, rate: float, leads: Sequence[str]) -> list[Measurements]:
    """`measure` of each of (N, leads, samples)."""
    return [measure(x, rate, leads) for x in signals]


def usual_beat(
    signal: np.ndarray, rate: float, leads: Sequence[str], before: float = 0.3, after: float = 0.5
) -> np.ndarray | None:
    """The median beat (leads that can be shown, samples) in mV at `median_beat.RATE`, from `before`
    to `after` s around QRS onset.

    Leads in the order of `LEADS`: all twelve where I and II are there. Each is 0 in front of QRS. None
    where it cannot be measured.
    """
    found = _beat(signal, rate, tuple(canonical(lead) for lead in leads))
    if found is None:
        return None
    beat, kept = found
    ends = _qrs(beat.signal, float(np.median(np.diff(beat.times))) * RATE)
    if ends is None:
        return None
    x = _with_limbs(dict(zip(kept, beat.signal, strict=True)))
    x = np.stack([x[name] for name in LEADS if name in x])
    on, first, last = ends[0], round(before * RATE), round(after * RATE)
    x = np.pad(x - x[:, on - 8 : on - 1].mean(1, keepdims=True), ((0, 0), (first, last)), mode="edge")
    return x[:, on : on + first + last]


def _beat(signal: np.ndarray, rate: float, names: tuple[str, ...]) -> tuple[MedianBeat, tuple[str, ...]] | None:
    """The median beat of the independent leads that are whole, and which they are."""
    signal = np.asarray(signal, np.float64)
    if signal.ndim != 2 or len(signal) != len(names):
        raise ValueError(f"signal of shape {signal.shape} with {len(names)} leads: expected (leads, samples)")
    have = {name: x for name, x in zip(names, signal, strict=True) if np.isfinite(x).all()}
    if sum(name in LEADS[:6] for name in have) >= 2:
        have = dict(zip(INDEPENDENT[:2], complete(have, INDEPENDENT[:2]).astype(np.float64), strict=True)) | have
    kept = tuple(name for name in INDEPENDENT if name in have) or tuple(have)
    beat = median_beat(np.stack([have[name] for name in kept]), rate) if kept else None
    return None if beat is None else (beat, kept)


class Marks(NamedTuple):
    """Samples of the median beat: where QRS begins and ends, T peaks and ends, P begins and
    ends. NaN: not to be seen."""

    on: int
    off: int
    t_peak: float
    t_end: float
    p_on: float
    p_off: float


def _measured(beat: MedianBeat, kept: tuple[str, ...], shown: tuple[str, ...]) -> Measurements:
    rhythm = _rhythm(beat.times)
    signal = _with_limbs(dict(zip(kept, beat.signal, strict=True)))
    rr = float(np.median(np.diff(beat.times))) * RATE
    ends = _qrs(beat.signal, rr)
    if ends is None:
        return Measurements(beats=len(beat.times), **rhythm)
    marks, evidence, present = _marks(beat, kept, rr, ends)
    on, off = marks.on, marks.off
    qt = None if np.isnan(marks.t_end) else (marks.t_end - on) * MS
    seconds = None if rhythm.get("heart_rate") is None else 60 / rhythm["heart_rate"]
    corrected = qt is not None and seconds is not None
    seen = present and not np.isnan(marks.p_on)
    found = {name: _amplitudes(signal[name], marks, seen) for name in LEADS if name in shown and name in signal}
    level = {name: x - x[on - 8 : on - 1].mean() for name, x in signal.items()}
    late = None if qt is None else (min(off + 20, int(marks.t_peak)), int(marks.t_end))
    return Measurements(
        beats=len(beat.times),
        **rhythm,
        p_present=present,
        p=(marks.p_off - marks.p_on) * MS if seen else None,
        pr=(on - marks.p_on) * MS if seen else None,
        qrs=(off - on) * MS,
        qt=qt,
        qtc_bazett=qt / seconds**0.5 if corrected else None,
        qtc_fridericia=qt / seconds ** (1 / 3) if corrected else None,
        p_axis=_axis(_over_ramp(signal, int(marks.p_on), int(marks.p_off)), 0, None) if seen else None,
        qrs_axis=_axis(level, on, off),
        t_axis=None if late is None else _axis(level, *late),
        sokolow=found["V5"].r - found["V1"].s if {"V1", "V5"} <= found.keys() else None,
        amplitudes=found,
        p_evidence=evidence,
    )


def _rhythm(times: np.ndarray) -> dict[str, float | str | None]:
    if len(times) < 3:
        return {}
    rr = np.diff(times)
    usual = float(np.median(rr))
    odd = (rr < ODD[0] * usual) | (rr > ODD[1] * usual)
    rest = rr[~odd] if (~odd).sum() > 2 else rr
    spread = float(rest.std() / rest.mean())
    irregular = spread > IRREGULAR or odd.mean() > 0.6
    return {
        "heart_rate": float(60 / rr.mean()),
        "rr_variation": float(rr.std() / rr.mean()),
        "odd_fraction": float(odd.mean()),
        "rr_variation_usual": spread,
        "regularity": "irregular" if irregular else "regular with odd beats" if odd.any() else "regular",
    }


def _with_limbs(signal: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not {"I", "II"} <= signal.keys():
        return signal
    one, two = signal["I"], signal["II"]
    return signal | {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}


def _marks(
    beat: MedianBeat, kept: tuple[str, ...], rr: float, ends: tuple[int, int]
) -> tuple[Marks, tuple[float, ...], bool | None]:
    x = beat.signal
    on, off = ends
    twelve = np.stack(list(_with_limbs(dict(zip(kept, x, strict=True))).values()))
    t_peak, t_end = _t(twelve, on, off, rr)
    late, before = _after_long(beat, rr)
    rested = np.stack(list(_with_limbs(dict(zip(kept, np.median(late, axis=0), strict=True))).values()))
    p_on, p_off, evidence, present = _p(late, rested, on, t_end, before)
    return Marks(on, off, t_peak, t_end, p_on, p_off), evidence, present


def _qrs(x: np.ndarray, rr: float) -> tuple[int, int] | None:
    """First and last sample at which the leads together move faster than a twentieth of their fastest;
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
    limit = max(0.055 * core.max(), 1.5 * np.sqrt(quiet))
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


def _t(twelve: np.ndarray, on: int, off: int, rr: float) -> tuple[float, float]:
    """Peak and end of the T wave of all leads together, or NaN: its last peak that counts, and the tangent after it."""
    last = min(on + 310, int(on + rr) - 30, twelve.shape[1] - 3)
    if last < off + 60:
        return np.nan, np.nan
    base = twelve[:, on - 8 : on - 1].mean(1, keepdims=True)
    size = np.sqrt((gaussian_filter1d(twelve - base, 4, axis=1) ** 2).mean(0))
    first = off + 25
    seen = size[first:last]
    peaks = 1 + np.flatnonzero((seen[1:-1] >= seen[:-2]) & (seen[1:-1] > seen[2:]))
    peaks = peaks[seen[peaks] > 0.4 * seen.max()]
    if not len(peaks):
        return np.nan, np.nan
    peak = first + int(peaks[-1])
    slope = np.gradient(size)
    stop = min(peak + 75, last)
    if stop - peak < 3:
        return np.nan, np.nan
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


def _p(
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
    ramp = _over_ramp_rows(smooth, earliest, on - 4)
    size = np.sqrt((ramp**2).mean(0))
    top = earliest + int(np.argmax(size[: on - 12 - earliest]))
    window = slice(max(top - 30, earliest), min(top + 30, on - 4))
    evidence = _evidence(gaussian_filter1d(beats, 3, axis=2)[:, :, window])
    present = bool(np.mean(evidence) > AGREEMENT and size[top - earliest] > 0.01)
    if not present:
        return np.nan, np.nan, evidence, False
    after = smooth[:, on - 6 : on - 1].mean(1, keepdims=True)
    falling = np.sqrt(((smooth - after) ** 2).mean(0))
    # In front of P lies its level, unless the heart is so fast that T ends there: then it begins where the two meet.
    if earliest <= top - 58:
        valley = top - 52
    elif top - earliest < 18:
        valley = earliest
    else:
        speed = (np.gradient(smooth[:, earliest : top - 12], axis=1) ** 2).sum(0)
        valley = earliest + int(np.argmin(gaussian_filter1d(speed, 2)))
    before = smooth[:, max(valley - 6, 0) : valley + 7].mean(1, keepdims=True)
    rising = np.sqrt(((smooth - before) ** 2).mean(0))
    earlier = size[: max(valley - 10 - earliest, 0)]
    if len(find_peaks(earlier, prominence=0.6 * size[top - earliest])[0]):
        return np.nan, np.nan, evidence, False  # waves all the way: flutter
    first = _foot(rising, top, -1, max(valley, earliest))
    last = _foot(falling, top, +1, min(top + 60, on))
    return first, min(last, float(on)), evidence, True


def _foot(size: np.ndarray, top: int, side: int, edge: int) -> float:
    """Where a wave that peaks at `top` falls below exp(-2) of its height, two widths from the centre of a bell."""
    k = top
    while k != edge and size[k] > 0.16 * size[top]:
        k += side
    return float(k)


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


def _over_ramp_rows(x: np.ndarray, start: int, stop: int) -> np.ndarray:
    """x[:, start:stop] above the straight line from its level at `start` to that at `stop`."""
    begin, end = (x[:, max(k - 3, 0) : k + 4].mean(1, keepdims=True) for k in (start, stop))
    return x[:, start:stop] - begin - (end - begin) * np.linspace(0, 1, stop - start)


def _over_ramp(signal: dict[str, np.ndarray], start: int, stop: int) -> dict[str, np.ndarray]:
    return dict(zip(signal, _over_ramp_rows(np.stack(list(signal.values())), start, stop), strict=True))


def _axis(level: dict[str, np.ndarray], start: int, stop: int | None) -> float | None:
    """Frontal axis in degrees of the area under I and aVF; None without limb leads or without an area to speak of."""
    if not {"I", "aVF"} <= level.keys():
        return None
    left, down = level["I"][start:stop].mean(), 2 / np.sqrt(3) * level["aVF"][start:stop].mean()
    return float(np.degrees(np.arctan2(down, left))) if np.hypot(left, down) > 0.003 else None


def _amplitudes(x: np.ndarray, marks: Marks, p_seen: bool) -> Amplitudes:
    on, off = marks.on, marks.off
    base = x[on - 8 : on - 1].mean()
    qrs = x[on : off + 1] - base
    top = int(np.argmax(qrs))
    r = max(float(qrs[top]), 0.0)
    q = min(float(qrs[: top + 1].min()), 0.0) if r > 0.02 else 0.0
    s = min(float(qrs[top:].min()), 0.0) if r > 0.02 else min(float(qrs.min()), 0.0)
    late = x[off + 30 - 3 : off + 30 + 4].mean() - base
    t = p = None
    if not np.isnan(marks.t_end):
        wave = x[min(off + 20, int(marks.t_peak)) : int(marks.t_end)] - base
        t = float(wave[np.argmax(np.abs(wave))])
    if p_seen:
        wave = _over_ramp_rows(x[None], int(marks.p_on), int(marks.p_off))[0]
        p = float(wave[np.argmax(np.abs(wave))]) if len(wave) else None
    return Amplitudes(p, q, r, s, float(late), t)
