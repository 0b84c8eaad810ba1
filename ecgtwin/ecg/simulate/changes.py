"""What each state of the heart changes in a person's beat. Everything that is not named in a
function stays the person's own.

Where conduction changes, the T wave follows by one rule: the ventricular gradient, the area of QRS and T together,
belongs to the muscle and not to the order in which it is activated (Wilson, Macleod, Barker and Johnston, Am Heart J
1934; 10:46). What the QRS area gains, the T area loses: the discordant ST and T of bundle branch block, pacing and
ectopic beats come out of this.
"""

from dataclasses import replace

import numpy as np

from .beat import SLURRED, Parts, lasting, qrs_speed
from .dipole import DOWER, Wave, turn_to_axis, wave
from .person import Person

SECONDARY = wave(
    (0.10, 0.13, (0.25,) * 3), (0.34, 0.14, (0.5,) * 3), (0.55, 0.12, (0.8,) * 3), (0.73, 0.11, (0.95,) * 3)
)
"""How a T wave that is secondary to the QRS runs from the end of QRS (0) to the end of T (1); each axis alike."""
PLATEAU = wave(*((0.09 * i, 0.07, (0.52,) * 3) for i in range(8)))
"""An ST segment lifted to 1 that comes down under the T wave."""


FRAGMENT = 0.18
"""How large a notch of a slowly conducted QRS is on each axis, at the most, of the person's largest dipole."""


def size(person: Person) -> float:
    """The largest dipole of the person's normal QRS, mV."""
    return float(np.linalg.norm(person.qrs(np.linspace(0, 1, 201)), axis=0).max())


def placed(field: np.ndarray, other: np.ndarray = DOWER) -> np.ndarray:
    """The dipole that one lead field sees as another sees a given dipole: (3, 3); from the
    ideal chest to this person's.

    By least squares over the leads, I and II counting three times, as they are six of the twelve.
    """
    weight = np.array([3.0, 3.0, 1, 1, 1, 1, 1, 1])[:, None]
    return np.linalg.pinv(weight * field) @ (weight * other)


def along(shape: Wave, vector: np.ndarray) -> Wave:
    """`shape`, whose three axes are alike, laid along a vector in mV."""
    return Wave(shape.centres, shape.widths, shape.vectors * np.asarray(vector))


def aimed(qrs: Wave, axis: float, person: Person) -> Wave:
    """A QRS complex turned in the frontal plane to an axis in degrees."""
    return qrs.turned(turn_to_axis(qrs.area(), person.qrs_field, axis))


def conducted(
    parts: Parts, qrs: Wave, ms: float, person: Person, share: float = 1.0, own: float = 1.0, later: float = 0.8
) -> Parts:
    """The beat with another QRS complex of `ms`, and the T wave that `share` of the
    ventricular gradient's rule asks for.

    own: how much of the person's own T wave is left beneath it. later: how much of what QRS
        lasts longer QT lasts longer.
    """
    qrs = lasting(qrs, person.qrs_field, ms)
    jt = (parts.qtc_ms - parts.qrs_ms) / 1000
    gained = placed(person.t_field, person.qrs_field) @ (qrs.area() - parts.qrs.area())
    t = parts.t.scaled(own) + along(SECONDARY, -share * gained / (jt * SECONDARY.area()))
    return replace(parts, qrs=qrs, t=t, qrs_ms=ms, qtc_ms=parts.qtc_ms + later * max(ms - parts.qrs_ms, 0.0))


def first_degree_block(person: Person, parts: Parts) -> Parts:
    """Slow conduction to the ventricles: PR over 200 ms."""
    return replace(parts, pr_ms=person.own("first degree PR", 208, 246))


