"""Another repolarisation: ST depression, T inversion, long QT."""

from dataclasses import replace

import numpy as np

from ..beat import Parts
from ..person import Person
from .gradient import PLATEAU, along, placed


def st_depression(person: Person, parts: Parts) -> Parts:
    """Subendocardial: ST down in I, II and V4-V6, a little up in aVR; 0.03 to 0.11 mV below the
    baseline, whatever it was before."""
    toward, t = placed(person.t_field) @ [0.85, 0.45, 0.10], parts.t.scaled(0.68)
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


def long_qt(person: Person, parts: Parts) -> Parts:
    """Repolarisation late and low: QTc 486 to 545 ms, ST a little down, T half to two thirds as high."""
    toward = placed(person.t_field) @ [0.85, 0.45, 0.10]
    t = parts.t.scaled(person.own("long QT low", 0.48, 0.7)) + along(PLATEAU, -0.03 * toward)
    return replace(parts, qtc_ms=person.own("long QTc", 486, 545), t=t)
