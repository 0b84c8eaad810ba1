"""From a person and a state to an ECG, with the truth beside it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from ..leads import INDEPENDENT
from ..record import ECG
from . import changes, timing
from .beat import Beat, Parts, normal_parts, put_together
from .dipole import Wave
from .noise import Noise
from .person import Person
from .states import STATES, State
from .states import state as named

STEP = (
    1 / 1024
)  # mV: signals are rounded to this, about the step of a recorder, so that float32 sums of leads are exact
TYPICAL = Noise()


@dataclass(frozen=True, eq=False)
class Simulated:
    """A simulated ECG and the truth about it.

    ecg: as recorded; clean: without noise. beats: QRS onsets in the strip in s; kinds: of each,
        "normal" | "ventricular" | "atrial".
    rate: beats/min. Of the normal beats: pr_ms (None: no P wave leads to a QRS), qrs_ms, qt_ms,
        axis_deg (frontal, 90 = down).
    """

    ecg: ECG
    clean: ECG
    person: Person
    state: State
    beats: np.ndarray
    kinds: tuple[str, ...]
    rate: float
    pr_ms: float | None
    qrs_ms: float
    qt_ms: float
    axis_deg: float


def simulate(
    person: Person,
    state: State | str,
    rate: float | None = None,
    seed: int = 0,
    *,
    seconds: float = 10.0,
    fs: float = 500.0,
    noise: Noise | None = TYPICAL,
) -> ECG:
    """A 12-lead ECG of a person in a state: I, II, V1-V6 seen by the person's lead field, III, aVR,
    aVL, aVF derived from I and II.

    state: a `State`, or names of `STATES` joined with "|" ("atrial fibrillation|left ventricular hypertrophy").
    rate: beats/min (20 to 250), None: the person's own in this state. seed: of what changes from recording to
    recording (moment of the first beat, variability, noise); the same seed in two states shares it. seconds: 2
    to 3600. fs: Hz, at least 100.
    noise: None for the clean signal. ValueError for what is out of range and for an unknown state.
    """
    return simulate_truth(person, state, rate, seed, seconds=seconds, fs=fs, noise=noise).ecg


def simulate_truth(
    person: Person,
    state: State | str,
    rate: float | None = None,
    seed: int = 0,
    *,
    seconds: float = 10.0,
    fs: float = 500.0,
    noise: Noise | None = TYPICAL,
) -> Simulated:
    """As `simulate`, with the clean signal, the beats and the intervals beside the ECG."""
    state = named(state) if isinstance(state, str) else state
    rate = rate_in(person, state) if rate is None else float(rate)
    _check(rate, seconds, fs)
    time = np.arange(int(round(seconds * fs))) / fs
    beats_rng, atria_rng, noise_rng = (
        np.random.default_rng([seed, person.seed, crc32(what)]) for what in (b"beats", b"atria", b"noise")
    )
    breath = beats_rng.uniform(0, 2 * np.pi)
    kinds = beats_of(person, state, rate)
    rhythm = rhythm_in(person, state, rate, seconds, beats_rng, breath, kinds["normal"].p is None)
    atria, qrs, t = _dipoles(person, rhythm, kinds, time, breath)
    if state.rhythm == "fibrillation":
        atria += timing.fibrillatory_waves(person, time, atria_rng)
    elif state.rhythm == "flutter":
        atria += timing.flutter_waves(person, time, rhythm)
    elif state.rhythm == "paced":
        pulse = changes.spike(person)
        for when, kind in zip(rhythm.times, rhythm.kinds, strict=True):
            if kind == "normal":
                _add(qrs, pulse, time, when)
    clean = person.p_field @ atria + person.qrs_field @ qrs + person.t_field @ t
    noisy = clean if noise is None else clean + noise.draw(noise_rng, len(time), fs, person.breaths)
    seen = (rhythm.times >= 0) & (rhythm.times < seconds)
    beat = kinds["normal"]
    return Simulated(
        ecg=_ecg(noisy, fs, person, state, seed),
        clean=_ecg(clean, fs, person, state, seed),
        person=person,
        state=state,
        beats=rhythm.times[seen],
        kinds=tuple(kind for kind, inside in zip(rhythm.kinds, seen, strict=True) if inside),
        rate=rate,
        pr_ms=None if beat.p is None else beat.pr_ms,
        qrs_ms=beat.qrs_ms,
        qt_ms=beat.qt_ms,
        axis_deg=beat.axis_deg,
    )


def counterfactual(
    person: Person, factual: State | str, other: State | str, rate: float | None = None, seed: int = 0, **options
) -> tuple[Simulated, Simulated]:
    """The same recording of the same person in two states: everything that the states do not
    change is shared, the noise too.

    rate: beats/min in both; None: the person's own in each. options: seconds, fs and noise of `simulate`.
    """
    return simulate_truth(person, factual, rate, seed, **options), simulate_truth(person, other, rate, seed, **options)


def cohort(
    n: int, seed: int = 0, *, each: int = 2, healthy: float = 0.3, combined: float = 0.3, **options
) -> Iterator[Simulated]:
    """`each` ECGs of each of `n` people, person by person: in different states, at different rates, with noise.

    healthy: share of ECGs in sinus rhythm and nothing else; the others are spread evenly over `STATES`; combined: the
    share of those that have a second state which goes together with the first. options: seconds, fs and noise of
    `simulate`. The same for the same seed; the first people of a larger cohort are those of a smaller one.
    """
    names = [name for name in STATES if name != "sinus rhythm"]
    for number in range(n):
        rng = np.random.default_rng([seed, number, crc32(b"cohort")])
        person = Person.draw(int(rng.integers(2**31)))
        for visit in range(each):
            well, mixed = rng.random(2) < (healthy, combined)
            chosen, second = (STATES[names[i]] for i in rng.integers(len(names), size=2))
            if well:
                chosen = STATES["sinus rhythm"]
            elif mixed and chosen.goes_with(second):
                chosen = chosen + second
            low, high = chosen.rates
            rate = float(np.clip(rate_in(person, chosen) + rng.normal(0, 6), low, high))
            yield simulate_truth(person, chosen, rate, visit, **options)


def beats_of(
    person: Person, state: State, rate: float, own: Parts | None = None, clear: bool = True
) -> dict[str, Beat]:
    """The beats that occur in a state, by kind; "normal" are those that the rhythm itself leads to.

    own: the parts of the person's normal beat, None: `normal_parts`. clear: as in `put_together`.
    """
    own = parts = normal_parts(person) if own is None else own
    for change in state.changes:
        parts = change(person, parts)
    if state.rhythm in ("fibrillation", "flutter"):
        parts = replace(parts, p=None)
    kinds = {"normal": put_together(parts, person, rate, clear)}
    if state.premature == "ventricular":
        kinds["ventricular"] = put_together(changes.ventricular_ectopic(person, own), person, rate, clear)
    elif state.premature == "atrial":
        kinds["atrial"] = put_together(changes.atrial_ectopic(person, parts), person, rate, clear)
    return kinds


def rhythm_in(
    person: Person, state: State, rate: float, seconds: float, rng: np.random.Generator, breath: float, unheard: bool
) -> timing.Rhythm:
    """The beats of a strip in a state. unheard: no P wave leads to a QRS, so that a pacemaker keeps time by itself."""
    if state.rhythm == "fibrillation":
        return timing.fibrillation(person, rate, seconds, rng, state.premature)
    if state.rhythm == "flutter":
        return timing.flutter(rate, seconds, rng)
    leader = replace(person, variability_ms=2.0) if state.rhythm == "paced" and unheard else person
    return timing.sinus(leader, rate, seconds, rng, breath, state.premature)


def rate_in(person: Person, state: State) -> float:
    """The person's own heart rate in a state, beats/min: as at rest where the state allows it, else the state's."""
    low, high = state.rates
    if low <= person.resting_rate <= high and state.rhythm == "sinus":
        return person.resting_rate
    return person.own("rate in " + state.reports[0], low, high)


def _check(rate: float, seconds: float, fs: float) -> None:
    if not 20 <= rate <= 250:
        raise ValueError(f"rate is {rate} beats/min, expected 20 to 250")
    if not 2 <= seconds <= 3600:
        raise ValueError(f"seconds is {seconds}, expected 2 to 3600")
    if not 100 <= fs <= 20_000:
        raise ValueError(f"fs is {fs} Hz, expected 100 to 20000: a QRS complex does not fit into less than 100 Hz")


def _dipoles(
    person: Person, rhythm: timing.Rhythm, kinds: dict[str, Beat], time: np.ndarray, breath: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The dipoles (3, samples) of P, QRS and T of all beats in the strip; the heart swings as the chest breathes."""
    atria, qrs, t = np.zeros((3, 3, len(time)))
    swing = np.radians(person.own("swing with breathing", 0.5, 3.0))
    for number, (when, kind) in enumerate(zip(rhythm.times, rhythm.kinds, strict=True)):
        beat = kinds[kind]
        depth = np.sin(2 * np.pi * person.breaths / 60 * when + breath)
        angle = swing * depth
        turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
        turn *= 1 + 0.02 * depth
        _add(qrs, beat.qrs.turned(turn), time, when)
        _add(t, beat.t.turned(turn), time, when)
        p, at = beat.p, when
        if kind == "ventricular" and 0 < number < len(rhythm.times) - 1:  # the sinus node goes on unheard
            p, at = kinds["normal"].p, (rhythm.times[number - 1] + rhythm.times[number + 1]) / 2
        if p is not None:
            _add(atria, p, time, at)
    return atria, qrs, t


def _add(total: np.ndarray, part: Wave, time: np.ndarray, when: float) -> None:
    start, stop = part.span()
    window = slice(*np.searchsorted(time, (when + start, when + stop)))
    if window.stop > window.start:
        total[:, window] += part(time[window] - when)


def _ecg(eight: np.ndarray, fs: float, person: Person, state: State, seed: int) -> ECG:
    return ECG(
        (np.round(eight / STEP) * STEP).astype(np.float32),
        fs,
        INDEPENDENT,
        patient=f"simulated-{person.seed}",
        sex=person.sex,
        age=person.age,
        reports=state.reports,
        name=f"simulated-{person.seed}-{seed}",
        synthetic=True,
    ).twelve()
