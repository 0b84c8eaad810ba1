"""Can a classifier tell generated from real, and by what? The classifier two-sample test (Lopez-Paz and
Oquab 2017, arXiv 1610.06545).

AUROC 0.5: it cannot; 1: always. Every ECG is judged by a classifier that has seen none of its patient.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from .bootstrap import Estimate, draws, interval

Kind = Literal["linear", "trees"]


def two_sample(
    real: np.ndarray,
    made: np.ndarray,
    patients_real: np.ndarray,
    patients_made: np.ndarray,
    *,
    kind: Kind = "linear",
    folds: int = 5,
    seed: int = 0,
    times: int = 300,
) -> Estimate:
    """AUROC of features (N, D) against (M, D), cross-validated over patients, with its interval over patients.

    patients: whose each ECG is, or, of a generated one, whose reference; all of a patient's ECGs, real and generated,
    are in one fold. NaN among the features means not measurable, and counts as a feature of its own.
    """
    x = with_missing(np.concatenate([np.asarray(real, float), np.asarray(made, float)]))
    y = np.r_[np.zeros(len(real), int), np.ones(len(made), int)]
    owners = np.r_[np.asarray(patients_real), np.asarray(patients_made)]
    scores = cross_validated(x, y, owners, kind, folds, seed)
    weights = draws(owners, times, seed)
    values = np.array([auroc(scores, y, w) for w in weights])
    return Estimate(auroc(scores, y), *interval(values))


def giveaway(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    patients_real: np.ndarray,
    patients_made: np.ndarray,
    *,
    kind: Kind = "linear",
    seed: int = 0,
) -> dict[str, Estimate]:
    """`two_sample` of each group of features alone, the most telling first: what gives generated ECGs away."""
    found = {
        name: two_sample(a, b, patients_real, patients_made, kind=kind, seed=seed) for name, (a, b) in parts.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


def cross_validated(x: np.ndarray, y: np.ndarray, owners: np.ndarray, kind: Kind, folds: int, seed: int) -> np.ndarray:
    """Score (N,) of each row by a model fitted to the other patients' rows; within each fold as a
    percentile, so that folds compare."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise ImportError(
            'the classifier two-sample test needs scikit-learn: in a clone of ecgtwin run pip install ".[train]"'
        ) from None
    names, group = np.unique(owners, return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"{len(names)} patients in {folds} folds: expected one or more in each")
    fold = np.random.default_rng(seed).permutation(len(names))[group] % folds
    scores = np.zeros(len(x))
    for k in range(folds):
        if kind == "linear":
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, class_weight="balanced", max_iter=2000))
        else:
            model = HistGradientBoostingClassifier(
                max_iter=80, max_leaf_nodes=8, class_weight="balanced", random_state=seed
            )
        model.fit(x[fold != k], y[fold != k])
        found = model.decision_function(x[fold == k])
        scores[fold == k] = found
    return scores


def auroc(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Probability that a positive scores higher than a negative, ties half; NaN without one of either.
    weights: how often each counts."""
    truth = np.asarray(truth, bool)
    weights = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    _, place = np.unique(scores, return_inverse=True)
    positive = np.bincount(place, weights * truth)
    negative = np.bincount(place, weights * ~truth, minlength=len(positive))
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")


def with_missing(x: np.ndarray) -> np.ndarray:
    """NaN replaced by the column's median, with a column beside it that says where."""
    missing = ~np.isfinite(x)
    if not missing.any():
        return x
    columns = missing.any(0)
    middle = np.zeros(x.shape[1])
    seen = ~missing.all(0)
    middle[seen] = np.nanmedian(np.where(missing, np.nan, x)[:, seen], axis=0)
    return np.concatenate([np.where(missing, middle, x), missing[:, columns]], 1)
