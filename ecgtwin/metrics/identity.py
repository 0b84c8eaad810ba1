"""Does an encoder recognise the person? Rank-1 retrieval, equal error rate and the median-beat baselines.

Features are (N, D) arrays, patients (N,) identities; negative codes are unknown patients, nobody's twin.
Cosine similarity throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..ecg.beats import r_aligned

BEFORE, AFTER, POINTS = 0.30, 0.45, 96
GRID = np.linspace(-BEFORE, AFTER, POINTS)
"""Where a median beat is looked at, s around R."""


@dataclass(frozen=True)
class Identity:
    """rank1: fraction of ECGs (of patients with several) whose nearest other ECG is the same patient's.
    eer: error rate where false matches are as frequent as false non-matches. within, between: mean cosines."""

    rank1: float
    eer: float
    within: float
    between: float
    queries: int
    gallery: int


def unit(features: np.ndarray) -> np.ndarray:
    """Rows (N, D) at length 1; a row of zeros stays."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def cosines(features: np.ndarray) -> np.ndarray:
    features = unit(features)
    return features @ features.T


def owners(patients: np.ndarray) -> np.ndarray:
    """Identities (N,) in which each unknown patient is a person apart: two unknown ECGs are not
    known to be one person's."""
    patients = np.asarray(patients)
    if patients.dtype.kind not in "iu":
        return patients
    return np.where(patients < 0, -1 - np.arange(len(patients)), patients)


def identity(features: np.ndarray, patients: np.ndarray, asked: np.ndarray | None = None) -> Identity:
    """Retrieval and verification among all ECGs; raises ValueError where no known patient has two.

    ECGs of unknown patients stand in the gallery, and no pair of them is one person's. asked: places of the ECGs that
    are looked for, the others being gallery alone; None: all.
    """
    patients = owners(patients)
    similarity = cosines(np.asarray(features, np.float64))
    same = patients[:, None] == patients[None]
    np.fill_diagonal(same, False)
    counted = np.ones(len(patients), bool) if asked is None else np.isin(np.arange(len(patients)), asked)
    queries = same.any(1) & counted
    if not queries.any():
        raise ValueError(f"{len(patients)} ECGs of {len(set(patients))} patients: identity needs a patient with two")
    masked = similarity.copy()
    np.fill_diagonal(masked, -np.inf)
    nearest = masked.argmax(1)
    upper = np.triu(np.ones_like(same), 1).astype(bool) & (counted[:, None] | counted)
    within, between = similarity[same & upper], similarity[~same & upper]
    return Identity(
        rank1=float(same[np.flatnonzero(queries), nearest[queries]].mean()),
        eer=equal_error_rate(within, between),
        within=float(within.mean()),
        between=float(between.mean()),
        queries=int(queries.sum()),
        gallery=len(patients),
    )


def repeated(patients: np.ndarray) -> bool:
    """Whether a known patient has two ECGs."""
    return bool(np.unique(patients[patients >= 0], return_counts=True)[1].max(initial=0) > 1)


def equal_error_rate(within: np.ndarray, between: np.ndarray) -> float:
    """The error where the fraction of `within` below the threshold equals that of `between` at or above it."""
    within, between = np.sort(within), np.sort(between)
    thresholds = np.concatenate([within, between])
    missed = np.searchsorted(within, thresholds, side="left") / len(within)
    accepted = 1 - np.searchsorted(between, thresholds, side="left") / len(between)
    best = np.argmin(np.abs(missed - accepted))
    return float((missed[best] + accepted[best]) / 2)


def median_beats(signals: np.ndarray, rate: float) -> np.ndarray:
    """Median beats (N, leads * POINTS) of many ECGs; zeros (no similarity to anybody) where none can be measured."""
    none = np.zeros((signals.shape[1], POINTS))
    found = (r_aligned(x, rate, GRID) for x in signals)
    return np.stack([(none if beat is None else beat).ravel() for beat in found])


def whitening(
    features: np.ndarray, patients: np.ndarray | None = None, *, components: int = 100, shrinkage: float = 0.2
) -> Callable[[np.ndarray], np.ndarray]:
    """A fitted map of features: centre, PCA, then whiten.

    By the total covariance where patients is None, else by the covariance within patients (differences of a patient's
    ECGs from that patient's mean), shrunk towards its mean variance: directions in which one person varies count less.
    """
    mean = features.mean(0)
    _, _, axes = np.linalg.svd(features - mean, full_matrices=False)
    axes = axes[:components]
    scores = (features - mean) @ axes.T
    if patients is None:
        turn = np.diag(1 / (scores.std(0) + 1e-9))
    else:
        patients = owners(patients)
        names, group, counts = np.unique(patients, return_inverse=True, return_counts=True)
        sums = np.zeros((len(names), scores.shape[1]))
        np.add.at(sums, group, scores)
        several = counts[group] > 1
        if not several.any():
            raise ValueError("within-patient whitening needs patients with two ECGs or more")
        within = (scores - (sums / counts[:, None])[group])[several]
        covariance = within.T @ within / (several.sum() - (counts > 1).sum())
        level = np.trace(covariance) / len(covariance)
        covariance = (1 - shrinkage) * covariance + shrinkage * level * np.eye(len(covariance))
        values, vectors = np.linalg.eigh(covariance)
        turn = vectors / np.sqrt(values)
    return lambda x: (x - mean) @ axes.T @ turn
