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

    rhythm: "sinus", "fibrillation", "flutter" or "paced". rates: beats/min, within which the heart beats in this
    state unless a rate is asked for. changes: applied in turn to the normal beat. premature: kind of the extra
    beats, "ventricular" | "atrial".
    """

    reports: tuple[str, ...]
    rhythm: str = "sinus"
    rates: tuple[float, float] = AT_REST
    changes: tuple[Change, ...] = ()
    premature: str | None = None

    def __post_init__(self) -> None:
        if self.rhythm not in ("sinus", "fibrillation", "flutter", "paced"):
            raise ValueError(f"rhythm is {self.rhythm!r}, expected sinus, fibrillation, flutter or paced")
        if self.premature not in (None, "ventricular", "atrial"):
            raise ValueError(f"premature is {self.premature!r}, expected None, ventricular or atrial")
        if reason := self._contradiction():
            raise ValueError(f"{' | '.join(self.reports)}: {reason}")

    def _contradiction(self) -> str | None:
        if sum(change in ROUTES for change in self.changes) > 1:
            return "the ventricles can be activated in one way only"
        if to.hypertrophy in self.changes and to.low_voltage in self.changes:
            return "voltages are either high or low"
        if self.rhythm in ("fibrillation", "flutter") and to.first_degree_block in self.changes:
            return f"there is no PR interval in {self.rhythm}"
        if (
            self.premature == "ventricular"
            and self.rhythm == "flutter"
            or self.premature == "atrial"
            and self.rhythm != "sinus"
        ):
            return f"{self.premature} premature beats are not simulated in {self.rhythm}"
        return None

    def __add__(self, other: "State") -> "State":
        """Both at once. ValueError for states that exclude each other."""
        for what, none in (("rhythm", "sinus"), ("premature", None), ("rates", AT_REST)):
            if none not in (mine := getattr(self, what), theirs := getattr(other, what)) and mine != theirs:
                raise ValueError(
                    f"{' | '.join(self.reports)} and {' | '.join(other.reports)} have two different {what}"
                )
        rhythm = other.rhythm if self.rhythm == "sinus" else self.rhythm
        said = dict.fromkeys(self.reports + other.reports)
        if len(said.keys() - {"sinus rhythm"}) > 1:
            said.pop("normal ECG", None)
        if "sinus rhythm" in said:  # it comes last, and only if there is no other word for the rhythm
            said.pop("sinus rhythm")
            if rhythm == "sinus" and not said.keys() & {"sinus bradycardia", "sinus tachycardia"}:
                said["sinus rhythm"] = None
        changes = sorted(set(self.changes + other.changes), key=RANK.get)
        rates = other.rates if self.rates == AT_REST else self.rates
        return State(tuple(said), rhythm, rates, tuple(changes), self.premature or other.premature)

    def goes_with(self, other: "State") -> bool:
        """Whether the two can be added, and are two."""
        try:
            return self != other and bool(self + other)
        except ValueError:
            return False


ROUTES = {to.left_bundle_block, to.right_bundle_block, to.paced, to.pre_excitation}
"""Changes of the order in which the ventricles are activated, of which a beat can have one."""
INFARCTED = {region: to.infarcted(region) for region in to.REGIONS}
INJURED = {region: to.injured(region) for region in to.REGIONS}
RANK: dict[Change, int] = {
    change: rank
    for rank, change in enumerate(
        [
            *INFARCTED.values(),
            *(
                to.hypertrophy,
                to.left_anterior_block,
                to.right_bundle_block,
                to.left_bundle_block,
                to.paced,
                to.pre_excitation,
            ),
            *(to.first_degree_block, to.t_inversion, to.st_depression, *INJURED.values(), to.long_qt, to.low_voltage),
        ]
    )
}
"""In which order changes are applied when a state has several: muscle, conduction, repolarisation, size."""


def _sinus(report: str, *changes: Change, more: tuple[str, ...] = (), premature: str | None = None) -> State:
    return State((report, *more, "sinus rhythm"), changes=changes, premature=premature)


def _infarctions(region: str) -> dict[str, State]:
    name = f"{region} myocardial infarction"
    return {
        name: _sinus(name, INFARCTED[region]),
        "acute " + name: _sinus(name, INJURED[region], more=("non-specific ST elevation",)),
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
    **_infarctions("anteroseptal"),
}
"""Every state by name: the statement of PTB-XL's SCP vocabulary, as spelled there ("acute ..." is put
before those that lack it)."""

ALIASES = {
    "normal ECG": "sinus rhythm",
    "left bundle branch block": "complete left bundle branch block",
    "right bundle branch block": "complete right bundle branch block",
    "low voltage": "low QRS voltages in the frontal and horizontal leads",
    "ST depression": "non-specific ST depression",
    "T inversion": "inverted T-waves",
    "long QT": "long QT-interval",
    "prolonged PR interval": "first degree AV block",
    "paced": "normal functioning artificial pacemaker",
    "Wolff-Parkinson-White syndrome": "Wolf-Parkinson-White syndrome",
}


def state(text: str) -> State:
    """The state of one or more names, joined with "|". ValueError, naming the known ones, for an unknown name."""
    found: State | None = None
    for name in (part.strip() for part in text.split("|")):
        known = STATES.get(ALIASES.get(name, name))
        if known is None:
            raise ValueError(f"unknown state {name!r}, expected of: {', '.join(STATES)}")
        found = known if found is None else found + known
    return found
