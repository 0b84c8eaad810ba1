"""What a denoiser that reads drafts is trained on: a person's heart in several states, and its beats laid at each
state's times (`album`)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ..ecg.beats import Heartbeat, take
from ..ecg.rhythm import r_peaks
from ..ecg.simulate import STATES, Fitted, State, construct
from ..ecg.store.columns import SPLITS
from ..ecg.store.recordings import Recordings
from ..text.statements import Vocabulary
from ..train.batch import stream
from ..twin.condition import Condition
from ..twin.expected import Expected, person_in, reshapes
from ..twin.rhythm import shown
from .album import Album, Made, Strip, seen_by
from .augment import Electrodes
from .config import DraftsConfig
from .latents import at_rate, draw_rate

COMMON = (
    "atrial fibrillation", "complete left bundle branch block", "complete right bundle branch block",
    "left ventricular hypertrophy", "left anterior fascicular block", "anteroseptal myocardial infarction",
    "inferior myocardial infarction", "normal functioning artificial pacemaker", "first degree AV block",
    "long QT-interval", "sinus rhythm", "sinus rhythm",
)  # fmt: skip
"""The states that matter most; sinus rhythm, twice as often, is the way back to normal."""
RHYTHMS = {
    "normal ECG", "sinus rhythm", "sinus bradycardia", "sinus tachycardia", "sinus arrhythmia", "atrial fibrillation",
    "atrial flutter", "paced rhythm", "supraventricular arrhythmia", "ventricular premature complex",
    "atrial premature complex", "bigeminy", "trigeminy",
}  # fmt: skip
"""Statements that another rhythm puts an end to; the others stay true where only the rhythm is another."""
UNFITTABLE = {
    "paced rhythm", "complete left bundle branch block", "complete right bundle branch block",
    "Wolff-Parkinson-White syndrome",
}  # fmt: skip
"""In these a recording does not show how the heart would conduct normally."""
HALF = 0.53
"""Of the samples that a half of a recording has; the two overlap a little, so that no beat is lost between them."""


def album(
    recordings: Recordings, places: list[int], config: DraftsConfig, kinds: tuple[str, ...], names: dict[str, int]
) -> Made:
    """All that is made of the recordings at some places, which hold people as a whole. kinds:
    of pairs that are wanted."""
    found = Album(recordings.rate, kinds)
    first: dict[int, list[int]] = {}
    for place in places:
        idle = recordings.simulated[place] and not recordings.simulated.all() and "simulated" not in kinds
        strip = None if idle else recorded(recordings, place)
        if strip is None:
            continue
        first.setdefault(int(recordings.owner[place]), []).append(alone(found, recordings, strip, config))
    for mine in first.values():
        for target in mine:
            kind = "simulated" if recordings.simulated[found.strips[target].place] else "real"
            others = [row for row in mine if row != target]
            if kind in kinds and others:
                rng = np.random.default_rng([config.seed, found.strips[target].place, 2])
                for reference in rng.permutation(others)[: config.partners]:
                    found.pair(kind, int(reference), target)
    return found.made(names, (len(recordings.leads), recordings.samples))


def recorded(recordings: Recordings, place: int) -> Strip | None:
    """A recording, or None where it has no beats to draw a draft of."""
    signal, reports = recordings.millivolts(slice(place, place + 1))[0], recordings.statements(place)
    try:
        beats, heartbeat = take(signal, recordings.rate, paced="paced rhythm" in reports)
    except ValueError:
        return None
    return Strip(signal, beats, heartbeat, reports, place, beats.heart_rate)


def alone(found: Album, recordings: Recordings, strip: Strip, config: DraftsConfig) -> int:
    """Add what is made of one recording alone; returns where the recording itself is. Of a simulated person nothing
    else is made, unless the stores hold no others."""
    place = strip.place
    key = config.seed, int(recordings.which[place]), int(recordings.rows[place])
    rng, noise = np.random.default_rng(key), stream(*key)
    row = found.add(strip)
    if recordings.simulated[place] and not recordings.simulated.all():
        return row
    training = recordings.split[place] == SPLITS.index("train")
    views = [(row, strip)]
    if training:
        turned = strip.seen_by(electrodes(noise, config))
        views.append((found.add(turned), turned))
    for number, (here, view) in enumerate(views):
        if "same" in found.kinds:
            found.pair("same", here, here)
            found.pair("same", here, here, half(view, number, recordings.rate) or view.heartbeat)
        other = changed_rate(view, rng, recordings.rate, config) if "rate" in found.kinds else None
        if other is not None:
            there = found.add(other)
            found.pair("rate", here, there)
            found.pair("rate", there, here)
    if {"constructed", "expected", "back"} & set(found.kinds) and not UNFITTABLE & set(strip.reports):
        seen = electrodes(noise, config) if training and rng.random() < config.turned else None
        other_states(found, recordings, strip, seen, rng, config)
    return row


def electrodes(generator: torch.Generator, config: DraftsConfig) -> Electrodes:
    e = config.electrodes
    return Electrodes.draw(1, generator, angle=e.angle, shift=e.shift, gain=e.gain)


def half_of(signal: np.ndarray, number: int) -> np.ndarray:
    """The first (0) or second half of signals (..., L)."""
    n = round(HALF * signal.shape[-1])
    return signal[..., -n:] if number else signal[..., :n]


def own_condition(recordings: Recordings, strip: Strip) -> Condition:
    """What a recording's report says of it."""
    return Condition(strip.reports, recordings.sexes(strip.place), recordings.years(strip.place))


