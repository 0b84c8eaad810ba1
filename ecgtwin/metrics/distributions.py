"""Distances between distributions of one measurement, where "not measurable" is data too."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Apart(NamedTuple):
    """distance: 1-Wasserstein distance of the measured values, in their unit (NaN where a side has none); shift:
    difference of their medians, made minus real; measured_real, measured_made: fraction that could be measured."""

    distance: float
    shift: float
    measured_real: float
    measured_made: float


def apart(real: np.ndarray, made: np.ndarray) -> Apart:
    """Of values (N,) and (M,), NaN where not measurable."""
    real, made = np.asarray(real, float), np.asarray(made, float)
    a, b = real[np.isfinite(real)], made[np.isfinite(made)]
    some = len(a) and len(b)
    return Apart(
        wasserstein(a, b) if some else float("nan"),
        float(np.median(b) - np.median(a)) if some else float("nan"),
        len(a) / max(1, len(real)),
        len(b) / max(1, len(made)),
    )


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Area between the two distribution functions of (N,) and (M,): how far mass must move on average."""
    a, b = np.sort(np.asarray(a, float)), np.sort(np.asarray(b, float))
    if not len(a) or not len(b):
        raise ValueError(f"{len(a)} and {len(b)} values: expected one or more of each")
    every = np.sort(np.concatenate([a, b]))
    at = every[:-1]
    below_a, below_b = np.searchsorted(a, at, "right") / len(a), np.searchsorted(b, at, "right") / len(b)
    return float(np.sum(np.abs(below_a - below_b) * np.diff(every)))


def table(real: np.ndarray, made: np.ndarray, names: Sequence[str]) -> dict[str, Apart]:
    """`apart` of each column of (N, F) and (M, F)."""
    return {name: apart(real[:, k], made[:, k]) for k, name in enumerate(names)}