def left_bundle_block(person: Person, parts: Parts) -> Parts:
    """The left ventricle is activated from the right, late and slowly: broad and notched to the
    left and back, no septal q."""
    peak = size(person) * person.own("LBBB size", 0.6, 0.86)
    front, notch = person.own("LBBB r", -0.22, 0.1), person.own("LBBB notch", 0.31, 0.48)
    qrs = (
        wave(
            (0.09, 0.060, (0.09, 0.10, front)),
            (0.22, 0.075, (0.31, 0.28, 0.88)),
            (0.35, 0.075, (0.57, 0.25, 1.43)),
            (0.48, 0.070, (notch, 0.0, 1.16)),
            (0.62, 0.080, (0.68, -0.24, 0.83)),
            (0.76, 0.070, (0.43, -0.30, 0.33)),
            (0.88, 0.060, (0.09, -0.14, 0.06)),
        )
        .scaled(peak)
        .turned(placed(person.qrs_field))
    )
    axis = np.clip(person.axis_deg - person.own("LBBB axis", 10, 54), -60, 60)
    ms = person.own("LBBB width", 130, 160)
    qrs = aimed(lasting(qrs + fragments(person, "LBBB", peak), person.qrs_field, ms), float(axis), person)
    changed = conducted(parts, qrs, ms, person, share=0.85, own=0.5, later=0.5)
    return replace(changed, pr_ms=parts.pr_ms + person.own("LBBB PR", 5, 35))


def fragments(person: Person, name: str, peak: float) -> Wave:
    """What conduction from cell to cell, around islands that lie in the way, adds to a smooth front: small notches and
    slurs of 8 to 15 ms, the person's own. Without them a wide QRS has a third of the real power at 20 to 40 Hz."""
    return wave(
        *(
            (
                person.own(f"{name} notch {k} at", 0.17 + 0.12 * k, 0.27 + 0.12 * k),
                person.own(f"{name} notch {k} for", 0.022, 0.045),
                tuple(peak * person.own(f"{name} notch {k} {axis}", -FRAGMENT, FRAGMENT) for axis in "xyz"),
            )
            for k in range(6)
        )
    )


def right_bundle_block(person: Person, parts: Parts) -> Parts:
    """The left ventricle as ever; then the right ventricle alone, late and slowly, to the right and the front."""
    peak = size(person) * person.own("RBBB size", 0.85, 1.45)
    ms = person.own("RBBB width", 121.5, 149)
    down = person.own("RBBB y", -0.3, 0.02)
    start, left = (
        parts.qrs_ms / 1000,
        (ms - 0.32 * parts.qrs_ms) / 1000,
    )  # s: a third of the own QRS is over when it begins
    begin = 0.32 * start
    late = (
        wave(
            (begin + 0.24 * left, 0.11 * left, (-0.12, down / 2, -0.34)),
            (begin + 0.50 * left, 0.13 * left, (-0.24, down, -0.42)),
            (begin + 0.75 * left, 0.13 * left, (-0.16, down / 2, -0.22)),
        )
        .scaled(peak)
        .turned(placed(person.qrs_field))
    )
    own = parts.qrs.scaled(person.own("RBBB own", 0.58, 0.92))  # without the right ventricle's early part
    changed = conducted(parts, own + late, ms, person, share=0.8)
    return replace(changed, pr_ms=parts.pr_ms + person.own("RBBB PR", 5, 35))


