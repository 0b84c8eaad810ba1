"""What a simulator expects of the reference's beat in a state that is new to it: a first drawing for the network.

A heart whose conduction or muscle changes does not keep its beat, so the reference's own is a poor draft there. The
simulator's person who explains the recording (`ecg.simulate.fit`) is put into the wanted state instead, with what the
simulator does not explain, and the network makes an ECG of it. Where no such person is found (a recording that shows no
normal beat) the reference's own beats remain the draft.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from zlib import crc32

import numpy as np

from ..ecg.beats import Beats, Heartbeat, lay, take
from ..ecg.simulate import STATES, Fitted, State, construct, fit
from ..ecg.simulate.fitted import WIDEST
from ..ecg.simulate.states import ALIASES
from ..ecg.simulate.surrogate import noise_like
from ..ecg.simulate.timing import fibrillatory_waves
from ..text.statements import Vocabulary
from .condition import Condition
from .rhythm import atria_stay, kind_of

LEAST = 0.6
"""Of the energy of the median beat, that the simulator's person must explain."""
SPREAD = 0.3
"""How far from their middle a sample's draws of what no recording tells are, beside those of the population (1): the
middle is nearest to the truth on average, and samples still differ in what is not known."""
SECONDS = 8.0
CANNOT_BE_FITTED = (ValueError, IndexError, np.linalg.LinAlgError)
"""What is no normal beat breaks the fit in any of these ways."""
WALLS = {
    "anterior": "anterior",
    "antero": "anterior",
    "inferior": "inferior",
    "infero": "inferior",
    "lateral": "lateral",
}
"""What the name of an infarction says -> the wall of the left ventricle that it took."""
DEGREES = {
    "complete left bundle branch block": (
        "incomplete left bundle branch block",
        "non-specific intraventricular conduction disturbance",
    )
}
"""State -> what it comes from by degrees."""
WITHOUT_P = ("atrial fibrillation", "atrial flutter")
WIDER = 155.0
"""ms: so wide a QRS complex is still a person's own where it is told to be `SLOW` and not `BLOCKED`."""
SLOW = (
    "non-specific intraventricular conduction disturbance",
    "left anterior fascicular block",
    "left posterior fascicular block",
    "incomplete left bundle branch block",
    "incomplete right bundle branch block",
    "left ventricular hypertrophy",
    "right ventricular hypertrophy",
)
BLOCKED = (
    "complete left bundle branch block",
    "complete right bundle branch block",
    "paced rhythm",
    "Wolff-Parkinson-White syndrome",
)


def reshapes(state: State) -> bool:
    """Whether beats look otherwise in a state; else only when they come, or what the atria do."""
    return bool(state.changes) or state.premature == "ventricular"


@lru_cache(1)
def reshaping() -> dict[str, State]:
    """Statement of the vocabulary -> the simulator's state that says it, where that changes the shape of beats."""
    normalise = Vocabulary().normalise
    found: dict[str, State] = {}
    for state in STATES.values():
        if reshapes(state):
            found.setdefault(normalise(state.reports[0]), state)
    for alias, name in ALIASES.items():
        if reshapes(STATES[name]):
            found.setdefault(normalise(alias), STATES[name])
    return found


def walls(statements: Iterable[str]) -> set[str]:
    """The walls of the left ventricle that statements call infarcted."""
    names = [name for name in statements if name.endswith("myocardial infarction")]
    return {wall for name in names for word, wall in WALLS.items() if word in name}


def begun(name: str, own: Sequence[str]) -> bool:
    """Whether a statement is another word, or a further degree, of what a reference's own statements say: its beats
    are a better draft then than a normal heart's that gets there at once."""
    return set() < walls([name]) <= walls(own) or any(report in own for report in DEGREES.get(name, ()))


def state_of(new: Sequence[str], reports: Sequence[str], own: Sequence[str] = ()) -> State | None:
    """The simulator's state that new statements ask for, in the rhythm of all; of such that exclude each other the
    first counts. In sinus rhythm after fibrillation or flutter beats get a P wave that the recording does not show.
    None where no beat changes its shape, or the reference's own statements say that it has."""
    known = reshaping()
    asked = [known[name] for name in new if name in known and not begun(name, own)]
    if not asked:
        return STATES["sinus rhythm"] if kind_of(reports) == "sinus" and not atria_stay(own, reports) else None
    asked = [STATES[name] for name in WITHOUT_P if name in reports] + asked
    found = asked[0]
    for other in asked[1:]:
        try:
            found = found + other
        except ValueError:
            continue
    return found


