"""Another heart muscle: hypertrophy, infarctions old and acute, low voltage."""

from dataclasses import replace

import numpy as np

from ..beat import Parts
from ..dipole import Wave, wave
from ..person import Person
from .gradient import PLATEAU, SECONDARY, along, limbs, placed


def hypertrophy(person: Person, parts: Parts) -> Parts:
    """Left ventricular hypertrophy: larger forces to the left (Sokolow and Lyon's S V1 + R V5 2.95 to 4.3 mV); in half
    of the people with strain, ST and T against them."""
    wanted, left, back = (
        person.own("Sokolow", 2.95, 4.3),
        person.own("LVH left", 0.42, 0.72),
        person.own("LVH back", 0.12, 0.55),
    )
    time = np.linspace(0, parts.qrs_ms / 1000, 201)
    unseen = np.cross(*person.qrs_field[:2])
    unseen /= np.linalg.norm(unseen)
    limb = 0.93 * np.eye(3) + 0.07 * np.outer(unseen, unseen)  # the limb leads grow less
    for growth in np.arange(1.0, 4.0, 0.05):  # until it is as large as wanted
        vectors = parts.qrs.vectors * (1 + np.array([left, 0.3, back]) * (growth - 1))
        vectors[:, 2] = np.where(
            vectors[:, 2] < 0, 0.55 * parts.qrs.vectors[:, 2], vectors[:, 2]
        )  # the septum does not grow
        qrs = replace(parts.qrs, vectors=vectors).turned(limb)
        leads = person.qrs_field @ qrs(time)
        if -leads[2].min() + max(leads[6].max(), leads[7].max()) > wanted:
            break
    main = np.array([1.0, 0.35, 0.75]) * np.abs(qrs.area() / parts.qrs_ms * 1000)
    share = person.choice("strain", -0.85, 0.8)
    share = 0.65 + 0.5 * share if share > 0 else person.own("ST in LVH", 0.0, 0.25)  # a T wave in between would be flat
    strain = -share * 0.36 * placed(person.t_field) @ main / np.linalg.norm(main)
    t = parts.t.scaled(0.45 if share > 0.5 else 0.9) + along(SECONDARY, strain)
    return replace(parts, qrs=qrs, t=t, qrs_ms=parts.qrs_ms + 3, qtc_ms=parts.qtc_ms + 2)


REGIONS = {
    "anterior": (-0.60, -0.20, -0.95),
    "inferior": (-0.05, 0.95, -0.2),
    "lateral": (0.50, 0.33, 0.68),
    "anteroseptal": (0.50, 0.05, -0.80),
}
"""Where each wall of the left ventricle that an old infarction takes lies from the middle of the heart (X, Y, Z)."""
INJURY = {
    "anterior": (0.35, -0.20, -0.90),
    "inferior": (-0.25, 0.95, 0.15),
    "lateral": (0.85, -0.40, 0.20),
    "anteroseptal": (0.20, -0.35, -0.90),
}
"""Whereto acute injury of each wall lifts the ST segment."""
Q_LEAD = {
    "anterior": (3, 0.07, 0.15),
    "inferior": ("aVF", 0.14, 0.34),
    "lateral": (7, 0.10, 0.22),
    "anteroseptal": (3, 0.45, 0.9),
}
"""Where an old infarction of each wall makes its Q wave: row of the lead field or aVF, and how deep, from and to mV."""
LOSS = {
    "anterior": (0.90, 1.0, 0.55),
    "inferior": (0.65, 0.95, 0.52),
    "lateral": (0.50, 0.85, 0.60),
    "anteroseptal": (0.85, 1.0, 0.75),
}
"""Which share of its pull the dead wall loses, from and to, and until when, as a share of QRS."""
TURNED = {"anterior": (-1.0, 0.0), "inferior": (0.3, 1.1), "lateral": (0.5, 1.3), "anteroseptal": (-0.5, 0.6)}
"""Which share of what T pulls towards the wall is lost (over 1: turned over)."""
AWAY = {
    "anterior": (-0.60, -0.20, -0.95),
    "inferior": (-0.05, 0.95, -0.2),
    "lateral": (0.50, 0.33, 0.68),
    "anteroseptal": (-0.1, 0.05, -0.95),
}
"""Away from where the Q wave of each wall points."""
LOWER = {
    "anterior": (0.75, 0.95, 1.0),
    "inferior": (0.6, 0.75, 0.95),
    "lateral": (0.67, 0.67, 0.67),
    "anteroseptal": (0.42, 0.7, 0.9),
}
"""What is left of T along X, Y, Z after each infarction."""
BACK = {"anteroseptal": 1.2}
"""How much larger what pulls to the back becomes, where nothing pulls against it."""
LATER = {"anterior": 2, "inferior": 2, "lateral": 2, "anteroseptal": -5}
"""QTc, ms: what is left of a T wave without its part to the left is read as ending later by itself."""
LIFT = {"anterior": (0.20, 0.36), "inferior": (0.26, 0.44), "lateral": (0.22, 0.36), "anteroseptal": (0.20, 0.36)}
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
        away, unit = wall_of(person, region, person.qrs_field, AWAY), parts.qrs_ms / 1000
        low, high, until = LOSS[region]
        left = _without(parts.qrs, wall, unit, person.own(region + " loss", low, high), until)
        left = left.turned(np.diag([1.0, 1.0, BACK.get(region, 1.0)]))
        dead = along(wave((0.18 * unit, 0.09 * unit, (0.75,) * 3), (0.32 * unit, 0.09 * unit, (0.9,) * 3)), -away)
        lead, low, high = Q_LEAD[region]
        view = person.qrs_field[1] - person.qrs_field[0] / 2 if lead == "aVF" else person.qrs_field[lead]
        early = np.linspace(0, 0.36 * unit, 60)
        for depth in np.arange(0.1, 1.5, 0.02):  # mV, until the Q wave is as deep as wanted
            qrs = left + dead.scaled(depth)
            if -(view @ qrs(early)).min() > person.own(region + " Q", low, high):
                break
        toward = np.maximum(parts.t.vectors @ wall_t, 0.0)
        turned = person.own(region + " T", *TURNED[region])
        t = replace(parts.t, vectors=np.array(LOWER[region]) * (parts.t.vectors - turned * np.outer(toward, wall_t)))
        return replace(parts, qrs=qrs, t=t, qrs_ms=parts.qrs_ms + 1, qtc_ms=parts.qtc_ms + LATER[region])

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