def left_anterior_block(person: Person, parts: Parts) -> Parts:
    """First down and to the right, then up and to the left: axis beyond -45 degrees, small q in I
    and aVL, r in II, III, aVF."""
    peak, unit = size(person), parts.qrs_ms / 1000
    late = 1 / (1 + np.exp(-(parts.qrs.centres / unit - 0.40) / 0.06))
    vectors = parts.qrs.vectors.copy()
    lengths = np.linalg.norm(vectors[:, :2], axis=1)
    last = 1 / (1 + np.exp(-(parts.qrs.centres / unit - 0.66) / 0.06))
    vectors[:, 0] += (0.10 * late - 0.35 * last) * lengths
    vectors[:, 1] = (1 - late) * vectors[:, 1] - late * (0.30 * np.abs(vectors[:, 1]) + 0.55 * lengths)
    qrs = Wave(parts.qrs.centres, parts.qrs.widths, vectors)
    qrs += wave((0.2 * unit, 0.08 * unit, (-0.10, 0.22, 0.0))).scaled(peak).turned(placed(person.qrs_field))
    qrs = aimed(qrs, person.own("LAFB axis", -62, -36), person)
    grown = 0.87 * limbs(person.qrs_field, qrs, unit) / limbs(person.qrs_field, parts.qrs, unit)
    unseen = np.cross(*person.qrs_field[:2])
    unseen /= np.linalg.norm(unseen)
    qrs = qrs.turned(np.eye(3) / grown + (1.2 - 1 / grown) * np.outer(unseen, unseen))  # the limb leads hardly grow
    return conducted(parts, qrs, parts.qrs_ms + person.own("LAFB wider", 4, 14), person, share=0.3)


def limbs(field: np.ndarray, qrs: Wave, seconds: float) -> float:
    """The largest QRS complex of the limb leads, from its lowest to its highest, mV."""
    one, two = field[:2] @ qrs(np.linspace(0, seconds, 101))
    return max(np.ptp(x) for x in (one, two, two - one, (one + two) / 2, one - two / 2, two - one / 2))


def hypertrophy(person: Person, parts: Parts) -> Parts:
    """Left ventricular hypertrophy: larger forces to the left (Sokolow and Lyon's S V1 + R V5 3.1 to 4.5 mV); in four
    of ten people with strain, ST and T against them."""
    wanted, left, back = (
        person.own("Sokolow", 3.1, 4.5),
        person.own("LVH left", 0.5, 0.9),
        person.own("LVH back", 0.3, 0.9),
    )
    time = np.linspace(0, parts.qrs_ms / 1000, 201)
    for growth in np.arange(1.0, 4.0, 0.05):  # until it is as large as wanted
        vectors = parts.qrs.vectors * (1 + np.array([left, 0.2, back]) * (growth - 1))
        vectors[:, 2] = np.where(
            vectors[:, 2] < 0, 0.8 * parts.qrs.vectors[:, 2], vectors[:, 2]
        )  # the septum does not grow
        qrs = replace(parts.qrs, vectors=vectors)
        leads = person.qrs_field @ qrs(time)
        if -leads[2].min() + max(leads[6].max(), leads[7].max()) > wanted:
            break
    main = np.array([1.0, 0.35, 0.75]) * np.abs(qrs.area() / parts.qrs_ms * 1000)
    share = person.own("strain", -1.2, 0.8)
    share = 0.65 + 0.5 * share if share > 0 else 0.0  # a T wave in between would be flat
    strain = -share * 0.36 * placed(person.t_field) @ main / np.linalg.norm(main)
    t = parts.t.scaled(0.45 if share else 0.95) + along(SECONDARY, strain)
    return replace(parts, qrs=qrs, t=t, qrs_ms=parts.qrs_ms + 8, qtc_ms=parts.qtc_ms + 12)


REGIONS = {"anterior": (0.35, 0.05, -0.90), "inferior": (-0.25, 0.95, 0.15), "lateral": (0.60, 0.25, 0.50)}
"""Where each wall of the left ventricle that an old infarction takes lies from the middle of the heart (X, Y, Z)."""
INJURY = {"anterior": (0.35, -0.20, -0.90), "inferior": (-0.25, 0.95, 0.15), "lateral": (0.85, -0.40, 0.20)}
"""Whereto acute injury of each wall lifts the ST segment."""
Q_LEAD = {"anterior": (3, 0.30, 0.70), "inferior": ("aVF", 0.20, 0.42), "lateral": (7, 0.10, 0.22)}
"""Where an old infarction of each wall makes its Q wave: row of the lead field or aVF, and how deep, from and to mV."""
LOSS = {"anterior": (0.85, 1.0, 0.66), "inferior": (0.65, 0.95, 0.52), "lateral": (0.30, 0.55, 0.60)}
"""Which share of its pull the dead wall loses, from and to, and until when, as a share of QRS."""
TURNED = {"anterior": (-0.5, 0.6), "inferior": (0.3, 1.1), "lateral": (0.2, 1.0)}
"""Which share of what T pulls towards the wall is lost (over 1: turned over)."""
LIFT = {"anterior": (0.20, 0.36), "inferior": (0.26, 0.44), "lateral": (0.22, 0.36)}
"""ST dipole of acute injury, mV."""