def half(strip: Strip, number: int, rate: float) -> Heartbeat | None:
    """Median beats of the first (0) or second half, None where they are too few."""
    try:
        return take(half_of(strip.signal, number % 2), rate, paced="paced rhythm" in strip.reports)[1]
    except ValueError:
        return None


def changed_rate(strip: Strip, rng: np.random.Generator, rate: float, config: DraftsConfig) -> Strip | None:
    """The same beats at another heart rate, None where they do not allow it."""
    peaks = r_peaks(strip.signal, rate)
    if len(peaks) < 4:
        return None
    now = float(60 * rate / np.diff(peaks).mean())
    signal = at_rate(strip.signal, rate, peaks, now, draw_rate(rng, now, config.heart_rate), rng.uniform())
    try:
        beats, heartbeat = (
            take(signal, rate, paced="paced rhythm" in strip.reports) if signal is not None else (None, None)
        )
    except ValueError:
        return None
    return (
        None
        if beats is None
        else replace(strip, signal=signal, beats=beats, heartbeat=heartbeat, heart_rate=beats.heart_rate)
    )


def other_states(
    found: Album,
    recordings: Recordings,
    strip: Strip,
    seen: Electrodes | None,
    rng: np.random.Generator,
    config: DraftsConfig,
) -> None:
    """Add the person of a recording in other states, with pairs between all of them; nothing where no
    simulated person explains it."""
    person = person_in(strip.signal, recordings.rate, own_condition(recordings, strip), least=config.least)
    if person is None:
        return
    made = [m for _ in range(config.states) if (m := in_state(person, strip, recordings, rng, config)) is not None]
    strips = [strip, *(s for _, s in made)]
    rows = [found.add(s.seen_by(seen)) for s in strips] if made else []
    for i, reference in enumerate(rows):
        for j, target in enumerate(rows):
            # Half of the pairs between two constructed states are left out, so that those with
            # the recording are as many.
            kind = "constructed" if j else "back"
            if i != j and kind in found.kinds and (not i or not j or rng.random() < 0.5):
                found.pair(kind, reference, target)
    if "expected" in found.kinds:
        for target, (state, there) in zip(rows[1:], made, strict=True):
            if (beat := drafted(recordings, strip, state, there, rng)) is not None:
                found.pair("expected", rows[0], target, seen_by(beat, seen))


def drafted(
    recordings: Recordings, strip: Strip, state: State, there: Strip, rng: np.random.Generator
) -> Heartbeat | None:
    """The beats that a twin of the recording is drawn from in a state (`twin.expected`); None where these are the
    recording's own.

    The person is found anew, in one half of the recording and with other chances for what no recording tells, so that
    what is shown is as uncertain as where it is used.
    """
    if not reshapes(state):
        beat = shown(strip.heartbeat, there.reports, strip.reports)
        return None if beat is strip.heartbeat else beat
    part = half_of(strip.signal, int(rng.random() < 0.5))
    person = person_in(part, recordings.rate, own_condition(recordings, strip), seed=int(rng.integers(2**31)))
    beat = None if person is None else Expected(person, state, recordings.rate).at(there.beats.heart_rate)
    return None if beat is None else beat.onto(there.heartbeat)


def in_state(
    person: Fitted, strip: Strip, recordings: Recordings, rng: np.random.Generator, config: DraftsConfig
) -> tuple[State, Strip] | None:
    """A state drawn by chance and the person in it, None where it cannot be constructed or has no beats."""
    state = draw_state(rng, config)
    heart_rate = None if rng.random() < config.own_rate else state_rate(state, rng)
    noise, seed, rate = None if rng.random() < config.clean else "drawn", int(rng.integers(1000)), recordings.rate
    try:
        made = construct(person, state, heart_rate, seed, rate=rate, seconds=recordings.samples / rate, noise=noise)
        beats, heartbeat = take(made.signal, rate, paced=state.rhythm == "paced")
    except (ValueError, IndexError, RuntimeError):
        return None
    return state, Strip(made.signal, beats, heartbeat, reports_in(state, strip.reports), strip.place, made.heart_rate)


def draw_state(rng: np.random.Generator, config: DraftsConfig) -> State:
    names = list(STATES)
    state = STATES[
        COMMON[rng.integers(len(COMMON))] if rng.random() < config.common else names[rng.integers(len(names))]
    ]
    other = STATES[names[rng.integers(len(names))]]
    return state + other if rng.random() < config.combined and state.goes_with(other) else state


def state_rate(state: State, rng: np.random.Generator) -> float:
    """Beats/min: wider than the state's own limits, so that rates are learned apart from states."""
    low, high = state.rates
    if state.rhythm == "sinus" and (low, high) == STATES["sinus rhythm"].rates:
        return float(np.clip(rng.normal(75, 18), 45, 130))
    return float(np.clip(rng.uniform(low, high) + rng.normal(0, 10), 40, 160))


def reports_in(
    state: State, own: tuple[str, ...], normalise: Callable[[str], str] = Vocabulary().normalise
) -> tuple[str, ...]:
    """Statements that are true of a person in a state; where the state changes the rhythm alone, what
    else was said stays true."""
    said = [normalise(s) for s in state.reports]
    kept = [s for s in own if s not in RHYTHMS] if state.rhythm == "fibrillation" or not state.changes else []
    return tuple(dict.fromkeys([*(s for s in said if not (kept and s == "normal ECG")), *kept]))


def state_names() -> set[str]:
    """All statements that constructed states can have of their own."""
    return {s for state in STATES.values() for s in reports_in(state, ())}