@dataclass(frozen=True, eq=False)
class Expected:
    """A person of the simulator in a state: what their beats look like there."""

    person: Fitted
    state: State
    rate: float

    def at(self, heart_rate: float | None, seed: int | None = None) -> Heartbeat | None:
        """Median beats at a heart rate in beats/min; None where none can be constructed. seed: of a sample, which draws
        what no recording tells near the middle (`SPREAD`); None: as the fit has drawn it."""
        person = self.person if seed is None else self.typical(seed)
        try:
            made = construct(person, self.state, heart_rate, rate=self.rate, seconds=SECONDS, noise=None)
            return take(made.signal, self.rate, made.peaks * self.rate, paced=self.state.rhythm == "paced")[1]
        except (ValueError, IndexError, RuntimeError):
            return None

    def typical(self, seed: int) -> Fitted:
        """The person with other chances for what no recording tells, near the middle."""
        own = self.person.person
        return replace(self.person, person=replace(own, seed=crc32(f"{own.seed} {seed}".encode()), spread=SPREAD))

    def recording(self, beat: Heartbeat, beats: Beats, samples: int, seed: int) -> np.ndarray:
        """An ECG (8, samples) in mV of these median beats at those times, with f waves where the atria fibrillate and
        noise and wander like the reference's; each lead's median is zero."""
        person, rng = self.typical(seed), np.random.default_rng([seed, crc32(b"expected")])
        made = lay(beat, beats, self.rate, samples) + noise_like(person, samples, self.rate, rng)
        if self.state.rhythm == "fibrillation":
            waves = fibrillatory_waves(person.person, np.arange(samples) / self.rate, rng)
            made += person.person.p_field @ waves
        return (made - np.median(made, axis=1, keepdims=True)).astype(np.float32)


def person_in(
    signal: np.ndarray,
    rate: float,
    own: Condition,
    seed: int | None = None,
    least: float = LEAST,
    *,
    patient: bool = False,
) -> Fitted | None:
    """The simulator's person who explains a signal (8, L) in mV of somebody in a state; None where it is no normally
    conducted beat. seed: of what no recording tells, None: of the signal. least: of the median beat's energy, that must
    be explained. patient: also where QRS is wide and told to be slow, and, without its P waves, which then are the
    population's, where none are seen."""
    atria = not any(name in own.reports for name in WITHOUT_P)
    slow = bool(set(SLOW) & set(own.reports)) and not set(BLOCKED) & set(own.reports)
    widest = WIDER if patient and slow else WIDEST
    for there in (atria, False) if patient and atria else (atria,):
        try:
            return fit(signal, rate, sex=own.sex, age=own.age, seed=seed, atria=there, least=least, widest=widest)
        except CANNOT_BE_FITTED:
            continue
    return None


def unchanged_in(signal: np.ndarray, rate: float, own: Condition) -> Expected | None:
    """The person of a signal (8, L) in mV in sinus rhythm, as they are; None where none is found or the rhythm is
    another."""
    if kind_of(own.reports) != "sinus":
        return None
    return put_into(STATES["sinus rhythm"], signal, rate, own)


def expected_in(
    signal: np.ndarray, rate: float, own: Condition, new: Sequence[str], reports: Sequence[str]
) -> Expected | None:
    """What is expected of a signal (8, L) in mV, of somebody in a state `own`, under `reports` of which some are new;
    None where beats keep their shape, or the simulator does not know the state or explain the person."""
    state = state_of(new, reports, own.reports)
    return None if state is None else put_into(state, signal, rate, own)


def put_into(state: State, signal: np.ndarray, rate: float, own: Condition) -> Expected | None:
    """The patient of a signal (8, L) in mV in a state; None where no such person is found."""
    person = person_in(signal, rate, own, patient=True)
    return None if person is None else Expected(person, state, rate)
