"""From beat to beat: the heart rate, how much the intervals vary, and how many of them are odd.

Sinus rhythm varies by a few per cent and smoothly; atrial fibrillation by 15 to 30 % and from each beat to the next. A
generator that does not know time draws sinus rhythm whose intervals jump.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..ecg.rhythm import r_peaks

ODD = 0.15
"""An interval is odd where it differs by more than this fraction from the median of the five around it."""


class BeatToBeat(NamedTuple):
    """heart_rate: beats/min, 60 over the mean interval. variation: standard deviation of the intervals over their
    mean. jump: root mean square of successive differences over the mean (RMSSD / RR). odd: fraction of odd intervals.
    All NaN with fewer than 3 beats."""

    heart_rate: float
    variation: float
    jump: float
    odd: float


def beat_to_beat(signal: np.ndarray, rate: float) -> BeatToBeat:
    """Of one ECG (leads, samples) in mV at `rate` Hz."""
    return of_intervals(np.diff(r_peaks(signal, rate)) / rate)


def of_intervals(gaps: np.ndarray) -> BeatToBeat:
    """Of RR intervals (n,) in s."""
    gaps = np.asarray(gaps, float)
    if len(gaps) < 2:
        return BeatToBeat(*[float("nan")] * 4)
    around = np.array([np.median(gaps[max(0, k - 2) : k + 3]) for k in range(len(gaps))])
    return BeatToBeat(
        heart_rate=60 / gaps.mean(),
        variation=gaps.std() / gaps.mean(),
        jump=float(np.sqrt(np.mean(np.diff(gaps) ** 2)) / gaps.mean()),
        odd=float(np.mean(np.abs(gaps - around) > ODD * around)),
    )


def beats_to_beats(signals: Sequence[np.ndarray] | np.ndarray, rate: float) -> np.ndarray:
    """(N, 4) of many ECGs, columns as `BeatToBeat`."""
    return np.array([beat_to_beat(x, rate) for x in signals], float).reshape(-1, 4)
