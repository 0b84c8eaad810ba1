"""When the beats of a twin come: planned before the ECG is drawn, so that rate and regularity are what was asked.

In this order: the beats that a user gives; the reference's own rhythm, where the kind of rhythm stays; else a rhythm
drawn for the statements by the simulator's clock (`ecg.simulate.timing`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..ecg.beats import KINDS, Beats, Heartbeat
from ..ecg.simulate import Person, timing

RHYTHMS = {
    "atrial fibrillation": "fibrillation",
    "atrial flutter": "flutter",
    "paced rhythm": "paced",
    "bigeminy": "bigeminy",
    "trigeminy": "trigeminy",
    "ventricular premature complex": "ventricular",
    "atrial premature complex": "atrial",
    "sinus arrhythmia": "arrhythmia",
    "supraventricular tachycardia": "tachycardia",
    "paroxysmal supraventricular tachycardia": "tachycardia",
}
"""Statement -> kind of rhythm; the first of these that a condition names decides, and without any it is "sinus"."""
WITHOUT_P = ("fibrillation", "flutter")
"""Rhythms in which the atria do not beat."""
TYPICAL = {
    "fibrillation": (70, 120), "flutter": (75, 150), "paced": (60, 80), "tachycardia": (150, 190),
    "sinus bradycardia": (45, 56), "sinus tachycardia": (104, 130),
}  # fmt: skip
"""Beats/min between which a rhythm is drawn where no rate is asked for and the reference's does not fit."""
RESTING = (60, 90)
SLOW = 60
"""Beats/min below which a sinus rhythm is a bradycardia."""
LATENT = 0.04
"""Seconds from the onset of the QRS complex, which the clock places, to R."""
STEADY = 0.08
"""Largest coefficient of variation of the RR interval that is taken over as a sinus rhythm's own."""


def kind_of(reports: Sequence[str]) -> str:
    """The kind of rhythm that statements ask for."""
    return next((kind for name, kind in RHYTHMS.items() if name in reports), "sinus")


def atria_stay(own_reports: Sequence[str], reports: Sequence[str]) -> bool:
    """Whether waves that atria without a beat make between complexes belong to the wanted state, too, if there are."""
    return kind_of(own_reports) not in WITHOUT_P or kind_of(own_reports) == kind_of(reports)


def shown(beat: Heartbeat, reports: Sequence[str], own_reports: Sequence[str] = ()) -> Heartbeat:
    """The reference's median beats as a model is shown them for a twin under statements: without P where its rhythm
    has none and the reference was not known to be in it. Shown a P wave, a model draws one into fibrillation too."""
    kind = kind_of(reports)
    return beat.without_p() if kind in WITHOUT_P and kind_of(own_reports) != kind else beat


def plan(
    reports: Sequence[str],
    heart_rate: float | None,
    seconds: float,
    rng: np.random.Generator,
    own: Beats | None = None,
    own_reports: Sequence[str] | None = None,
) -> Beats:
    """Beats of a strip under statements at a mean rate in beats/min (None: the reference's where
    it fits, else a typical one).

    own: the reference's beats, own_reports: its statements, None where they are not known (its rhythm
        then is judged by its beats).
    """
    kind = kind_of(reports)
    alike = own is not None and len(own) >= 4 and same_rhythm(kind, own, own_reports)
    heart_rate = heart_rate or usual_rate(reports, kind, own if alike or kind in ("sinus", "arrhythmia") else None, rng)
    if alike:
        return again(own, heart_rate, seconds, rng, kind)
    return drawn(kind, heart_rate, seconds, rng)


def same_rhythm(kind: str, own: Beats, own_reports: Sequence[str] | None) -> bool:
    """Whether the reference beats in the rhythm that is asked for."""
    if own_reports:
        if kind_of(own_reports) != kind:
            return False
        steady = variation(own) <= STEADY
        return steady if kind == "sinus" else not steady if kind == "fibrillation" else True
    ectopic = (own.kinds == KINDS.index("ventricular")).any()
    return kind == "sinus" and variation(own) <= STEADY and not ectopic


def variation(beats: Beats) -> float:
    """Coefficient of variation of the RR intervals."""
    rr = np.diff(beats.times)
    return float(rr.std() / rr.mean())


