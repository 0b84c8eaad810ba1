"""95 % intervals over patients: ECGs of one patient are not independent, so patients are drawn
with all that they bring."""

from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """value of the whole sample, and the ends of its interval."""

    value: float
    low: float
    high: float


def draws(patients: np.ndarray, times: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each ECG occurs in each bootstrap sample of the patients, (times, N); an unknown patient (-1)
    is another one each time."""
    patients = np.asarray(patients)
    alone = np.flatnonzero(patients == -1)
    names = patients.astype(np.int64).copy()
    names[alone] = names.max(initial=0) + 1 + np.arange(len(alone))
    _, group = np.unique(names, return_inverse=True)
    n = int(group.max()) + 1
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=times)
    return counts[:, group]


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentiles of bootstrap values, those that are not finite left out; NaN where none is."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean(values: np.ndarray, patients: np.ndarray, *, times: int = 1000, seed: int = 0) -> Estimate:
    """Mean of values (N,) over ECGs, NaN left out, with its interval over patients."""
    values = np.asarray(values, float)
    there = np.isfinite(values)
    if not there.any():
        return Estimate(*[float("nan")] * 3)
    weights = draws(np.asarray(patients)[there], times, seed)
    values = values[there]
    return Estimate(float(values.mean()), *interval(weights @ values / weights.sum(1)))
