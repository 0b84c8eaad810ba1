"""Has a generator kept its training records? Distance to the closest of them, beside the distance
to records that it never saw.

A twin is linkable to its *reference* by design; these figures are about the people of the training set.
"""

from typing import NamedTuple

import numpy as np

from .neighbours import distances
from .two_sample import auroc


class Closest(NamedTuple):
    """Medians of the distance to the closest training record and to the closest held-out one, of as many of each;
    nearer_training: fraction of generated ECGs nearer to a training record than to any held-out one, 0.5 where nothing
    was kept; smallest: the smallest distance to a training record at all; each: (N,) how often each one is nearer to a
    training record."""

    training: float
    held_out: float
    nearer_training: float
    smallest: float
    each: np.ndarray


def closest(made: np.ndarray, training: np.ndarray, held_out: np.ndarray, *, seed: int = 0, times: int = 20) -> Closest:
    """Of features (N, D), (T, D) and (H, D). The larger of the two real sets is thinned to the smaller one's
    size, `times` times over."""
    made, training, held_out = (np.asarray(x, np.float64) for x in (made, training, held_out))
    size, generator = min(len(training), len(held_out)), np.random.default_rng(seed)
    to_training, to_held = distances(made, training), distances(made, held_out)
    near, far = np.empty((times, len(made))), np.empty((times, len(made)))
    for k in range(times):
        near[k] = to_training[:, generator.permutation(len(training))[:size]].min(1)
        far[k] = to_held[:, generator.permutation(len(held_out))[:size]].min(1)
    each = (near < far).mean(0) + (near == far).mean(0) / 2
    medians = float(np.median(near)), float(np.median(far))
    return Closest(*medians, float(each.mean()), float(to_training.min()), each)


def membership(made: np.ndarray, training: np.ndarray, held_out: np.ndarray) -> float:
    """AUROC of the attack that calls a record a training record where a generated one is near it (GAN-Leaks, Chen et
    al. 2020, arXiv 1909.03935): 0.5 where training records are no nearer than held-out ones."""
    return auroc(*attack(made, training, held_out))


def attack(made: np.ndarray, training: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `membership` is measured from: scores (T + H,) of the records, and whether each was trained on."""
    near = [distances(np.asarray(x, np.float64), np.asarray(made, np.float64)).min(1) for x in (training, held_out)]
    return -np.concatenate(near), np.r_[np.ones(len(near[0])), np.zeros(len(near[1]))]