def usual_rate(reports: Sequence[str], kind: str, own: Beats | None, rng: np.random.Generator) -> float:
    """The reference's own rate where it is one of this rhythm, else one drawn between typical limits."""
    named = next((name for name in ("sinus bradycardia", "sinus tachycardia") if name in reports), kind)
    low, high = TYPICAL.get(named, RESTING)
    mine = own.heart_rate if own is not None else None
    most = SLOW if named == "sinus bradycardia" else high + 30
    if mine is not None and (
        named not in TYPICAL or kind in ("fibrillation", "flutter", "paced") or low - 5 <= mine < most
    ):
        return mine
    return float(rng.uniform(low, high))


def again(own: Beats, heart_rate: float, seconds: float, rng: np.random.Generator, kind: str) -> Beats:
    """The reference's own RR intervals, begun at another one of them and over again, at a mean rate."""
    rr, kinds = np.diff(own.times), own.kinds[1:]
    start = int(rng.integers(len(rr)))
    factors, kinds = np.roll(rr / rr.mean(), -start), np.roll(kinds, -start)
    if kind == "sinus":
        # The sinus node at speed hardly varies.
        factors = 1 + (factors - 1) * min(1.0, (60 / heart_rate) / rr.mean()) ** 0.5
    n = int(np.ceil(seconds * heart_rate / 60)) + 2
    turns = -(-n // len(factors))
    times = np.cumsum(np.tile(factors, turns)[:n]) * 60 / heart_rate
    times -= times[0] - rng.uniform(0.05, 0.95) * 60 / heart_rate
    return inside(times, np.tile(kinds, turns)[:n], seconds, heart_rate)


def drawn(kind: str, heart_rate: float, seconds: float, rng: np.random.Generator) -> Beats:
    """A rhythm by the simulator's clock."""
    person = Person.draw(int(rng.integers(2**31)))
    breath = rng.uniform(0, 2 * np.pi)
    if kind == "fibrillation":
        rhythm = timing.fibrillation(person, heart_rate, seconds, rng)
    elif kind == "flutter":
        rhythm = timing.flutter(heart_rate, seconds, rng)
    elif kind in ("paced", "tachycardia"):
        rhythm = timing.sinus(replace(person, variability_ms=2.0), heart_rate, seconds, rng, breath)
    elif kind in ("bigeminy", "trigeminy"):
        rhythm = timing.allorhythmic(person, heart_rate, seconds, rng, 2 if kind == "bigeminy" else 3)
    elif kind == "arrhythmia":
        rhythm = timing.sinus(replace(person, variability_ms=rng.uniform(90, 160)), heart_rate, seconds, rng, breath)
    else:
        rhythm = timing.sinus(
            person, heart_rate, seconds, rng, breath, kind if kind in ("ventricular", "atrial") else None
        )
    usual = "paced" if kind == "paced" else "normal"
    kinds = np.array([KINDS.index("ventricular" if name == "ventricular" else usual) for name in rhythm.kinds])
    return inside(rhythm.times + LATENT, kinds, seconds)


def inside(times: np.ndarray, kinds: np.ndarray, seconds: float, heart_rate: float | None = None) -> Beats:
    """The beats of a strip; heart_rate: that its mean RR interval shall have exactly."""
    within = (times >= 0) & (times < seconds)
    times, kinds = times[within], kinds[within]
    if heart_rate is not None and len(times) > 2:
        wanted = (len(times) - 1) * 60 / heart_rate
        times = times[0] + (times - times[0]) * wanted / (times[-1] - times[0])
        within = times < seconds
        times, kinds = times[within], kinds[within]
    return Beats(times, kinds)


def beat_track(beats: Beats | None, rate: float, samples: int) -> Tensor:
    """A bump of one sample's width at each beat, a row for each of `KINDS`: (K, samples);
    zeros where beats are None."""
    track = torch.zeros(len(KINDS), samples)
    if beats is not None:
        place = torch.from_numpy(beats.times * rate)[:, None]
        bumps = torch.exp(-0.5 * (torch.arange(samples) - place) ** 2).float()
        track.index_add_(0, torch.from_numpy(beats.kinds).long(), bumps)
    return track
