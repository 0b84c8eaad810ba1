"""What changed between a reference and its twins, how sure that is, and what not to believe."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ecg.intervals import Measurements, measure, usual_beat
from ..ecg.leads import INDEPENDENT, LEADS
from ..ecg.record import ECG
from ..metrics.evaluators import Identity
from ..metrics.rules import RULES, check, validity
from ..twin.condition import Condition
from ..twin.contradictions import contradictions
from ..twin.twin import ECGTwin
from .reliability import Reliability
from .training_distance import FAR

if TYPE_CHECKING:
    from pandas import DataFrame

LOW, HIGH = 0.1, 0.9
"""Quantiles over samples between which the spread is shown."""
SAME_PERSON, OTHERS = (0.53, 0.96), (0.09, 0.73)
"""Likeness of two real ECGs of one person, and of two people: 10th and 90th centile, 235 and 49,220
pairs of 139 people of PTB-XL."""
SAME_IDENTITY, OTHER_IDENTITY = (0.34, 0.89), (-0.25, 0.28)
"""Identity score of two real ECGs of one person, and of two people: 10th and 90th centile, 54 and 115,386 pairs of
validation patients of PTB-XL, on whom the identity evaluator was not trained."""
READABLE = {"ms": 10.0, "degrees": 10.0, "mV": 0.1, "/min": 3.0, "": 0.03}
"""Changes below this are within what measuring the same ECG twice gives."""
identifier = cache(Identity.load)

LIMITS = (
    "A twin is a draw of a statistical model given this ECG and what was asked for: no intervention on this "
    "heart, and no forecast.",
    "What was not asked for can change too: look at the spread over samples, and at what no sample agrees about.",
    "The model has no waves above 50 Hz: pacing spikes, notches and late potentials are not in a twin.",
    "Rules are coarse criteria on automatic measurements: that they hold makes no diagnosis.",
    "A twin can be linked to its reference. It is not anonymous.",
)


@dataclass(frozen=True, eq=False)
class Explanation:
    """A reference and its twins, measured. Made by `explain`.

    measured: the reference, at the twins' rate; found: each twin. likeness: of each twin's median beat (8 leads) with
    the reference's, as a correlation. identity: the same question asked of the independent identity evaluator
    (`metrics.evaluators.Identity`), a cosine; both NaN where there is no median beat. distance: of the reference, then
    of each twin, the fraction of held-out real ECGs that are nearer to the model's training data; None where the model
    was not given or does not know. reliability: of the model's statements, None where the model was not given.
    """

    reference: ECG
    twins: tuple[ECG, ...]
    condition: Condition
    measured: Measurements
    found: tuple[Measurements, ...]
    likeness: np.ndarray
    identity: np.ndarray
    distance: np.ndarray | None = None
    reliability: Reliability | None = None

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One for each quantity: reference, median of the twins, spread, change, and whether it is clear."""
        before = {(name, lead): (value, unit) for name, lead, value, unit in self.measured.rows()}
        after = [{(name, lead): value for name, lead, value, _ in m.rows()} for m in self.found]
        keys = dict.fromkeys([*before, *(key for one in after for key in one)])
        return [row(*key, *before.get(key, (None, "mV")), [one.get(key) for one in after]) for key in keys]

    def changes(self) -> "DataFrame":
        """Columns quantity, lead, unit, reference, twins (median), low, high (10th and 90th centile over samples),
        change, change_low, change_high, measured (in how many samples) and clear (the spread of the change leaves out
        what two readings of one ECG differ by). Not measurable is None."""
        import pandas as pd

        return pd.DataFrame(self.rows, dtype=object)

    @cached_property
    def checked(self) -> list[dict[str, Any]]:
        """For each rule of each statement asked for: whether the reference fulfils it, and how many samples do."""
        asked = self.condition.reports
        rows = []
        samples = [check(asked, m) for m in self.found]
        for k, (statement, rule, before) in enumerate(check(asked, self.measured)):
            results = [one[k][2] for one in samples]
            told = [x for x in results if x is not None]
            rows.append(
                {
                    "statement": statement,
                    "rule": rule.text,
                    "reference": before,
                    "holds": sum(told),
                    "of": len(told),
                    "samples": len(results),
                }
            )
        if self.condition.heart_rate is not None:
            wanted = self.condition.heart_rate
            text = f"heart rate within 10 % of {wanted:g}/min"
            told = [abs(m.heart_rate - wanted) <= 0.1 * wanted for m in self.found if m.heart_rate is not None]
            own = self.measured.heart_rate
            before = None if own is None else abs(own - wanted) <= 0.1 * wanted
            rows.append(
                {
                    "statement": "heart rate",
                    "rule": text,
                    "reference": before,
                    "holds": sum(told),
                    "of": len(told),
                    "samples": len(self.found),
                }
            )
        return rows

    def rules(self) -> "DataFrame":
        """Columns statement, rule, reference, holds, of (samples in which it can be measured) and samples."""
        import pandas as pd

        return pd.DataFrame(
            self.checked, columns=["statement", "rule", "reference", "holds", "of", "samples"], dtype=object
        )

    @cached_property
    def validity(self) -> tuple[float | None, ...]:
        """Of each twin, the share of the rules that hold."""
        return tuple(validity(self.condition.reports, m, self.condition.heart_rate) for m in self.found)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """Sentences: what was asked for and cannot be at once, what was asked for and is not there, who
        the twins do not resemble."""
        said = list(contradictions(self.condition.reports, self.condition.heart_rate))
        for one in self.checked:
            if one["of"] and one["holds"] <= one["of"] / 2:
                said.append(
                    f"{one['statement']} was asked for, but “{one['rule']}” holds in {one['holds']} of "
                    f"{one['of']} samples"
                )
            elif not one["of"]:
                said.append(f"{one['statement']} was asked for, but “{one['rule']}” can be measured in no sample")
        unlike = int(np.sum(self.likeness < OTHERS[0]))
        if unlike:
            said.append(
                f"{unlike} of {len(self.twins)} samples are less like the reference than nine of ten strangers are"
            )
        strangers = int(np.sum(self.identity < OTHER_IDENTITY[0]))
        if strangers:
            said.append(
                f"{strangers} of {len(self.twins)} samples have a lower identity score than nine of ten strangers have"
            )
        if self.reliability is not None:
            said += self.reliability.doubts(self.condition.reports)
        if self.distance is not None and self.distance[0] >= FAR:
            said.append(
                f"the reference is unlike the ECGs that the model was trained on: {self.distance[0]:.0%} of other "
                "real ECGs are nearer to them"
            )
        return tuple(said)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Statements asked for that no rule can check."""
        return tuple(name for name in self.condition.reports if name not in RULES)

    @property
    def notes(self) -> tuple[str, ...]:
        found = []
        if len(self.twins) < 5:
            says = "sample says" if len(self.twins) == 1 else "samples say"
            found.append(f"{len(self.twins)} {says} little about the spread: ask for 8 or more")
        if self.unchecked:
            found.append(f"no rule checks: {', '.join(self.unchecked)}")
        if self.reliability is not None and self.reliability.note:
            found.append(self.reliability.note)
        return (*found, *LIMITS)

    def data(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "notice": "Synthetic ECGs. Research use only, not for clinical diagnosis.",
            "reference": self.reference.name,
            "asked_for": str(self.condition),
            "samples": len(self.twins),
            "likeness": listed(self.likeness),
            "likeness_same_person": SAME_PERSON,
            "likeness_others": OTHERS,
            "identity": listed(self.identity),
            "identity_same_person": SAME_IDENTITY,
            "identity_others": OTHER_IDENTITY,
            "training_distance": None
            if self.distance is None
            else {"reference": listed(self.distance)[0], "twins": listed(self.distance)[1:]},
            "statements": [] if self.reliability is None else self.reliability.data(self.condition.reports),
            "validity": self.validity,
            "changes": self.rows,
            "rules": self.checked,
            "doubts": self.doubts,
            "notes": self.notes,
        }

    def json(self) -> str:
        return json.dumps(self.data(), indent=2, ensure_ascii=False)

    def ordered(self, indices: Sequence[int]) -> "Explanation":
        """The same with its twins in another order."""
        order = list(indices)
        distance = None if self.distance is None else self.distance[[0, *(k + 1 for k in order)]]
        return replace(
            self,
            twins=tuple(self.twins[k] for k in order),
            found=tuple(self.found[k] for k in order),
            likeness=self.likeness[order],
            identity=self.identity[order],
            distance=distance,
        )

    def beats(self) -> tuple[np.ndarray | None, list[np.ndarray]]:
        """Median beats (12, samples) at 500 Hz from 0.3 s before to 0.5 s after QRS onset: the reference's, and those
        of the twins that have one."""
        return beat_of(at_rate(self.reference, self.twins[0].rate)), [
            b for b in map(beat_of, self.twins) if b is not None
        ]


def explain(
    reference: ECG, twins: Sequence[ECG], condition: Condition | None = None, *, model: ECGTwin | None = None
) -> Explanation:
    """Measure a reference and its twins and put them side by side. condition: what was asked for; None: what
    the twins say of themselves. model: that drew them, for the distance from its training data and for how reliable
    the statements asked for are.

    The reference is measured at the twins' rate, so that the same blur lies on both. ValueError without twins, or
    for twins of different rates.
    """
    twins = tuple(twins)
    if not twins:
        raise ValueError("no twins to explain: expected one or more")
    if len({twin.rate for twin in twins}) > 1:
        raise ValueError(f"twins of {', '.join(sorted({f'{t.rate:g}' for t in twins}))} Hz: expected one rate")
    first = twins[0]
    condition = condition or Condition(first.reports, first.sex, first.age)
    seen = at_rate(reference, first.rate)
    found = tuple(measure(t.signal, t.rate, t.leads) for t in twins)
    own = eight(beat_of(seen))
    likeness = np.array([correlation(own, eight(beat_of(t))) for t in twins])
    who = np.stack([identifier()(e.twelve().select(INDEPENDENT).signal[None], e.rate)[0] for e in (seen, *twins)])
    identity = np.where(who[0].any() & who[1:].any(1), who[1:] @ who[0], np.nan)
    reliability = None if model is None else Reliability.of(model)
    near = None if reliability is None or reliability.distance is None else reliability.distance((reference, *twins))
    before = measure(seen.signal, seen.rate, seen.leads)
    return Explanation(reference, twins, condition, before, found, likeness, identity, near, reliability)


def at_rate(ecg: ECG, rate: float) -> ECG:
    ecg = ecg.twelve()
    return ecg if ecg.rate <= rate else ecg.resample(rate)


def beat_of(ecg: ECG) -> np.ndarray | None:
    ecg = ecg.twelve()
    return usual_beat(ecg.signal, ecg.rate, ecg.leads)


def eight(beat: np.ndarray | None) -> np.ndarray | None:
    return None if beat is None else beat[[LEADS.index(lead) for lead in INDEPENDENT]].ravel()


def correlation(a: np.ndarray | None, b: np.ndarray | None) -> float:
    return np.nan if a is None or b is None else float(np.corrcoef(a, b)[0, 1])


def row(quantity: str, lead: str, before: Any, unit: str, after: list) -> dict[str, Any]:
    told = [x for x in after if x is not None]
    one: dict[str, Any] = {"quantity": quantity, "lead": lead, "unit": unit, "reference": plain(before)}
    one |= dict.fromkeys(("twins", "low", "high", "change", "change_low", "change_high"))
    one |= {"measured": len(told), "clear": None}
    if not told or isinstance(told[0], str | bool):
        if told:
            most = max(dict.fromkeys(told), key=told.count)
            one["twins"], one["clear"] = (
                most,
                bool(before is not None and before != most and told.count(most) > 0.8 * len(after)),
            )
        return one
    values = np.array(told, float)
    turn = quantity.endswith("_axis")
    middle = circular_middle(values) if turn else float(np.median(values))
    around = turned(values - middle) if turn else values - middle
    low, high = (float(np.quantile(around, q)) for q in (LOW, HIGH))
    one |= {"twins": plain(middle), "low": plain(middle + low), "high": plain(middle + high)}
    if before is None:
        return one
    change = float(turned(np.array(middle - before))) if turn else middle - before
    one |= {"change": plain(change), "change_low": plain(change + low), "change_high": plain(change + high)}
    least = READABLE.get(unit, 0.0)
    one["clear"] = bool(len(told) > 0.8 * len(after) and (change + low > least or change + high < -least))
    return one


def circular_middle(degrees: np.ndarray) -> float:
    angle = np.radians(degrees)
    return float(np.degrees(np.arctan2(np.median(np.sin(angle)), np.median(np.cos(angle)))))


def turned(degrees: np.ndarray) -> np.ndarray:
    return (degrees + 180) % 360 - 180


def listed(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(x) else round(float(x), 3) for x in values]


def plain(value: Any) -> Any:
    """Rounded to what can be read; numpy's numbers as Python's."""
    return round(float(value), 3) if isinstance(value, float | np.floating) else value
