"""States of the heart: each changes its own part of a person's beat or rhythm, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

from . import changes as to
from .beat import Parts
from .person import Person

Change = Callable[[Person, Parts], Parts]
AT_REST = (50.0, 100.0)


@dataclass(frozen=True)
class State:
    """A state by the statements that a report would make.

    rhythm: "sinus", "fibrillation", "flutter" or "paced". rates: beats/min, within which the heart beats in this state unless a
    rate is asked for. changes: applied in turn to the normal beat. premature: kind of the extra beats, "ventricular" | "atrial".
    """

    reports: tuple[str, ...]
    rhythm: str = "sinus"
    rates: tuple[float, float] = AT_REST
    changes: tuple[Change, ...] = ()
    premature: str | None = None

    def __add__(self, other: "State") -> "State":
        """Both at once. ValueError for two rhythms, or two kinds of premature beats, that exclude each other."""
        for what, none in (("rhythm", "sinus"), ("premature", None), ("rates", AT_REST)):
            if none not in (getattr(self, what), getattr(other, what)) and getattr(self, what) != getattr(other, what):
                raise ValueError(f"{' | '.join(self.reports)} cannot be together with {' | '.join(other.reports)}: two different {what}")
        rhythm = other.rhythm if self.rhythm == "sinus" else self.rhythm
        said = dict.fromkeys(self.reports + other.reports)
        if len(said) > 2 or rhythm != "sinus":
            said.pop("normal ECG", None)
        if rhythm != "sinus" or {"sinus bradycardia", "sinus tachycardia"} & said.keys():
            said.pop("sinus rhythm", None)
        return State(
            tuple(said),
            rhythm,
            other.rates if self.rates == AT_REST else self.rates,
            self.changes + tuple(change for change in other.changes if change not in self.changes),
            self.premature or other.premature,
        )


def _sinus(report: str, *changes: Change, more: tuple[str, ...] = (), premature: str | None = None) -> State:
    return State((report, *more, "sinus rhythm"), changes=changes, premature=premature)


def _infarctions(region: str) -> dict[str, State]:
    name = f"{region} myocardial infarction"
    return {
        name: _sinus(name, to.infarcted(region)),
        "acute " + name: _sinus(name, to.injured(region), more=("non-specific ST elevation",)),
    }


STATES: dict[str, State] = {
    "sinus rhythm": State(("normal ECG", "sinus rhythm")),
    "sinus bradycardia": State(("sinus bradycardia",), rates=(42.0, 56.0)),
    "sinus tachycardia": State(("sinus tachycardia",), rates=(104.0, 135.0)),
    "atrial fibrillation": State(("atrial fibrillation",), rhythm="fibrillation", rates=(62.0, 130.0)),
    "atrial flutter": State(("atrial flutter",), rhythm="flutter", rates=(68.0, 155.0)),
    "first degree AV block": _sinus("first degree AV block", to.first_degree_block),
    "complete left bundle branch block": _sinus("complete left bundle branch block", to.left_bundle_block),
    "complete right bundle branch block": _sinus("complete right bundle branch block", to.right_bundle_block),
    "left anterior fascicular block": _sinus("left anterior fascicular block", to.left_anterior_block),
    "left ventricular hypertrophy": _sinus("left ventricular hypertrophy", to.hypertrophy),
    **_infarctions("anterior"),
    **_infarctions("inferior"),
    **_infarctions("lateral"),
    "non-specific ST depression": _sinus("non-specific ST depression", to.st_depression),
    "inverted T-waves": _sinus("inverted T-waves", to.t_inversion),
    "low QRS voltages in the frontal and horizontal leads": _sinus(
        "low QRS voltages in the frontal and horizontal leads", to.low_voltage
    ),
    "ventricular premature complex": _sinus("ventricular premature complex", premature="ventricular"),
    "atrial premature complex": _sinus("atrial premature complex", premature="atrial"),
    "long QT-interval": _sinus("long QT-interval", to.long_qt),
    "normal functioning artificial pacemaker": State(
        ("normal functioning artificial pacemaker",), rhythm="paced", rates=(60.0, 80.0), changes=(to.paced,)
    ),
    "Wolf-Parkinson-White syndrome": _sinus("Wolf-Parkinson-White syndrome", to.pre_excitation),
}
"""Every state by name: the statement of PTB-XL's SCP vocabulary, as spelled there ("acute ..." is put before those that lack it)."""

ALIASES = {
    "normal ECG": "sinus rhythm",
    "left bundle branch block": "complete left bundle branch block",
    "right bundle branch block": "complete right bundle branch block",
    "low voltage": "low QRS voltages in the frontal and horizontal leads",
    "ST depression": "non-specific ST depression",
    "T inversion": "inverted T-waves",
    "long QT": "long QT-interval",
    "paced": "normal functioning artificial pacemaker",
    "Wolff-Parkinson-White syndrome": "Wolf-Parkinson-White syndrome",
}


def state(text: str) -> State:
    """The state of one or more names, joined with "|". KeyError, naming the known ones, for an unknown name."""
    found: State | None = None
    for name in (part.strip() for part in text.split("|")):
        known = STATES.get(ALIASES.get(name, name))
        if known is None:
            raise KeyError(f"unknown state {name!r}, expected of: {', '.join(STATES)}")
        found = known if found is None else found + known
    return found
