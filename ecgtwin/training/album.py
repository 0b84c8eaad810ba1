"""Strips and pairs of people as they are collected, and as the arrays that a bank keeps.

A *strip* is an ECG whose beats are known: a recording, the same at another heart rate, or the recording's person in
another state, constructed by the simulator that was fitted to the recording. A *pair* is two strips of one person,
reference and target, and the *draft*: the reference's median beats at the target's beat times. Reference and target are
seen by the same electrodes.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from ..ecg.beats import Beats, Heartbeat, lay
from .augment import Electrodes

KINDS = ("same", "rate", "real", "simulated", "constructed", "expected", "back")
"""Of pairs, as in `config.DraftPairs`."""
BEATS, STATEMENTS = 64, 24
"""Most of one strip that are kept."""


@dataclass(frozen=True, eq=False)
class Strip:
    """signal (8, L) in mV with its beats and median beats, under statements. place: of the
    recording that it was made of."""

    signal: np.ndarray
    beats: Beats
    heartbeat: Heartbeat
    reports: tuple[str, ...]
    place: int
    heart_rate: float | None

    def seen_by(self, electrodes: Electrodes | None) -> "Strip":
        """The same heart by other electrodes; they are linear, so median beats change as the signal does."""
        if electrodes is None:
            return self
        return replace(self, signal=applied(electrodes, self.signal), heartbeat=seen_by(self.heartbeat, electrodes))


def seen_by(beat: Heartbeat, electrodes: Electrodes | None) -> Heartbeat:
    """The same beats by other electrodes."""
    if electrodes is None:
        return beat
    return replace(
        beat, shapes={kind: applied(electrodes, shape).astype(np.float64) for kind, shape in beat.shapes.items()}
    )


def applied(electrodes: Electrodes, x: np.ndarray) -> np.ndarray:
    """One signal (8, samples) as electrodes see it, float32."""
    return electrodes.apply(torch.from_numpy(x[None]).float())[0].numpy()


class Made(NamedTuple):
    """S strips and P pairs of some people.

    signals (S, 8, L) and drafts (P, 8, L) int16 in uV. times (S, BEATS) s, NaN = no beat; beat_kinds (S, BEATS) places
    in `ecg.beats.KINDS`; statements (S, STATEMENTS) places in the names given, -1 = none; heart_rate (S,) beats/min,
    NaN where it is not known; place (S,) of the recording. reference, target (P,): strips; kind (P,): place in `KINDS`.
    """

    signals: np.ndarray
    times: np.ndarray
    beat_kinds: np.ndarray
    statements: np.ndarray
    heart_rate: np.ndarray
    place: np.ndarray
    drafts: np.ndarray
    reference: np.ndarray
    target: np.ndarray
    kind: np.ndarray


class Album:
    """Strips and pairs as they are collected."""

    def __init__(self, rate: float, kinds: tuple[str, ...]):
        self.rate, self.kinds = rate, kinds
        self.strips: list[Strip] = []
        self.pairs: list[tuple[int, int, int]] = []
        self.drafts: list[np.ndarray] = []

    def add(self, strip: Strip) -> int:
        self.strips.append(strip)
        return len(self.strips) - 1

    def pair(self, kind: str, reference: int, target: int, heartbeat: Heartbeat | None = None) -> None:
        """heartbeat: of the draft, where it is not the reference's."""
        shown, wanted = heartbeat or self.strips[reference].heartbeat, self.strips[target]
        self.pairs.append((reference, target, KINDS.index(kind)))
        self.drafts.append(microvolts(lay(shown, wanted.beats, self.rate, wanted.signal.shape[-1])))

    def made(self, names: dict[str, int], shape: tuple[int, int]) -> Made:
        n = len(self.strips)
        times, kinds = np.full((n, BEATS), np.nan, np.float32), np.zeros((n, BEATS), np.int8)
        said = np.full((n, STATEMENTS), -1, np.int16)
        for row, strip in enumerate(self.strips):
            few = min(BEATS, len(strip.beats))
            times[row, :few], kinds[row, :few] = strip.beats.times[:few], strip.beats.kinds[:few]
            ids = sorted({names[s] for s in strip.reports if s in names})[:STATEMENTS]
            said[row, : len(ids)] = ids
        signals = [microvolts(s.signal - np.median(s.signal, -1, keepdims=True)) for s in self.strips]
        rates = np.array([s.heart_rate or np.nan for s in self.strips], np.float32)
        pairs = np.array(self.pairs, np.int64).reshape(-1, 3).T
        empty = np.zeros((0, *shape), np.int16)
        return Made(
            np.stack(signals) if signals else empty,
            times,
            kinds,
            said,
            rates,
            np.array([s.place for s in self.strips], np.int64),
            np.stack(self.drafts) if self.drafts else empty,
            *pairs,
        )


def microvolts(signal: np.ndarray) -> np.ndarray:
    return np.round(signal * 1000).clip(-32767, 32767).astype(np.int16)