def wall_of(
    person: Person, region: str, field: np.ndarray, walls: dict[str, tuple[float, ...]] = REGIONS
) -> np.ndarray:
    """The direction, of length 1, in which a lead field sees the part of a wall that this person would lose."""
    spot = [person.own(f"{region} spot {axis}", -0.18, 0.18) for axis in "xyz"]
    direction = placed(field) @ (np.array(walls[region]) + spot)
    return direction / np.linalg.norm(direction)


def infarcted(region: str):
    """Old infarction: the dead wall no longer pulls; the first 40 ms point away from it (Q waves), its T turns over."""

    def change(person: Person, parts: Parts) -> Parts:
        wall, wall_t = wall_of(person, region, person.qrs_field), wall_of(person, region, person.t_field)
        unit = parts.qrs_ms / 1000
        low, high, until = LOSS[region]
        left = _without(parts.qrs, wall, unit, person.own(region + " loss", low, high), until)
        dead = along(wave((0.18 * unit, 0.09 * unit, (0.75,) * 3), (0.32 * unit, 0.09 * unit, (0.9,) * 3)), -wall)
        lead, low, high = Q_LEAD[region]
        view = person.qrs_field[1] - person.qrs_field[0] / 2 if lead == "aVF" else person.qrs_field[lead]
        early = np.linspace(0, 0.36 * unit, 60)
        for depth in np.arange(0.1, 1.5, 0.02):  # mV, until the Q wave is as deep as wanted
            qrs = left + dead.scaled(depth)
            if -(view @ qrs(early)).min() > person.own(region + " Q", low, high):
                break
        toward = np.maximum(parts.t.vectors @ wall_t, 0.0)
        turned = person.own(region + " T", *TURNED[region])
        t = replace(parts.t, vectors=0.67 * (parts.t.vectors - turned * np.outer(toward, wall_t)))
        return replace(parts, qrs=qrs, t=t, qrs_ms=parts.qrs_ms + 4, qtc_ms=parts.qtc_ms + 10)

    return change


def injured(region: str):
    """Acute infarction: the ST segment is lifted towards the wall, down on the other side; T tall; a beginning Q."""

    def change(person: Person, parts: Parts) -> Parts:
        wall, wall_t = (wall_of(person, region, field, INJURY) for field in (person.qrs_field, person.t_field))
        unit = parts.qrs_ms / 1000
        qrs = _without(parts.qrs, wall, unit, person.own(region + " loss", 0.75, 1.0) * 0.5)
        lift = person.own(region + " lift", *LIFT[region])
        t = (
            parts.t
            + along(PLATEAU, lift * wall_t)
            + along(SECONDARY, person.own(region + " tall", 0.1, 0.3) * lift * wall_t)
        )
        return replace(parts, qrs=qrs, t=t)

    return change


def _without(qrs: Wave, wall: np.ndarray, unit: float, share: float, until: float = 0.52) -> Wave:
    """A QRS less `share` of what pulls towards a wall `until` that share of its duration, `unit` in s."""
    early = share / (1 + np.exp((qrs.centres / unit - until) / 0.05))
    return replace(qrs, vectors=qrs.vectors - np.outer(early * np.maximum(qrs.vectors @ wall, 0.0), wall))


