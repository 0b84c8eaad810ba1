"""What a reader measures in an ECG: rate and rhythm, P, PR, QRS, QT, axes and amplitudes, from
the median beat of all leads.

Where its waves begin and end is found by `delineate`. None is "not measurable".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .delineate import Marks, delineate, over_ramp, qrs_ends
from .leads import INDEPENDENT, LEADS, canonical, complete, with_limbs
from .median_beat import RATE, MedianBeat, median_beat

if TYPE_CHECKING:
    from pandas import DataFrame

MS = 1000 / RATE
"""ms a sample of the median beat."""
ODD = (0.75, 1.33)
"""An RR interval below or above these multiples of the median is odd."""
IRREGULAR = 0.08
"""Variation of the RR intervals that are not odd, above which a rhythm is irregular."""


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
    ends = qrs_ends(beat.signal, float(np.median(np.diff(beat.times))) * RATE)
    if ends is None:
        return None
    x = with_limbs(dict(zip(kept, beat.signal, strict=True)))
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


def _measured(beat: MedianBeat, kept: tuple[str, ...], shown: tuple[str, ...]) -> Measurements:
    rhythm = _rhythm(beat.times)
    signal = with_limbs(dict(zip(kept, beat.signal, strict=True)))
    found = delineate(beat, kept)
    if found is None:
        return Measurements(beats=len(beat.times), **rhythm)
    marks, evidence, present = found
    on, off = marks.on, marks.off
    qt = None if np.isnan(marks.t_end) else (marks.t_end - on) * MS
    seconds = None if rhythm.get("heart_rate") is None else 60 / rhythm["heart_rate"]
    corrected = qt is not None and seconds is not None
    seen = present and not np.isnan(marks.p_on)
    amplitudes = {name: _amplitudes(signal[name], marks, seen) for name in LEADS if name in shown and name in signal}
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
        sokolow=amplitudes["V5"].r - amplitudes["V1"].s if {"V1", "V5"} <= amplitudes.keys() else None,
        amplitudes=amplitudes,
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


def _over_ramp(signal: dict[str, np.ndarray], start: int, stop: int) -> dict[str, np.ndarray]:
    return dict(zip(signal, over_ramp(np.stack(list(signal.values())), start, stop), strict=True))


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
        wave = over_ramp(x[None], int(marks.p_on), int(marks.p_off))[0]
        p = float(wave[np.argmax(np.abs(wave))]) if len(wave) else None
    return Amplitudes(p, q, r, s, float(late), t)
