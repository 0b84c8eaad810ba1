"""One heart beat, with the PR, QRS and QT interval and the frontal axis that were asked for."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..leads import derive_limb
from .dipole import Wave, frontal_axis, turn_to_axis
from .person import Person


class Speed(NamedTuple):
    """How fast, as a share of its fastest, the eight leads together move where the QRS complex begins or ends.

    own: to the simulator. low, high: to readers who are more and less patient, and who are to
        agree nearly (`with_clear_ends`).
    """

    own: float
    low: float
    high: float


PLAIN = Speed(0.05, 0.04, 0.075)
SLURRED = Speed(0.06, 0.05, 0.12)  # readers do not wait long for the end of a QRS complex that is slow by nature
AGREED = 0.08  # of the QRS duration: this near are the ends at two speeds
CHANGES = tuple((weight, reach) for weight in (1.25, 0.75, 1.5, 0.5, 1.75, 0.25, 2.0, 0.0) for reach in (0.2, 0.3))
GRID = np.arange(-0.2, 1.6, 0.002)  # of the JT interval: where the end of the T wave is looked for


@dataclass(frozen=True, eq=False)
class Parts:
    """What a beat is made of, before it is put together. States change these.

    p: in its own time, 0 = onset, 1 = end; None: no P wave. qrs: in s. t: 0 = end of QRS, 1 = about the end of T.
    qrs_off: the speed at which the QRS complex is over.
    """

    p: Wave | None
    qrs: Wave
    t: Wave
    p_ms: float
    pr_ms: float
    qrs_ms: float
    qtc_ms: float
    qrs_off: Speed = PLAIN


@dataclass(frozen=True, eq=False)
class Beat:
    """A beat put together: waves in s from QRS onset, the intervals that they have, and the beats/min that it is of."""

    p: Wave | None
    qrs: Wave
    t: Wave
    pr_ms: float
    qrs_ms: float
    qt_ms: float
    axis_deg: float
    heart_rate: float


def normal_parts(person: Person) -> Parts:
    """The person's own normal beat, QRS and T turned in the frontal plane until the axis is `person.axis_deg`."""
    qrs, t = person.qrs, person.t
    for _ in range(2):  # once more if the ends had to be cleared, which moves the axis by a degree or two
        qrs = lasting(qrs, person.qrs_field, person.qrs_ms)
        late = t.moved(person.qrs_ms / 1000, (person.qtc_ms - person.qrs_ms) / 1000 / t_end(t, person.t_field))
        turn = turn_to_axis(area_within(qrs + late, person.qrs_ms), person.qrs_field, person.axis_deg)
        turned, t = qrs.turned(turn), t.turned(turn)
        qrs = with_clear_ends(turned, person.qrs_field, PLAIN)
        if qrs is turned:
            break
    qrs = lasting(qrs, person.qrs_field, person.qrs_ms)
    return Parts(person.p, qrs, t, person.p_ms, person.pr_ms, person.qrs_ms, person.qtc_ms)


def area_within(waves: Wave, ms: float) -> np.ndarray:
    """Area (3,) in mV s of what a reader finds in the `ms` of a QRS complex, the beginning
    of the ST segment included."""
    time = np.linspace(0, ms / 1000, 101)
    return waves(time).mean(1) * ms / 1000


def lasting(qrs: Wave, field: np.ndarray, ms: float, off_speed: float = PLAIN.own) -> Wave:
    """A QRS complex moved and stretched so that it begins at 0 and, measured in the leads, lasts `ms`."""
    on, off = qrs_ends(qrs, field, PLAIN.own, off_speed)
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


def heights_at(rate: float) -> tuple[float, float]:
    """How high P and T are at `rate` beats/min, beside those at 70.

    In normal sinus rhythm of PTB-XL's training folds T in V5 is 0.44 mV at 50/min and 0.28 at 100, P in II 0.15 and
    0.20: about the inverse root of the rate, and its power of 0.6.
    """
    times = min(max(rate, 45.0), 150.0) / 70.0
    return times**0.6, times**-0.5


