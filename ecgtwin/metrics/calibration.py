"""K samples of what may come, beside the one that came: do the samples spread as much as the truth does around them?"""

from typing import NamedTuple

import numpy as np


class Calibration(NamedTuple):
    """crps: mean continuous ranked probability score, in the unit of the values (for K = 1 the absolute error).
    coverage: fraction of truths inside the central interval that should hold `expected` of them. spread: mean
    standard deviation of the samples; error: root mean square of their mean's error; for calibrated samples error is
    spread times sqrt((K + 1) / K)."""

    crps: float
    coverage: float
    expected: float
    spread: float
    error: float


def crps(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N,) of samples (N, K) and truth (N,): E|X - y| - E|X - X'| / 2 with K (K - 1) pairs, which is unbiased in K (the
    fair score, Ferro 2014, doi:10.1002/qj.2270); Gneiting and Raftery 2007, eq. 21. K = 1: the absolute error."""
    samples, truth = np.asarray(samples, float), np.asarray(truth, float)
    k = samples.shape[1]
    near = np.abs(samples - truth[:, None]).mean(1)
    if k == 1:
        return near
    rank = np.arange(1, k + 1)
    among = 2 * ((2 * rank - k - 1) * np.sort(samples, 1)).sum(1) / (k * (k - 1))  # mean |X - X'|
    return near - among / 2


def calibration(samples: np.ndarray, truth: np.ndarray) -> Calibration:
    """Of samples (N, K) and truth (N,); rows with anything not finite are left out. ValueError where none is left.

    The interval is from the smallest to the largest sample: it holds (K - 1) / (K + 1) of the truths where these are
    one more draw of the same source.
    """
    samples, truth = np.asarray(samples, float), np.asarray(truth, float)
    there = np.isfinite(samples).all(1) & np.isfinite(truth)
    samples, truth = samples[there], truth[there]
    if not len(truth):
        raise ValueError("calibration: no row has a finite truth and finite samples")
    k = samples.shape[1]
    inside = (samples.min(1) <= truth) & (truth <= samples.max(1))
    return Calibration(
        crps=float(crps(samples, truth).mean()),
        coverage=float(inside.mean()),
        expected=(k - 1) / (k + 1),
        spread=float(np.sqrt(samples.var(1, ddof=1).mean())) if k > 1 else 0.0,
        error=float(np.sqrt(np.mean((samples.mean(1) - truth) ** 2))),
    )
