"""States of the heart: each changes its own part of a person's beat or rhythm, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

from .beat import Parts
from .person import Person

Change = Callable[[Person, Parts], Parts]


@dataclass(frozen=True)
class State:
    """A state by the statements that a report would make.

    rhythm: "sinus", "fibrillation", "flutter" or "paced". rates: beats/min, within which the heart beats in this state unless a
    rate is asked for. changes: applied in turn to the normal beat. premature: kind of the extra beats, if any.
    """

    reports: tuple[str, ...]
    rhythm: str = "sinus"
    rates: tuple[float, float] = (50.0, 100.0)
    changes: tuple[Change, ...] = ()
    premature: str | None = None


STATES: dict[str, State] = {
    "sinus rhythm": State(("normal ECG", "sinus rhythm")),
    "sinus bradycardia": State(("sinus bradycardia",), rates=(42.0, 56.0)),
    "sinus tachycardia": State(("sinus tachycardia",), rates=(104.0, 135.0)),
    "atrial fibrillation": State(("atrial fibrillation",), rhythm="fibrillation", rates=(65.0, 135.0)),
    "atrial flutter": State(("atrial flutter",), rhythm="flutter", rates=(70.0, 150.0)),
}
