"""How far an ECG is from those that a model was trained on: where nothing like it was seen, nothing is to be believed.

Features of the independent 12-lead classifier, in 32 whitened principal components of the training ECGs; the distance
is that to the nearest of 48 centres (k-means), told as the fraction of held-out real ECGs that are nearer. The centres
are means of dozens of ECGs: no recording can be read from them. On PTB-XL, medians: held-out ECGs 0.5, reversed chest
leads 0.8, upside down 0.8, with 0.2 mV of noise 0.9, backwards 0.9, white noise 0.98; half the voltage goes unseen.
"""

import base64
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import numpy as np
from pydantic import Field

from ..ecg.leads import INDEPENDENT
from ..ecg.record import ECG
from ..metrics.evaluators import RATE, Statements
from ..train.strict import Strict

COMPONENTS, CENTRES = 32, 48
FAR = 0.95
"""Fraction of held-out real ECGs from which on an ECG counts as unlike the training data."""
SHORTEST = 256
"""Samples that the classifier needs."""

reader = cache(Statements.load)


class Stored(Strict):
    """In a file: float16 arrays as base64, and the classifier that they belong to."""

    reader_sha256: Annotated[str, Field(max_length=64)]
    mean: Annotated[str, Field(max_length=100_000)]
    axes: Annotated[str, Field(max_length=1_000_000)]
    centres: Annotated[str, Field(max_length=1_000_000)]
    held_out: Annotated[tuple[float, ...], Field(min_length=2, max_length=1001)]


@dataclass(frozen=True, eq=False)
class TrainingDistance:
    """mean (W,), axes (W, 32) whitened, centres (K, 32); held_out: distances of held-out real ECGs, sorted centiles."""

    mean: np.ndarray
    axes: np.ndarray
    centres: np.ndarray
    held_out: np.ndarray

    @staticmethod
    def fit(training: np.ndarray, held: np.ndarray, seed: int = 0) -> "TrainingDistance":
        """Of signals (N, 8, L) in mV at 102.4 Hz of the training ECGs, and of other people's real ECGs."""
        from sklearn.cluster import KMeans

        x = reader().features(levelled(training)).astype(float)
        mean = x.mean(0)
        _, sizes, rows = np.linalg.svd(x - mean, full_matrices=False)
        varies = sizes[:COMPONENTS] > 1e-3 * sizes[0]  # a few ECGs have fewer components: the others count nothing
        axes = np.zeros((x.shape[1], COMPONENTS))
        axes[:, : len(varies)] = rows[:COMPONENTS].T * (varies / np.maximum(sizes[:COMPONENTS], 1e-9) * np.sqrt(len(x)))
        found = KMeans(min(CENTRES, len(x)), n_init=4, random_state=seed).fit((x - mean) @ axes)
        one = TrainingDistance(*(a.astype(np.float16) for a in (mean, axes, found.cluster_centers_)), np.empty(0))
        apart = one.apart(reader().features(levelled(held)))
        return TrainingDistance(one.mean, one.axes, one.centres, np.quantile(apart, np.linspace(0, 1, 101)))

    def apart(self, features: np.ndarray) -> np.ndarray:
        """Distance (N,) of features (N, W) to the nearest centre, in standard deviations of a component."""
        x = (features.astype(float) - self.mean) @ self.axes.astype(float)
        return np.sqrt(((x[:, None] - self.centres.astype(float)) ** 2).mean(-1)).min(1)

    def __call__(self, ecgs: list[ECG] | tuple[ECG, ...]) -> np.ndarray:
        """(N,) fraction of held-out real ECGs that are nearer to the training data; NaN for an ECG below 2.5 s."""
        found = np.full(len(ecgs), np.nan)
        for k, ecg in enumerate(ecgs):
            x = ecg.twelve().select(INDEPENDENT).resample(RATE).signal[:, :1024]
            if x.shape[1] >= SHORTEST:
                apart = self.apart(reader().features(levelled(x[None])))[0]
                found[k] = np.interp(apart, self.held_out, np.linspace(0, 1, len(self.held_out)))
        return found

    def stored(self) -> Stored:
        arrays = {name: packed(getattr(self, name)) for name in ("mean", "axes", "centres")}
        return Stored(
            reader_sha256=reader().sha256, **arrays, held_out=tuple(round(float(x), 4) for x in self.held_out)
        )

    @staticmethod
    def of(stored: Stored) -> "TrainingDistance | None":
        """ValueError for arrays that do not fit; None where the classifier is another one by now."""
        mean = unpacked(stored.mean)
        axes, centres = (unpacked(getattr(stored, name)).reshape(-1, COMPONENTS) for name in ("axes", "centres"))
        if len(axes) != len(mean) or not len(centres) or list(stored.held_out) != sorted(stored.held_out):
            raise ValueError(f"training distance of {len(mean)}, {len(axes)} and {len(centres)} rows does not fit")
        if stored.reader_sha256 != reader().sha256:
            return None
        return TrainingDistance(mean, axes, centres, np.array(stored.held_out))


def levelled(signals: np.ndarray) -> np.ndarray:
    return (signals - np.median(signals, axis=-1, keepdims=True)).astype(np.float32)


def packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f2").tobytes()).decode()


def unpacked(text: str) -> np.ndarray:
    """ValueError for text that holds no finite float16 numbers."""
    array = np.frombuffer(base64.b64decode(text, validate=True), "<f2")
    if not np.isfinite(array).all():
        raise ValueError("training distance: expected finite numbers")
    return array
