"""What a fit reads in a recording: the median beat on the baseline before P, and where its waves begin and end.

The ends are those by which the population was made (`scripts/fit_population.py`): of normally conducted beats only.
What a reader measures, in any beat, is `delineate`'s of the room above.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from ..median_beat import BEFORE, RATE, aligned, at_500, beats_at, whole
from ..rhythm import r_peaks

REACH = 10  # samples by which a beat may be moved when beats are aligned


@dataclass(frozen=True)
class Ends:
    """Where the waves of a median beat begin and end, in samples of it; p_on and p_off None where
    no P wave was looked for."""

    p_on: float | None
    p_off: float | None
    on: int
    off: int
    t_end: float


@dataclass(frozen=True, eq=False)
class ReadBeat:
    """beat: (8, BEFORE + AFTER) in mV at 500 Hz on the baseline before P, its R peak at BEFORE. peaks: R peaks in s of
    all beats; alike: of which (n,) bool the beat is the median. rr: mean RR interval in s. signal: (8, samples) the
    recording at 500 Hz; wander: its baseline. ends: of the waves.
    """

    beat: np.ndarray
    peaks: np.ndarray
    alike: np.ndarray
    rr: float
    signal: np.ndarray
    wander: np.ndarray
    ends: Ends


def read_beat(signal: np.ndarray, rate: float, atria: bool = True) -> ReadBeat:
    """Of a recording (8, samples) in mV. atria: whether there is a P wave to be found.

    ValueError, with the reason, where there are less than three whole beats alike or a wave can not be found.
    """
    peaks = r_peaks(signal, rate)
    if len(peaks) < 4:
        raise ValueError(f"{len(peaks)} beats were found: at least 4 are needed for a median beat")
    fine = at_500(signal, rate)
    slow = uniform_filter1d(uniform_filter1d(fine, 425, mode="nearest"), 425, mode="nearest")  # a bell of 0.35 s
    still = fine - slow
    places = np.round(peaks * RATE / rate).astype(int)
    there = whole(still, places, REACH)
    if there.sum() < 3:
        raise ValueError(f"{there.sum()} whole beats: at least 3 are needed for a median beat")
    places, alike = aligned(still, places, REACH)
    alike &= there
    if alike.sum() < 3:
        raise ValueError(
            f"{alike.sum()} of {there.sum()} whole beats are alike: at least 3 are needed for a median beat"
        )
    rr = float(np.diff(places).mean() / RATE)
    rough = np.median(beats_at(still, places[alike]), axis=0)
    ends = delineate(rough, rr, atria)
    # The baseline runs through the silence before each beat, as a reader's does; a high-pass filter
    # would bend the ST segment.
    quiet = np.array([-14, -4]) + int((ends.p_on if atria else ends.on) - BEFORE)
    knots = places[(places + quiet[0] >= 0) & (places + quiet[1] <= fine.shape[1])]
    if len(knots) < 2:
        raise ValueError(f"{len(knots)} beats with the baseline before them: at least 2 are needed")
    levels = np.stack([fine[:, i + quiet[0] : i + quiet[1]].mean(1) for i in knots], axis=1)
    at = np.clip(np.arange(fine.shape[1]), knots[0] + quiet.mean(), knots[-1] + quiet.mean())
    wander = PchipInterpolator(knots + quiet.mean(), levels, axis=1)(at)
    beat = np.median(beats_at(fine - wander, places[alike]), axis=0)
    return ReadBeat(beat, places / RATE, alike, rr, fine, wander, ends)


def delineate(beat: np.ndarray, rr: float, atria: bool = True) -> Ends:
    """Ends of the waves of a beat (8, BEFORE + AFTER): QRS by a threshold on the speed of the
    signal, P and T by tangents."""
    smooth = gaussian_filter1d(beat, 1.5, axis=1)
    speed = np.sqrt((np.gradient(smooth, axis=1) ** 2).sum(0))
    around = speed[BEFORE - 70 : BEFORE + 80]
    limit = max(0.05 * around.max(), 2.0 * np.median(speed[BEFORE - 150 : BEFORE - 40]))
    strong = np.flatnonzero(around > 0.25 * around.max()) + BEFORE - 70
    on, off = int(strong[0]), int(strong[-1])
    while on > BEFORE - 90 and speed[on] > limit:
        on -= 1
    while off < BEFORE + 110 and speed[off] > limit:
        off += 1
    level = beat - beat[:, on - 8 : on - 2].mean(1, keepdims=True)
    size = np.sqrt((gaussian_filter1d(level, 4, axis=1) ** 2).sum(0))
    last = max(min(off + 200, BEFORE + int(0.62 * rr * RATE), beat.shape[1] - 62), off + 60)  # before the next P wave
    peak = off + 40 + int(np.argmax(size[off + 40 : last]))
    slope = np.gradient(size)
    fall = peak + int(np.argmin(slope[peak : peak + 60]))
    if slope[fall] > -1e-4:
        raise ValueError("the T wave is too flat to find its end")
    end = min(fall - size[fall] / slope[fall], beat.shape[1] - 20.0)
    if not atria:
        return Ends(None, None, on, off, end)
    lead = gaussian_filter1d(level[1] + 0.5 * level[0], 3)
    slope_p = np.gradient(lead)
    first = max(on - 120, 45)
    top = first + int(np.argmax(lead[first : on - 18]))
    rise, drop = (
        top - 40 + int(np.argmax(slope_p[top - 40 : top])),
        top + int(np.argmin(slope_p[top : min(top + 40, on)])),
    )
    before, after = lead[max(top - 75, 0) : top - 35].mean(), lead[on - 6 : on].mean()
    if lead[top] - max(before, after) < 0.025 or slope_p[rise] <= 0 or slope_p[drop] >= 0:
        raise ValueError("no P wave was found before the QRS complex")
    p_on, p_off = rise - (lead[rise] - before) / slope_p[rise], drop - (lead[drop] - after) / slope_p[drop]
    p_on, p_off = max(p_on, 16.0), min(p_off, on + 2.0)
    if not (35 < on - p_on < 150 and 22 < p_off - p_on < 85):
        raise ValueError(
            f"the P wave seems to last {2 * (p_off - p_on):.0f} ms and to begin {2 * (on - p_on):.0f} ms before QRS"
        )
    return Ends(float(p_on), float(p_off), on, off, float(end))
