"""Are samples like real ones (precision, density), and are all kinds of real ones there (recall,
coverage)? By k nearest neighbours.

Precision and recall of two samples of one source are not 1 but depend on k, n and the dimension (about 0.6 in
64 dimensions): read them beside the figures of two real sets. Density and coverage are 1 and nearly 1 there,
and an outlier hardly moves them.
"""

from typing import NamedTuple

import numpy as np

from .frechet import pair

Array = np.ndarray


class Neighbours(NamedTuple):
    """precision, recall: Kynkaanniemi et al. 2019, arXiv 1904.06991. density, coverage: Naeem et
    al. 2020, arXiv 2002.09797."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbours(real: Array, made: Array, k: int = 5) -> Neighbours:
    """Of features (N, D) and (M, D); k neighbours make a sample's ball. ValueError where a
    set has no more than k samples.

    precision: made samples inside some real ball. recall: real samples inside some made ball. density: real balls that
    a made sample is in, over k. coverage: real balls with a made sample inside.
    """
    real, made = pair(real, made)
    if min(len(real), len(made)) <= k:
        raise ValueError(f"{len(real)} and {len(made)} samples with k = {k}: expected more than k of each")
    radius_real, radius_made = radii(real, k), radii(made, k)
    apart = distances(real, made)
    inside = apart < radius_real[:, None]
    return Neighbours(
        precision=float(inside.any(0).mean()),
        recall=float((apart < radius_made[None]).any(1).mean()),
        density=float(inside.sum(0).mean() / k),
        coverage=float(inside.any(1).mean()),
    )


def radii(x: Array, k: int) -> Array:
    """Distance (N,) of each sample to its k-th nearest other one."""
    apart = distances(x, x)
    np.fill_diagonal(apart, np.inf)
    return np.partition(apart, k - 1, axis=1)[:, k - 1]


def distances(a: Array, b: Array) -> Array:
    """Euclidean (N, M)."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0))
