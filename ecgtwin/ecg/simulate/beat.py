"""One heart beat, with the PR, QRS and QT interval and the frontal axis that were asked for."""

from dataclasses import dataclass

import numpy as np

from .dipole import Wave, frontal_axis, turn_to_axis
from .person import Person

QRS_SPEED = 0.05  # of the fastest: where the QRS complex begins and ends
GRID = np.arange(-0.2, 1.6, 0.002)  # of the JT interval: where the end of the T wave is looked for


@dataclass(frozen=True, eq=False)
class Parts:
    """What a beat is made of, before it is put together. States change these.

    p: in its own time, 0 = onset, 1 = end; None: no P wave. qrs: in s. t: 0 = end of QRS, 1 = about the end of T.
    """

    p: Wave | None
    qrs: Wave
    t: Wave
    p_ms: float
    pr_ms: float
    qrs_ms: float
    qtc_ms: float


@dataclass(frozen=True, eq=False)
class Beat:
    """A beat put together: waves in s from QRS onset, and the intervals that they have."""

    p: Wave | None
    qrs: Wave
    t: Wave
    pr_ms: float
    qrs_ms: float
    qt_ms: float
    axis_deg: float


def normal_parts(person: Person) -> Parts:
    """The person's own normal beat, QRS and T turned in the frontal plane until the axis is `person.axis_deg`."""
    qrs = lasting(person.qrs, person.qrs_field, person.qrs_ms)
    t = person.t.moved(person.qrs_ms / 1000, (person.qtc_ms - person.qrs_ms) / 1000 / t_end(person.t, person.t_field))
    turn = turn_to_axis(area_within(qrs + t, person.qrs_ms), person.qrs_field, person.axis_deg)
    qrs = lasting(qrs.turned(turn), person.qrs_field, person.qrs_ms)
    return Parts(person.p, qrs, person.t.turned(turn), person.p_ms, person.pr_ms, person.qrs_ms, person.qtc_ms)


def area_within(waves: Wave, ms: float) -> np.ndarray:
    """Area (3,) in mV s of what a reader finds in the `ms` of a QRS complex, the beginning of the ST segment included."""
    time = np.linspace(0, ms / 1000, 101)
    return waves(time).mean(1) * ms / 1000


def lasting(qrs: Wave, field: np.ndarray, ms: float) -> Wave:
    """A QRS complex moved and stretched so that it begins at 0 and, measured in the leads, lasts `ms`."""
    on, off = qrs_ends(qrs, field)
    stretch = ms / 1000 / (off - on)
    return qrs.moved(-on * stretch, stretch)


def qt_at(qtc_ms: float, rate: float) -> float:
    """QT in ms at `rate` beats/min: Fridericia's cube root, Acta Med Scand 1920; 53:469, of the mean RR interval.

    The mean, because QT follows the rate over a minute or more, not from beat to beat.
    """
    return qtc_ms * (60.0 / rate) ** (1 / 3)


def pr_at(pr_ms: float, rate: float) -> float:
    """PR in ms at `rate` beats/min: 0.2 ms shorter for each beat/min over 60, never by more than a fifth."""
    return max(pr_ms - 0.2 * (rate - 60), 0.8 * pr_ms)


def put_together(parts: Parts, person: Person, rate: float) -> Beat:
    """A beat at a mean rate in beats/min: each wave stretched until its measured ends are where they were asked to be."""
    qrs, t, p = lasting(parts.qrs, person.qrs_field, parts.qrs_ms), parts.t, parts.p
    qt_ms, pr_ms = qt_at(parts.qtc_ms, rate), pr_at(parts.pr_ms, rate)
    jt = (qt_ms - parts.qrs_ms) / 1000
    t = t.moved(parts.qrs_ms / 1000, jt / t_end(t, person.t_field))
    if p is not None:
        start, stop = p_ends(p, person.p_field)
        stretch = min(parts.p_ms, pr_ms - 5) / 1000 / (stop - start)
        p = p.moved(-pr_ms / 1000 - start * stretch, stretch)
    return Beat(p, qrs, t, pr_ms, parts.qrs_ms, qt_ms, frontal_axis(area_within(qrs + t, parts.qrs_ms), person.qrs_field))


def qrs_ends(wave: Wave, field: np.ndarray) -> tuple[float, float]:
    """First and last time in s when the eight leads together move faster than `QRS_SPEED` of their fastest."""
    start, stop = wave.span()
    time = np.arange(start, stop, 0.0005)
    speed = np.linalg.norm(np.gradient(field @ wave(time), axis=1), axis=0)
    fast = np.flatnonzero(speed > QRS_SPEED * speed.max())
    return float(time[fast[0]]), float(time[fast[-1]])


def t_end(wave: Wave, field: np.ndarray) -> float:
    """Where the steepest tangent after the peak of the T wave meets the baseline (Lepeschkin and Surawicz, Circulation 1952; 6:378).

    The last peak that counts (0.4 of the highest), where the T wave has two phases.
    """
    size = np.linalg.norm(field @ wave(GRID), axis=0)
    size = np.where(GRID > 0.3, size, 0.0)
    peaks = 1 + np.flatnonzero((size[1:-1] >= size[:-2]) & (size[1:-1] > size[2:]) & (size[1:-1] > 0.4 * size.max()))
    peak = int(peaks[-1])
    slope = np.gradient(size, GRID)
    steepest = peak + int(np.argmin(slope[peak:]))
    return float(GRID[steepest] - size[steepest] / slope[steepest])


def p_ends(wave: Wave, field: np.ndarray) -> tuple[float, float]:
    """First and last time when the P wave is higher than exp(-2) of its peak, which is two widths from the centre of one bump."""
    size = np.linalg.norm(field @ wave(GRID), axis=0)
    high = np.flatnonzero(size > np.exp(-2) * size.max())
    return float(GRID[high[0]]), float(GRID[high[-1]])