def st_depression(person: Person, parts: Parts) -> Parts:
    """Subendocardial: ST down in I, II and V4-V6, a little up in aVR; 0.03 to 0.11 mV below the
    baseline, whatever it was before."""
    toward, t = placed(person.t_field) @ [0.85, 0.45, 0.10], parts.t.scaled(0.75)
    middle = np.array([60 / (parts.qtc_ms - parts.qrs_ms)])  # 60 ms after the end of QRS
    seen = person.t_field[[1, 6, 7]].mean(0)  # by II, V5 and V6 together
    missing = person.own("ST depression", 0.03, 0.11) + (seen @ t(middle))[0]
    return replace(
        parts,
        qtc_ms=parts.qtc_ms + 10,
        t=t + along(PLATEAU, -max(missing, 0.04) / (seen @ along(PLATEAU, toward)(middle))[0] * toward),
    )


def t_inversion(person: Person, parts: Parts) -> Parts:
    """The T wave the other way up; the ST segment stays."""
    late = 1 / (1 + np.exp(-(parts.t.centres - 0.3) / 0.05))
    return replace(parts, t=parts.t.scaled(1 - late * person.own("T inversion", 1.3, 1.8)))


def low_voltage(person: Person, parts: Parts) -> Parts:
    """QRS about 0.6 mV in the limb leads: readers say so from 0.7 mV down. To the front and back it is less small."""
    leads = person.qrs_field @ parts.qrs(np.linspace(0, parts.qrs_ms / 1000, 201))
    across = limbs(person.qrs_field, parts.qrs, parts.qrs_ms / 1000)
    factor = person.own("low voltage", 1.1, 1.4) * min(1.0, 0.5 / across, 1.5 / max(np.ptp(x) for x in leads[2:]))
    return replace(
        parts,
        qrs=parts.qrs.turned(np.diag([factor, factor, factor**0.4])),
        t=parts.t.scaled(np.sqrt(factor)),
        p=parts.p and parts.p.scaled(0.85),
    )


def long_qt(person: Person, parts: Parts) -> Parts:
    """Repolarisation late: QTc 478 to 530 ms."""
    return replace(parts, qtc_ms=person.own("long QTc", 478, 530), t=parts.t.scaled(0.9))


def pre_excitation(person: Person, parts: Parts) -> Parts:
    """A bypass besides the AV node: short PR, a delta wave that runs into the person's own QRS,
    T following the gradient."""
    pr = person.own("bypass PR", 92, 118)
    ahead = np.clip((parts.pr_ms - pr) * 0.75, 28, 55) / 1000  # s by which the bypass is first
    routes = (
        (0.75, 0.35, -0.55),
        (0.70, -0.55, -0.35),
        (0.85, 0.25, 0.45),
    )  # left lateral, posteroseptal, right free wall
    delta = placed(person.qrs_field) @ routes[int(person.own("bypass", 0, 3 - 1e-9))] * size(person)
    rise = wave(
        *(
            (f * ahead, 0.30 * ahead, (h,) * 3)
            for f, h in ((0.55, 0.12), (0.90, 0.22), (1.30, 0.34), (1.75, 0.36), (2.2, 0.22))
        )
    )
    for growth in np.arange(1.0, 2.0, 0.1):  # until the delta wave runs into the own QRS without a pause
        qrs = along(rise, growth * delta) + parts.qrs.scaled(0.88).moved(ahead)
        if longest_pause(qrs, person.qrs_field, ahead + 0.03) < 0.008:
            break
    return replace(conducted(parts, qrs, parts.qrs_ms + 1000 * ahead, person), pr_ms=pr, qrs_off=SLURRED)


def longest_pause(qrs: Wave, field: np.ndarray, until: float) -> float:
    """The longest time in s, begun before `until`, in which a QRS complex is so slow (0.07 of its fastest)
    that it seems to begin anew."""
    time, speed = qrs_speed(qrs, field)
    moving = time[speed > 0.07]
    return float(np.diff(moving)[moving[:-1] < until].max())


