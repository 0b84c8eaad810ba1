"""K samples of what may come, beside the one that came: do the samples spread as much as the truth does around them?"""

import numpy as np


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


def inside(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N,) whether the truth (N,) lies between the smallest and the largest of the samples (N, K): so do
    (K - 1) / (K + 1) of the truths that are one more draw of the same source."""
    return (samples.min(1) <= truth) & (truth <= samples.max(1))
