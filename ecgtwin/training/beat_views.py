"""Canonical beats of every recording as latents: the recording's own on other days, and its person's
in other states of the heart.

For extractors that see beats (`model.base.sees: beat`). Kind 0 is the recording as it is, then come views of it (beats
of its first half, its second half or all of it, other electrodes), then the same person constructed in other states,
with other electrodes as well.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..ecg.canonical_beat import canonical_beat, period
from ..ecg.simulate import STATES, construct, fit
from ..ecg.store.recordings import Recordings
from ..train.batch import stream
from ..twin.codec import Codec
from ..twin.expected import WITHOUT_P
from .augment import Electrodes
from .config import BeatConfig, Config
from .latents import Bank, kept, third
from .weights import digest

if TYPE_CHECKING:
    from accelerate import Accelerator

OWN = -1.0
"""What `Bank.about` says of a beat that is the recording's own; of a constructed one, the place of its state
in `STATES`; NaN: no beat."""
BLOCKED = {
    "paced rhythm",
    "complete left bundle branch block",
    "complete right bundle branch block",
    "Wolff-Parkinson-White syndrome",
}
"""Statements of recordings that do not show how the heart would beat without them: no other
state is constructed of these."""
COMMON = (
    "atrial fibrillation", "complete left bundle branch block", "complete right bundle branch block",
    "left ventricular hypertrophy", "left anterior fascicular block", "anteroseptal myocardial infarction",
    "inferior myocardial infarction", "normal functioning artificial pacemaker", "first degree AV block",
    "long QT-interval", "sinus rhythm",
)  # fmt: skip
"""States that are drawn twice as often as all others together."""


def beat_views(
    settings: Config, recordings: Recordings, codec: Codec, codec_key: str, folder: Path, accelerator: "Accelerator"
) -> Bank:
    """The bank of beats, kept in a folder; made when it is not there, or of other recordings."""
    config, model = settings.train.beats, settings.model
    samples = period(model.signal.rate, codec.vae.factor)
    turn = samples // codec.vae.factor
    shape = (1 + config.views + config.constructed, model.vae.latent, turn + turn % 2)
    key = digest(codec_key, recordings.digest, config.model_dump_json())
    make = partial(beats_of, config=config, samples=samples)
    return kept(folder, key, recordings, codec, codec.encode_beat, make, shape, 1, accelerator)


def beats_of(recordings: Recordings, place: int, *, config: BeatConfig, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """All beats of one recording, (K, 8, samples) int16 in uV, and what they are, (K,); NaN
    where there is none to be had."""
    views, rate = config.views, recordings.rate
    key = (config.seed, int(recordings.which[place]), int(recordings.rows[place]))
    rng, generator = np.random.default_rng(key), stream(*key)
    beats = torch.zeros(1 + views + config.constructed, 8, samples)
    about = np.full(len(beats), np.nan, np.float32)
    signal = recordings.millivolts(slice(place, place + 1))[0]
    middle = signal.shape[-1] // 2
    # The halves overlap by half a second, so that a beat on the border belongs to either.
    parts = [signal[:, : middle + round(rate / 4)], signal[:, middle - round(rate / 4) :], signal]
    found = [beat_in(part, rate, samples) for part in parts]
    if found[2] is None:
        return beats.to(torch.int16).numpy(), about
    for kind in range(1 + views):
        own = found[third(kind - 1, views)] if kind else None
        beats[kind] = torch.from_numpy(found[2] if own is None else own)
        about[kind] = OWN
    said = set(recordings.statements(place))
    if config.constructed and not said & BLOCKED:
        for kind, (beat, state) in enumerate(
            other_states(recordings, place, signal, config.constructed, samples, rng), 1 + views
        ):
            beats[kind], about[kind] = torch.from_numpy(beat), state
    e = config.electrodes
    beats[1:] = Electrodes.draw(len(beats) - 1, generator, angle=e.angle, shift=e.shift, gain=e.gain).apply(beats[1:])
    return (beats * 1000).round().clamp(-32767, 32767).to(torch.int16).numpy(), about


def beat_in(signal: np.ndarray, rate: float, samples: int) -> np.ndarray | None:
    """The canonical beat, or None where there are too few."""
    try:
        return canonical_beat(signal, rate, samples)
    except ValueError:
        return None


def other_states(
    recordings: Recordings, place: int, signal: np.ndarray, n: int, samples: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, int]]:
    """Canonical beats of the recording's person constructed in n drawn states, and the states' places in `STATES`; none
    where the simulator does not explain the recording."""
    rate, said = recordings.rate, set(recordings.statements(place))
    try:
        person = fit(
            signal,
            rate,
            sex=recordings.sexes(place),
            age=recordings.years(place),
            atria=said.isdisjoint(WITHOUT_P),
            least=0.85,
        )
    except (ValueError, np.linalg.LinAlgError):
        return []
    names, made = list(STATES), []
    for _ in range(n):
        name = COMMON[rng.integers(len(COMMON))] if rng.random() < 2 / 3 else names[rng.integers(len(names))]
        try:
            recording = construct(person, name, seed=int(rng.integers(1000)), rate=rate)
        except ValueError:
            continue
        beat = beat_in(recording.signal, rate, samples)
        if beat is not None:
            made.append((beat, names.index(name)))
    return made


@dataclass(frozen=True, eq=False)
class OwnBeats:
    """Of a bank of beats, those that are the recordings' own: the recording as it is and so many views of it."""

    bank: Bank
    views: int

    def view(self, rows: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        """(b, Z, T) float16 of ECGs `rows`, and whether each has a beat, (b,) bool."""
        return self.bank.target(rows, kinds % (1 + self.views)), usable(self.bank)[rows]


def usable(bank: Bank) -> Tensor:
    """Whether a recording has a beat, (N,) bool."""
    return bank.about[:, 0].isfinite()
