"""Beats from elsewhere: of a pacemaker, of either ventricle, of the atria."""

from dataclasses import replace

import numpy as np

from ..beat import Parts
from ..dipole import Wave, wave
from ..person import Person
from .gradient import conducted, fragments, placed, size


def paced(person: Person, parts: Parts) -> Parts:
    """Stimulated at the apex of the right ventricle: broad, to the left, up and back."""
    x, y, notch = (
        person.own("paced x", -0.5, 0.5),
        person.own("paced y", -0.72, -0.18),
        person.own("paced notch", 0.85, 1.25),
    )
    qrs = (
        wave(
            (0.09, 0.055, (-0.12, -0.10, -0.05)),
            (0.21, 0.060, (0.8 * x - 0.24, 0.70 * y, 0.40)),
            (0.34, 0.065, (x - 0.04, notch * y, 0.66)),
            (0.47, 0.060, (x + 0.12, (2.0 - notch) * y, 0.52)),
            (0.60, 0.065, (x + 0.36, 0.95 * y, 0.55)),
            (0.73, 0.060, (x + 0.18, 0.45 * y, 0.30)),
            (0.86, 0.055, (0.05, 0.12 * y, 0.10)),
        )
        .scaled(size(person) * person.own("paced size", 0.95, 1.26))
        .turned(placed(person.qrs_field))
    )
    qrs += fragments(person, "paced", size(person))
    tracked = person.choice("pacemaker tracks P") > 0.55
    changed = conducted(parts, qrs, person.own("paced width", 160, 198), person, share=0.47, own=0.5, later=0.7)
    return replace(changed, p=parts.p if tracked else None, pr_ms=person.own("AV delay", 165, 210))


def spike(person: Person) -> Wave:
    """The pacemaker's pulse, just before QRS, as wide as recorders draw it: at 100 Hz about half as high."""
    height = np.exp(person.own("spike height", np.log(0.6), np.log(4.2)))
    direction = np.array(
        [person.own("spike x", 0.0, 1.0), person.own("spike y", 0.3, 1.0), person.own("spike z", -0.9, 0.0)]
    )
    pulse = height * direction / np.linalg.norm(direction)
    return wave((-0.011, 0.0016, tuple(pulse)), (-0.0045, 0.0016, tuple(-0.15 * pulse))).turned(
        placed(person.qrs_field)
    )


def ventricular_ectopic(person: Person, parts: Parts) -> Parts:
    """A beat that starts in the muscle of either ventricle: broad, large, notched, no P wave; where
    from is the person's own."""
    side = (
        1.0 if person.choice("ectopic side") < 0.6 else -1.0
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
