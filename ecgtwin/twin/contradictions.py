"""Requests that no heart can meet, or that a report's words exclude: said before an ECG is drawn that hides it."""

from collections.abc import Sequence

from ..text.statements import KIND


class Contradiction(UserWarning):
    """What was asked for contradicts itself: the message says how. It is drawn all the same."""


SINUS = ("sinus rhythm", "sinus arrhythmia", "sinus bradycardia", "sinus tachycardia")
ELSEWHERE = (
    "atrial fibrillation", "atrial flutter", "supraventricular tachycardia", "paroxysmal supraventricular tachycardia",
    "atrial tachycardia", "junctional rhythm", "junctional tachycardia", "accelerated junctional rhythm",
    "idioventricular rhythm", "accelerated idioventricular rhythm", "ventricular tachycardia",
    "ventricular fibrillation",
)  # fmt: skip
"""Rhythms that do not come from the sinus node."""
RATES = {
    "sinus bradycardia": (0.0, 60.0),
    "bradycardia": (0.0, 60.0),
    "idioventricular rhythm": (0.0, 50.0),
    "sinus tachycardia": (100.0, 300.0),
    "supraventricular tachycardia": (100.0, 300.0),
    "paroxysmal supraventricular tachycardia": (100.0, 300.0),
    "atrial tachycardia": (100.0, 300.0),
    "ventricular tachycardia": (100.0, 300.0),
}
"""Beats/min that a statement's own words allow."""
USUAL = (30.0, 220.0)
"""Beats/min between which nearly all recorded ECGs lie."""
APART = (
    ("sinus bradycardia", "sinus tachycardia"),
    ("atrial fibrillation", "atrial flutter"),
    ("atrial fibrillation", "first degree AV block"),
    ("atrial fibrillation", "prolonged PR interval"),
    ("atrial fibrillation", "short PR interval"),
    ("complete left bundle branch block", "complete right bundle branch block"),
    ("complete left bundle branch block", "incomplete left bundle branch block"),
    ("complete right bundle branch block", "incomplete right bundle branch block"),
    ("left axis deviation", "right axis deviation"),
    ("prolonged PR interval", "short PR interval"),
    ("long QT interval", "short QT interval"),
    ("high QRS voltage", "low QRS voltage"),
    ("normal ECG", "abnormal ECG"),
    ("normal ECG", "borderline ECG"),
)
"""Statements of which one excludes the other."""


def contradictions(reports: Sequence[str], heart_rate: float | None = None) -> tuple[str, ...]:
    """What is contradictory in canonical statements with a heart rate in beats/min, a line
    each; () where nothing is."""
    found = [f"{a!r} and {b!r} exclude each other" for a, b in APART if a in reports and b in reports]
    sinus, other = ([name for name in reports if name in group] for group in (SINUS, ELSEWHERE))
    if sinus and other:
        found.append(f"{sinus[0]!r} and {other[0]!r}: a heart beats in one rhythm at a time")
    if "normal ECG" in reports:
        abnormal = [name for name in reports if KIND.get(name) != "summary" and name not in SINUS]
        found += [f"'normal ECG' and {abnormal[0]!r} exclude each other"] if abnormal else []
    if heart_rate is None:
        return tuple(found)
    for name in (name for name in reports if not allows([name], heart_rate)):
        low, high = RATES[name]
        limit = f"{high:g} or less" if not low else f"{low:g} or more"
        found.append(f"{name!r} at {heart_rate:g}/min: it means {limit}/min")
    if not USUAL[0] <= heart_rate <= USUAL[1]:
        found.append(
            f"{heart_rate:g}/min: nearly all recorded hearts beat at {USUAL[0]:g} to {USUAL[1]:g}/min, "
            "so a model has seen none"
        )
    return tuple(found)


def allows(reports: Sequence[str], heart_rate: float | None) -> bool:
    """Whether the words of canonical statements allow a heart rate; None is always allowed."""
    limits = (RATES[name] for name in reports if name in RATES)
    return heart_rate is None or all(low <= heart_rate <= high for low, high in limits)
