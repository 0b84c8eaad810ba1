"""What is asked for: report statements, sex, age and heart rate, as a value and as tensors.

Shapes: B batch · M statements (padded) · E = 3 + text width · D base width.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from reprlib import repr as brief
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .config import ConditionConfig, ModelConfig

HEART_RATE, AGE = (20.0, 300.0), (0.0, 120.0)


@dataclass(frozen=True)
class Condition:
    """The state of a heart and of its owner.

    reports: statements such as "atrial fibrillation"; a text is split at "|". sex: "female" or "male". age in years
    (0-120). heart_rate in beats/min (20-300). None means not given, which is not the same as zero.
    """

    reports: tuple[str, ...] = ()
    sex: Literal["female", "male"] | None = None
    age: float | None = None
    heart_rate: float | None = None

    def __post_init__(self):
        reports = tuple(r.strip() for r in statements(self.reports))
        object.__setattr__(self, "reports", tuple(dict.fromkeys(r for r in reports if r)))
        if not isinstance(self.sex, str | None) or self.sex not in ("female", "male", None):
            raise ValueError(f"sex {brief(self.sex)}: expected 'female', 'male' or None (not given)")
        for name, (low, high), unit in (("age", AGE, "years"), ("heart_rate", HEART_RATE, "beats/min")):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, Real) or isinstance(value, bool):
                raise TypeError(
                    f"{name.replace('_', ' ')} {brief(value)}: expected a number of {unit}, or None if it is not known"
                )
            value = float(value)
            if not low <= value <= high:
                raise ValueError(
                    f"{name.replace('_', ' ')} {value:g}: expected {low:g}-{high:g} {unit}, or None if it is not known"
                )
            object.__setattr__(self, name, value)

    @property
    def empty(self) -> bool:
        return not self.reports and self.sex is None and self.age is None and self.heart_rate is None

    def or_of(self, *others: Any) -> "Condition":
        """With sex and age of the first of others (conditions or ECGs) that knows them,
        where they are not given here."""
        sex = next((x.sex for x in (self, *others) if x.sex is not None), None)
        return replace(self, sex=sex, age=next((x.age for x in (self, *others) if x.age is not None), None))

    def __str__(self) -> str:
        parts = [*self.reports, self.sex]
        parts += [f"{self.age:g} years" if self.age is not None else None]
        parts += [f"{self.heart_rate:.0f}/min" if self.heart_rate is not None else None]
        return ", ".join(p for p in parts if p) or "nothing given"


def statements(given: Any) -> tuple[str, ...]:
    """Report statements as given: a text with "|" between them, or several texts. TypeError
    with what to write instead."""
    if isinstance(given, str):
        return tuple(given.split("|"))
    if given is None:
        return ()
    found = tuple(given) if isinstance(given, Iterable) and not isinstance(given, bytes) else (given,)
    if not all(isinstance(text, str) for text in found):
        raise TypeError(
            f"reports, a {type(given).__name__}: expected texts, for instance "
            'Condition("atrial fibrillation", sex="female", age=63, heart_rate=110)'
        )
    return found


def expect_condition(given: Any, name: str = "condition") -> None:
    """TypeError with what to write instead, unless it is a condition."""
    if isinstance(given, Condition):
        return
    shown = brief(given) if isinstance(given, str) else f"a {type(given).__name__}"
    if given is None:
        way = 'say what is wanted: Condition("atrial fibrillation"), or Condition() for nothing in particular'
    elif isinstance(given, str):
        way = f"write Condition({shown})"
    else:
        way = 'write Condition("atrial fibrillation", sex="female", age=63, heart_rate=110)'
    raise TypeError(f"{name} {shown}: expected a Condition: {way}")


class Conditions(NamedTuple):
    """A batch of conditions as tensors.

    tokens (B, M, E): [heart rate, age, sex] in front of each statement's embedding. mask (B, M): True = attend.
    known (B, 3): which of heart rate, age and sex are given. base (B, D): individual base vectors.
    keep_condition, keep_base (B,): False puts the learned null in the place of the condition or of the base.
    track (B, K, L): a bump at each beat, a row for each kind of beat, at the signal's rate. draft (B, Z, T):
    latent of the reference's own beats laid at those times. keep_track, keep_draft (B,): False leaves them
    out. None: all are left out.
    """

    tokens: Tensor
    mask: Tensor
    known: Tensor
    base: Tensor
    keep_condition: Tensor
    keep_base: Tensor
    track: Tensor | None = None
    draft: Tensor | None = None
    keep_track: Tensor | None = None
    keep_draft: Tensor | None = None

    def to(self, *args, **kwargs) -> "Conditions":
        return self.mapped(lambda t: t.to(*args, **kwargs) if t.is_floating_point() else t)

    def repeat(self, n: int) -> "Conditions":
        """n copies one behind the other: (n B, ...)."""
        return self.mapped(lambda t: t.repeat(n, *[1] * (t.ndim - 1)))

    def mapped(self, change) -> "Conditions":
        return Conditions(*(None if t is None else change(t) for t in self))


def join(batches: Sequence[Conditions]) -> Conditions:
    """Batches of as many statements, one behind the other, as one batch."""
    return Conditions(*(None if tensors[0] is None else torch.cat(tensors) for tensors in zip(*batches, strict=True)))


def numbers(condition: Condition, config: ConditionConfig) -> tuple[list[float], list[bool]]:
    """[heart rate, age, sex], standardised, and which of them are given."""
    values, known = [], []
    for name in ("heart_rate", "age"):
        value, standard = getattr(condition, name), getattr(config, name)
        values.append(0.0 if value is None else (value - standard.mean) / standard.std)
        known.append(value is not None)
    values.append({"female": 1.0, "male": -1.0, None: 0.0}[condition.sex])
    known.append(condition.sex is not None)
    return values, known


def stack(conditions: list[Condition], embed, config: ModelConfig, base: Tensor | None = None) -> Conditions:
    """Conditions as tensors. `embed(statements) -> (n, width)` array; an ECG with no statement has one token of zeros.

    A condition in which nothing is given is marked as not kept: it becomes the learned null.
    """
    width, longest = config.text.width, config.text.statements
    rows = max([1, *(len(c.reports) for c in conditions)])
    if rows > longest:
        raise ValueError(f"{rows} report statements in one condition: this model knows at most {longest}")
    b = len(conditions)
    tokens, mask, known = np.zeros((b, rows, 3 + width), np.float32), np.zeros((b, rows), bool), np.zeros((b, 3), bool)
    for i, condition in enumerate(conditions):
        n = max(1, len(condition.reports))
        tokens[i, :n, :3], known[i] = numbers(condition, config.condition)
        mask[i, :n] = True
        if condition.reports:
            tokens[i, :n, 3:] = embed(condition.reports)
    keep = torch.tensor([not c.empty for c in conditions])
    base = torch.zeros(b, 1) if base is None else base
    tensors = (torch.from_numpy(a) for a in (tokens, mask, known))
    return Conditions(*tensors, base, keep, torch.ones(b, dtype=torch.bool))