def put_together(parts: Parts, person: Person, rate: float, clear: bool = True) -> Beat:
    """A beat at a mean rate in beats/min: each wave stretched until its measured ends are where they were asked to be.

    clear: the ends of QRS may be changed until readers agree about them (`with_clear_ends`).
    """
    qrs, t, p = parts.qrs, parts.t, parts.p
    if clear:
        qrs = with_clear_ends(qrs, person.qrs_field, parts.qrs_off)
    qrs = lasting(qrs, person.qrs_field, parts.qrs_ms, parts.qrs_off.own)
    qt_ms, pr_ms = qt_at(parts.qtc_ms, rate), pr_at(parts.pr_ms, rate)
    p_height, t_height = heights_at(rate)
    jt = (qt_ms - parts.qrs_ms) / 1000
    t = t.moved(parts.qrs_ms / 1000, jt / t_end(t, person.t_field)).scaled(t_height)
    if p is not None:
        start, stop = p_ends(p, person.p_field)
        stretch = min(parts.p_ms, pr_ms - 5) / 1000 / (stop - start)
        p = p.moved(-pr_ms / 1000 - start * stretch, stretch).scaled(p_height)
    axis = frontal_axis(area_within(qrs + t, parts.qrs_ms), person.qrs_field)
    return Beat(p, qrs, t, pr_ms, parts.qrs_ms, qt_ms, axis, rate)


def with_clear_ends(qrs: Wave, field: np.ndarray, off: Speed) -> Wave:
    """A QRS complex whose beginning and end readers agree about.

    Some begin or end with a wave so slow that one reader counts it and the next does not, 10 to 20 ms apart. The
    forces of the outer fifth, or 0.3, are then made larger (all readers count it) or smaller (none does): of what
    brings readers together, that which moves the end least; if nothing does, what leaves them nearest. off: speeds at
    the end; at the beginning `PLAIN`.
    """
    for side, speed in ((0, PLAIN), (1, off)):
        gap = apart(qrs, field, speed, side)
        if gap < AGREED:
            continue
        ends = qrs_ends(qrs, field)
        inward = (qrs.centres - ends[0]) / (ends[1] - ends[0])
        inward = 1 - inward if side else inward
        tried = [(gap, 0.0, qrs)]
        for weight, reach in CHANGES:
            changed = qrs.scaled(1 + (weight - 1) / (1 + np.exp((inward - reach) / 0.03)))
            moved = abs(qrs_ends(changed, field)[side] - ends[side])
            tried.append((max(apart(changed, field, speed, side), AGREED), moved, changed))
        qrs = min(tried, key=lambda x: x[:2])[2]
    return qrs


def apart(qrs: Wave, field: np.ndarray, speed: Speed, side: int) -> float:
    """How far apart readers are about the beginning (side 0) or end (1) of a QRS complex,
    as a share of its duration."""
    time, moving = qrs_speed(qrs, field)
    wide, narrow = (time[moving > share][[0, -1]] for share in (speed.low, speed.high))
    return abs(wide[side] - narrow[side]) / (wide[1] - wide[0])


def qrs_ends(
    wave: Wave, field: np.ndarray, on_speed: float = PLAIN.own, off_speed: float = PLAIN.own
) -> tuple[float, float]:
    """First and last time in s when the eight leads together move faster than these shares of their fastest."""
    time, speed = qrs_speed(wave, field)
    return float(time[np.argmax(speed > on_speed)]), float(time[np.flatnonzero(speed > off_speed)[-1]])


def qrs_speed(wave: Wave, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times in s, and how fast the eight leads together move then, as a share of their fastest."""
    time = np.arange(*wave.span(), 0.0005)
    speed = np.linalg.norm(np.gradient(field @ wave(time), axis=1), axis=0)
    return time, speed / speed.max()


def t_end(wave: Wave, field: np.ndarray) -> float:
    """Where the steepest tangent after the peak of the T wave meets the baseline (Lepeschkin and
    Surawicz, Circulation 1952; 6:378).

    Of all twelve leads together. The last peak that counts (0.4 of the highest), where the T wave has two phases.
    """
    one, two, *chest = field @ wave(GRID)
    size = np.linalg.norm([*derive_limb(one, two).values(), *chest], axis=0)
    size = np.where(GRID > 0.3, size, 0.0)
    peaks = 1 + np.flatnonzero((size[1:-1] >= size[:-2]) & (size[1:-1] > size[2:]) & (size[1:-1] > 0.4 * size.max()))
    peak = int(peaks[-1])
    slope = np.gradient(size, GRID)
    steepest = peak + int(np.argmin(slope[peak:]))
    return float(GRID[steepest] - size[steepest] / slope[steepest])


def p_ends(wave: Wave, field: np.ndarray) -> tuple[float, float]:
    """First and last time when the P wave is higher than exp(-2) of its peak, which is two widths
    from the centre of one bump."""
    size = np.linalg.norm(field @ wave(GRID), axis=0)
    high = np.flatnonzero(size > np.exp(-2) * size.max())
    return float(GRID[high[0]]), float(GRID[high[-1]])