def paced(person: Person, parts: Parts) -> Parts:
    """Stimulated at the apex of the right ventricle: broad, to the left, up and back."""
    x, y, notch = (
        person.own("paced x", -0.3, 0.7),
        person.own("paced y", -1.0, -0.3),
        person.own("paced notch", 0.85, 1.25),
    )
    qrs = (
        wave(
            (0.09, 0.055, (0.10, -0.10, -0.05)),
            (0.21, 0.060, (0.8 * x, 0.70 * y, 0.44)),
            (0.34, 0.065, (x, notch * y, 0.72)),
            (0.47, 0.060, (x + 0.05, (2.0 - notch) * y, 0.60)),
            (0.60, 0.065, (x + 0.15, 0.95 * y, 0.62)),
            (0.73, 0.060, (x, 0.45 * y, 0.30)),
            (0.86, 0.055, (0.05, 0.12 * y, 0.10)),
        )
        .scaled(size(person) * person.own("paced size", 0.65, 1.0))
        .turned(placed(person.qrs_field))
    )
    qrs += fragments(person, "paced", size(person))
    tracked = person.own("pacemaker tracks P", 0, 1) > 0.55
    changed = conducted(parts, qrs, person.own("paced width", 156, 190), person, share=0.45, own=0.5, later=1.0)
    return replace(changed, p=parts.p if tracked else None, pr_ms=person.own("AV delay", 165, 210))


def spike(person: Person) -> Wave:
    """The pacemaker's pulse, just before the QRS complex."""
    height = np.exp(person.own("spike height", np.log(0.25), np.log(2.2)))
    direction = np.array(
        [person.own("spike x", -0.2, 1.0), person.own("spike y", 0.3, 1.0), person.own("spike z", -0.8, 0.3)]
    )
    pulse = height * direction / np.linalg.norm(direction)
    return wave((-0.009, 0.0012, tuple(pulse)), (-0.0045, 0.0016, tuple(-0.15 * pulse))).turned(
        placed(person.qrs_field)
    )


def ventricular_ectopic(person: Person, parts: Parts) -> Parts:
    """A beat that starts in the muscle of either ventricle: broad, large, notched, no P wave; where
    from is the person's own."""
    side = (
        1.0 if person.own("ectopic side", 0, 1) < 0.6 else -1.0
    )  # from the right ventricle to the left and back, or the reverse
    y = person.own("ectopic y", -0.9, 1.0)
    qrs = (
        wave(
            (0.12, 0.060, (0.10 * side, 0.10 * y, 0.10 * side)),
            (0.25, 0.065, (0.35 * side, 0.65 * y, 0.65 * side)),
            (0.39, 0.065, (0.60 * side, 1.15 * y, 1.15 * side)),
            (0.52, 0.065, (0.75 * side, 0.85 * y, 0.75 * side)),
            (0.66, 0.065, (0.70 * side, 0.60 * y, 0.50 * side)),
            (0.80, 0.060, (0.25 * side, 0.20 * y, 0.15 * side)),
        )
        .scaled(size(person) * person.own("ectopic size", 0.9, 1.3))
        .turned(placed(person.qrs_field))
    )
    return replace(conducted(parts, qrs, person.own("ectopic width", 138, 172), person, share=0.75, own=0.5), p=None)


def atrial_ectopic(person: Person, parts: Parts) -> Parts:
    """A beat from elsewhere in the atria: another P wave, the same QRS."""
    if parts.p is None:
        return parts
    mix = np.diag([person.own("ectopic P x", -0.5, 0.8), person.own("ectopic P y", -0.8, 0.7), 1.0])
    return replace(
        parts, p=parts.p.turned(mix), p_ms=0.85 * parts.p_ms, pr_ms=parts.pr_ms + person.own("ectopic PR", -15, 15)
    )
