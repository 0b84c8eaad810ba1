"""From a person and a state to an ECG, with the truth beside it."""

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from ..record import ECG
from . import changes, timing
from .beat import Beat, normal_parts, put_together
from .dipole import Wave
from .noise import Noise
from .person import Person
from .states import State
from .states import state as named

STEP = 1 / 1024  # mV: signals are rounded to this, about the step of a recorder, so that float32 sums of leads are exact
TWELVE = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
TYPICAL = Noise()


@dataclass(frozen=True, eq=False)
class Simulated:
    """A simulated ECG and the truth about it.

    ecg: with noise; clean: without. beats: QRS onsets in the strip in s, kinds: of each, "normal" | "ventricular" | "atrial".
    rate: beats/min. pr_ms None: no P wave leads to a QRS. axis_deg: frontal QRS axis. All of the conducted beat.
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
    """A 12-lead ECG of a person in a state: I, II, V1-V6 seen by the person's lead field, III, aVR, aVL, aVF derived from I and II.

    state: a `State`, or statements of `STATES` joined with "|" ("atrial fibrillation|left ventricular hypertrophy").
    rate: beats/min (20 to 250), None: the person's own in this state. seed: of what changes from recording to recording (moment of
    the first beat, variability, noise); the same seed in two states shares it. seconds: 2 to 3600. fs: Hz, at least 100.
    noise: None for the clean signal. ValueError for what is out of range, KeyError for an unknown state.
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
    if not 20 <= rate <= 250:
        raise ValueError(f"rate is {rate} beats/min, expected 20 to 250")
    if not 2 <= seconds <= 3600:
        raise ValueError(f"seconds is {seconds}, expected 2 to 3600")
    if not fs >= 100:
        raise ValueError(f"fs is {fs} Hz, expected at least 100 Hz to hold a QRS complex")
    time = np.arange(int(round(seconds * fs))) / fs
    beats_rng, atria_rng, noise_rng = (
        np.random.default_rng([seed, person.seed, crc32(what)]) for what in (b"beats", b"atria", b"noise")
    )
    parts = normal_parts(person)
    for change in state.changes:
        parts = change(person, parts)
    if state.rhythm in ("fibrillation", "flutter"):
        parts = replace(parts, p=None)
    beat = put_together(parts, person, rate)
    kinds = {"normal": beat}
    if state.premature == "ventricular":
        kinds["ventricular"] = put_together(changes.ventricular_ectopic(person, normal_parts(person)), person, rate)
    elif state.premature == "atrial":
        kinds["atrial"] = put_together(changes.atrial_ectopic(person, parts), person, rate)
    if state.rhythm == "fibrillation":
        rhythm = timing.fibrillation(rate, seconds, beats_rng)
    elif state.rhythm == "flutter":
        rhythm = timing.flutter(rate, seconds, beats_rng)
    else:
        rhythm = timing.sinus(person, rate, seconds, beats_rng, state.premature)
    ventricles, atria = _beats(rhythm, kinds, time)
    if state.rhythm == "paced":
        pulse = changes.spike(person)
        for when in rhythm.times:
            _add(ventricles, pulse, time, when)
    if state.rhythm == "fibrillation":
        atria += timing.fibrillatory_waves(person, time, atria_rng)
    elif state.rhythm == "flutter":
        atria += timing.flutter_waves(person, time, rhythm)
    clean = person.field @ ventricles + person.atrial_field @ atria
    noisy = clean if noise is None else clean + noise.draw(noise_rng, len(time), fs, person.breaths)
    inside = (rhythm.times >= 0) & (rhythm.times < seconds)
    return Simulated(
        ecg=_ecg(noisy, fs, person, state, seed),
        clean=_ecg(clean, fs, person, state, seed),
        person=person,
        state=state,
        beats=rhythm.times[inside],
        kinds=tuple(k for k, seen in zip(rhythm.kinds, inside, strict=True) if seen),
        rate=rate,
        pr_ms=None if beat.p is None else beat.pr_ms,
        qrs_ms=beat.qrs_ms,
        qt_ms=beat.qt_ms,
        axis_deg=beat.axis_deg,
    )


def rate_in(person: Person, state: State) -> float:
    """The person's own heart rate in a state, beats/min: as at rest where the state allows it, else the state's."""
    low, high = state.rates
    if low <= person.resting_rate <= high and state.rhythm == "sinus":
        return person.resting_rate
    return person.own("rate in " + state.reports[0], low, high)


def _beats(rhythm: timing.Rhythm, kinds: dict[str, Beat], time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All beats in the strip as two dipoles (3, samples), of the ventricles and of the atria."""
    ventricles, atria = np.zeros((3, len(time))), np.zeros((3, len(time)))
    for when, kind in zip(rhythm.times, rhythm.kinds, strict=True):
        beat = kinds[kind]
        _add(ventricles, beat.qrs, time, when)
        _add(ventricles, beat.t, time, when)
        if beat.p is not None:
            _add(atria, beat.p, time, when)
    return ventricles, atria


def _add(total: np.ndarray, part: Wave, time: np.ndarray, when: float) -> None:
    start, stop = part.span()
    window = slice(*np.searchsorted(time, (when + start, when + stop)))
    if window.stop > window.start:
        total[:, window] += part(time[window] - when)


def _ecg(eight: np.ndarray, fs: float, person: Person, state: State, seed: int) -> ECG:
    eight = np.round(eight / STEP) * STEP
    one, two = eight[:2]
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return ECG(
        np.concatenate([limbs, eight[2:]]).astype(np.float32),
        fs,
        TWELVE,
        patient=f"simulated-{person.seed}",
        sex=person.sex,
        age=person.age,
        reports=state.reports,
        name=f"simulated-{person.seed}-{seed}",
        synthetic=True,
    )
