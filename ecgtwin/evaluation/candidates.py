"""Best of several: twins in the order of how well they show what was asked for, then of how like
their reference they are."""

from dataclasses import dataclass

import numpy as np

from ..metrics.judge import CLASSES, Judge
from .explain import Explanation

READ_AS = {
    "atrial fibrillation": "afib",
    "sinus rhythm": "sinus",
    "sinus bradycardia": "sinus",
    "sinus tachycardia": "sinus",
    "normal ECG": "sinus",
    "paced rhythm": "paced",
    "complete left bundle branch block": "bbb",
    "complete right bundle branch block": "bbb",
    "first degree AV block": "avb",
}
"""Statements that the judge has a class for."""


@dataclass(frozen=True)
class Ranked:
    """One candidate. index: among the twins. validity: share of the rules that hold; judge: probability that an
    independent reader gives to what was asked for, the least over its statements; rate_error: of the heart rate, as a
    fraction of the one asked for; likeness: of median beats with the reference. None: not known or not asked for."""

    index: int
    validity: float | None
    judge: float | None
    rate_error: float | None
    likeness: float | None

    def __str__(self) -> str:
        told = (("rules", self.validity), ("judge", self.judge), ("likeness", self.likeness))
        words = [f"{name} {'not known' if value is None else format(value, '.2f')}" for name, value in told]
        return ", ".join([f"merit {self.merit:.2f}", *words])

    @property
    def merit(self) -> float:
        """Mean of validity and judge, as far as they are known, less the error of the rate; likeness, worth
        a twentieth, breaks ties."""
        told = [x for x in (self.validity, self.judge) if x is not None]
        return (float(np.mean(told)) if told else 0.0) - (self.rate_error or 0.0) + 0.05 * (self.likeness or 0.0)


def ranked(one: Explanation, judge: Judge | None = None) -> list[Ranked]:
    """All twins of an explanation, the best first; equals in the order of their seeds. judge: from
    `ecgtwin.metrics.judge.load_judge`."""
    asked = [CLASSES.index(READ_AS[name]) for name in one.condition.reports if name in READ_AS]
    found = []
    for k, twin in enumerate(one.twins):
        said = None
        if judge is not None and asked:
            said = float(min(judge(twin.signal[twin.leads.index("II")], twin.rate)[asked]))
        like = None if np.isnan(one.likeness[k]) else float(one.likeness[k])
        rate, wanted = one.found[k].heart_rate, one.condition.heart_rate
        error = None if rate is None or wanted is None else abs(rate - wanted) / wanted
        found.append(Ranked(k, one.validity[k], said, error, like))
    return sorted(found, key=lambda r: -r.merit)
