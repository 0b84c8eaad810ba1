"""Has a generator kept records that it was trained on?"""

from collections.abc import Mapping

import numpy as np

from ..metrics.bootstrap import Estimate, draws, interval, mean
from ..metrics.privacy import attack, closest
from ..metrics.two_sample import auroc
from .figures import Figure
from .reading import Reading
from .realism import halves
from .simulated_truth import centred


def privacy(sets: Mapping[str, Reading], training: Reading, held: Reading, seed: int) -> list[Figure]:
    """Of what was made, the first of `sets`, and of real held-out ECGs. Held-out records that they are measured against
    are of other patients, since a twin resembles its reference by design: of the other half of them."""
    side = halves(np.concatenate([held.patients, *(made.patients for made in sets.values())]), seed)
    nearer, called, alike, each = {}, {}, {}, {}
    for name, made in sets.items():
        each[name], found = np.full(len(made), np.nan), []
        for first in (True, False):
            mine, others = side(made.patients) == first, held.some(side(held.patients) != first)
            each[name][mine] = closest(made.who[mine], training.who, others.who, seed=seed).each
            scores, truth = attack(made.who[mine], training.who, others.who)
            weights = draws(np.r_[training.patients, others.patients], 200, 7)
            found.append([auroc(scores, truth), *(auroc(scores, truth, w) for w in weights)])
        nearer[name] = mean(each[name], made.patients)
        value, *again = np.mean(found, 0)
        called[name] = Estimate(float(value), *interval(np.array(again)))
        alike[name] = most_alike(made.beats, training.beats)
    name, made = next(iter(sets.items()))
    n = len(made)
    figures = [
        Figure(
            "nearer to a training record",
            "share",
            "real",
            "Of made ECGs, nearer to a training record than to any of as many held-out ones of other patients, by the "
            "identity encoder; 0.5: nothing kept.",
            nearer,
            n,
            {name: each[name]},
            made.patients,
        ),
        Figure(
            "membership inference",
            "AUROC",
            "real",
            "Of an attack that calls a record a training record where a made ECG is near it; 0.5: it fails.",
            called,
            n,
        ),
    ]
    about = f"Mean correlation of the median beat with the most alike of {len(training)} training records."
    rows = {name: mean(alike[name], reading.patients) for name, reading in sets.items()}
    sample = {name: alike[name]}
    kept = Figure("most alike training beat", "correlation", "real", about, rows, n, sample, made.patients, alike)
    return [*figures, kept]


def most_alike(made: np.ndarray, training: np.ndarray) -> np.ndarray:
    """(N,) largest correlation of median beats (N, D) with any of (T, D); NaN where there is no beat."""
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in map(centred, (made, training)))
    return np.where(made.any(1), (a @ b.T).max(1), np.nan)
