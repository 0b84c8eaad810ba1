"""What changes of conduction are made of, and how the T wave follows them.

One rule: the ventricular gradient, the area of QRS and T together, belongs to the muscle and not to the order in which
it is activated (Wilson, Macleod, Barker and Johnston, Am Heart J 1934; 10:46). What the QRS area gains, the T area
loses: the discordant ST and T of bundle branch block, pacing and ectopic beats come out of this.
"""

from dataclasses import replace

import numpy as np

from ..beat import Parts, lasting
from ..dipole import DOWER, Wave, turn_to_axis, wave
from ..person import Person

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


def limbs(field: np.ndarray, qrs: Wave, seconds: float) -> float:
    """The largest QRS complex of the limb leads, from its lowest to its highest, mV."""
    one, two = field[:2] @ qrs(np.linspace(0, seconds, 101))
    return max(np.ptp(x) for x in (one, two, two - one, (one + two) / 2, one - two / 2, two - one / 2))
