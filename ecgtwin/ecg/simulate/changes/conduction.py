"""Conduction on other ways: blocks, and the bypass of pre-excitation."""

from dataclasses import replace

import numpy as np

from ..beat import SLURRED, Parts, lasting, qrs_speed
from ..dipole import Wave, wave
from ..person import Person
from .gradient import aimed, along, conducted, fragments, limbs, placed, size


def first_degree_block(person: Person, parts: Parts) -> Parts:
    """Slow conduction to the ventricles: PR over 200 ms."""
    return replace(parts, pr_ms=person.own("first degree PR", 208, 246))


def left_bundle_block(person: Person, parts: Parts) -> Parts:
    """The left ventricle is activated from the right, late and slowly: broad and notched to the
    left and back, no septal q."""
    peak = size(person) * person.own("LBBB size", 0.6, 0.86)
    front, notch = person.own("LBBB r", -0.75, -0.05), person.own("LBBB notch", 0.31, 0.48)
    qrs = (
        wave(
            (0.09, 0.060, (0.09, 0.10, front)),
            (0.22, 0.075, (0.31, 0.28, 1.00)),
            (0.35, 0.075, (0.55, 0.25, 1.66)),
            (0.48, 0.070, (notch, 0.0, 1.34)),
            (0.62, 0.080, (0.68, -0.24, 0.92)),
            (0.76, 0.070, (0.43, -0.30, 0.33)),
            (0.88, 0.060, (0.09, -0.14, 0.06)),
        )
        .scaled(peak)
        .turned(placed(person.qrs_field))
    )
    axis = np.clip(0.45 * person.axis_deg - person.own("LBBB axis", 15, 46), -42, 25)
    ms = person.own("LBBB width", 138, 166)
    qrs = aimed(lasting(qrs + fragments(person, "LBBB", peak), person.qrs_field, ms), float(axis), person)
    # A small or infarcted heart's block still shows deep S waves in V1 and an R wave in V6, as nineteen of twenty do.
    qrs = deep_enough(qrs, 2, -person.qrs_field[2], person.own("LBBB S in V1", 1.05, 1.35), ms)
    qrs = deep_enough(qrs, 0, person.qrs_field[7], person.own("LBBB R in V6", 0.45, 0.65), ms)
    changed = conducted(parts, qrs, ms, person, share=0.85, own=0.3, later=0.5)
    return replace(changed, pr_ms=parts.pr_ms + person.own("LBBB PR", 5, 35))


def deep_enough(qrs: Wave, axis: int, view: np.ndarray, least: float, ms: float) -> Wave:
    """A QRS complex of `ms`, up to twice as large along one axis, until a lead of `view` (3,) reaches `least` mV."""
    time = np.linspace(0, ms / 1000, 101)
    for growth in np.arange(1.0, 2.05, 0.1):
        larger = qrs.turned(np.diag(np.where(np.arange(3) == axis, growth, 1.0)))
        if (view @ larger(time)).max() > least:
            break
    return larger


def right_bundle_block(person: Person, parts: Parts) -> Parts:
    """The left ventricle as ever; then the right ventricle alone, late and slowly, to the right and the front."""
    peak = size(person) * person.own("RBBB size", 0.82, 1.38)
    ms = person.own("RBBB width", 121, 146)
    down = person.own("RBBB y", -0.45, 0.15)
    start, left = (
        parts.qrs_ms / 1000,
        (ms - 0.32 * parts.qrs_ms) / 1000,
    )  # s: a third of the own QRS is over when it begins
    begin = 0.32 * start
    late = (
        wave(
            (begin + 0.22 * left, 0.10 * left, (-0.02, down / 2, -0.42)),
            (begin + 0.46 * left, 0.13 * left, (-0.15, down, -0.57)),
            (begin + 0.75 * left, 0.13 * left, (-0.13, down / 2, -0.32)),
        )
        .scaled(peak)
        .turned(placed(person.qrs_field))
    )
    # Without the right ventricle's early part, which pulls to the right and down.
    own = parts.qrs.turned(person.own("RBBB own", 0.68, 0.96) * np.diag([1.0, person.own("RBBB down", 0.3, 0.7), 1.0]))
    seen, least = np.linspace(begin, ms / 1000, 100), person.own("RBBB R in V1", 0.58, 0.8)
    for growth in np.arange(1.0, 2.5, 0.1):  # until V1 has the R' that nineteen of twenty have
        qrs = own + late.scaled(growth)
        if (person.qrs_field[2] @ qrs(seen)).max() > least:
            break
    changed = conducted(parts, qrs, ms, person, share=0.8)
    return replace(changed, pr_ms=parts.pr_ms + person.own("RBBB PR", 5, 35))


def left_anterior_block(person: Person, parts: Parts) -> Parts:
    """First down and to the right, then up and to the left: axis beyond -45 degrees, small q in I
    and aVL, r in II, III, aVF."""
    peak, unit = size(person), parts.qrs_ms / 1000
    late = 1 / (1 + np.exp(-(parts.qrs.centres / unit - 0.37) / 0.06))
    vectors = parts.qrs.vectors.copy()
    lengths = np.linalg.norm(vectors[:, :2], axis=1)
    last = 1 / (1 + np.exp(-(parts.qrs.centres / unit - 0.66) / 0.06))
    vectors[:, 0] += (0.12 * late - 0.85 * last) * lengths
    vectors[:, 2] += 0.23 * last * lengths
    vectors[:, 1] = (1 - late) * vectors[:, 1] - late * (0.30 * np.abs(vectors[:, 1]) + 0.35 * lengths)
    qrs = Wave(parts.qrs.centres, parts.qrs.widths, vectors)
    qrs += wave((0.2 * unit, 0.08 * unit, (-0.02, 0.22, 0.0))).scaled(peak).turned(placed(person.qrs_field))
    qrs = aimed(qrs, person.own("LAFB axis", -66, -40), person)
    grown = 0.78 * limbs(person.qrs_field, qrs, unit) / limbs(person.qrs_field, parts.qrs, unit)
    unseen = np.cross(*person.qrs_field[:2])
    unseen /= np.linalg.norm(unseen)
    qrs = qrs.turned(
        np.diag([1.24, 1.0, 0.98]) @ (np.eye(3) / grown + (1.0 - 1 / grown) * np.outer(unseen, unseen))
    )  # the limb leads hardly grow
    return conducted(parts, qrs, parts.qrs_ms + person.own("LAFB wider", 4, 14), person, share=0.3)


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
    delta = placed(person.qrs_field) @ routes[int(person.choice("bypass", 0, 3 - 1e-9))] * size(person)
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
