"""Is it still the same person, and is only what was asked for changed?

Identity is judged by an encoder that the generator never saw. Distances are between median beats of 8 leads, in uV.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..metrics.bootstrap import Estimate, draws, interval, mean
from ..metrics.identity import GRID, POINTS, equal_error_rate
from ..twin.condition import Condition
from .figures import Figure, averaged
from .reading import Reading, beat_distance, cosine
from .tasks import Task


def identity(
    task: Task, sets: Mapping[str, Reading], gallery: Reading, real_pairs: tuple[Reading, Reading]
) -> list[Figure]:
    """Made ECGs against the gallery of all held-out ECGs (their references in it). real_pairs: reference and real
    later ECG, for the row that is the target: same person, another day."""
    rank, error, alike, right = {}, {}, {}, {}
    for name, made in sets.items():
        found = who(made.who, made.patients, gallery)
        rank[name], error[name], right[name] = found
        alike[name] = cosine(made.who, gallery_rows(task, gallery))
    a, b = real_pairs
    if len(b):
        rank["real later ECG"], error["real later ECG"], _ = who(b.who, b.patients, gallery, leave_out=b.signals)
    n = len(task)
    figures = [
        Figure(
            "recognised",
            "rank-1",
            "real",
            "Share of ECGs whose nearest real ECG, of all held-out ones, is of the reference's patient. The aim is "
            "the value of real later ECGs, not 1.",
            rank,
            n,
            right,
            task.patients,
        ),
        Figure("equal error rate", "", "real", "Of telling same from different patients by the cosine.", error, n),
    ]
    likeness = "Mean cosine with the reference by the independent identity encoder."
    like = averaged("likeness to the reference", "cosine", "real", likeness, alike, task.patients)
    rows, drawn = dict(like.rows), dict(alike)
    if len(b):
        drawn["real later ECG"] = cosine(a.who, b.who)
        rows["real later ECG"] = mean(drawn["real later ECG"], b.patients)
    return [*figures, replace(like, rows=rows, values=drawn)]


def gallery_rows(task: Task, gallery: Reading) -> np.ndarray:
    """Identity vectors (n, D) of the task's references, which are ECGs of the gallery."""
    place = {x.tobytes(): k for k, x in enumerate(gallery.signals)}
    return gallery.who[[place[x.tobytes()] for x in task.references]]


def who(
    vectors: np.ndarray, patients: np.ndarray, gallery: Reading, leave_out: np.ndarray | None = None
) -> tuple[Estimate, Estimate, np.ndarray]:
    """Rank-1 and equal error rate with intervals over patients, and whether each was recognised. leave_out (n, 8,
    L): ECGs of the gallery that are the queries themselves."""
    scores = vectors @ gallery.who.T
    if leave_out is not None:
        place = {x.tobytes(): k for k, x in enumerate(gallery.signals)}
        for k, x in enumerate(leave_out):
            scores[k, place[x.tobytes()]] = -np.inf
    same = patients[:, None] == gallery.patients[None]
    right = same[np.arange(len(scores)), scores.argmax(1)] & vectors.any(1)
    best = np.where(same, scores, -np.inf).max(1)  # of a patient's several ECGs the most alike
    others = np.where(same, np.nan, scores)
    weights = draws(patients, 200, 4)

    def error(rows: np.ndarray) -> float:
        within, between = best[rows], others[rows]
        within, between = within[np.isfinite(within)], between[np.isfinite(between)]
        return equal_error_rate(within, between) if len(within) and len(between) else float("nan")

    again = [error(np.repeat(np.arange(len(w)), w)) for w in weights[:40]]
    rank = Estimate(float(right.mean()), *interval(weights @ right / weights.sum(1)))
    return rank, Estimate(error(np.arange(len(scores))), *interval(np.array(again))), right.astype(float)


def factual(task: Task, sets: Mapping[str, Reading], reference: Reading, truth: Reading) -> list[Figure]:
    """Reference A, the same patient's real later ECG B: is what
    was made of A under B's state nearer to B than A itself is?"""
    far = {name: beat_distance(made.beats, truth.beats) for name, made in sets.items()}
    copied = beat_distance(reference.beats, truth.beats)
    findings = {name: np.abs(made.probabilities - truth.probabilities).sum(1) for name, made in sets.items()}
    much = copied >= np.nanmedian(copied)
    nearer = {name: closer(d, copied) for name, d in far.items()}
    own = {name: cosine(made.who, truth.who) for name, made in sets.items()}
    some = task.patients[much]
    meaning = "Root mean square difference of the median beats of 8 leads."
    return [
        averaged("distance to the real later ECG", "uV", "less", meaning, far, task.patients),
        averaged(
            "distance to it, where much changed",
            "uV",
            "less",
            "The half of the pairs in which reference and truth are farthest apart.",
            {k: v[much] for k, v in far.items()},
            some,
        ),
        averaged(
            "nearer to the truth than a copy is",
            "share",
            "more",
            "Share of pairs; 0.5: no better than returning the reference.",
            nearer,
            task.patients,
        ),
        averaged(
            "nearer than a copy, where much changed",
            "share",
            "more",
            "Of the half of the pairs in which reference and truth are farthest apart; 0.5: as near as the reference.",
            {k: v[much] for k, v in nearer.items()},
            some,
        ),
        *nearer_where_states_differ(task, nearer),
        averaged(
            "findings differ from the truth's",
            "",
            "less",
            "Sum over statements of |difference| of the independent classifier's probabilities.",
            findings,
            task.patients,
        ),
        averaged(
            "likeness to the real later ECG",
            "cosine",
            "more",
            "Cosine by the independent identity encoder.",
            own,
            task.patients,
        ),
    ]


CONDUCTION = (
    "bundle branch block",
    "fascicular block",
    "paced",
    "Wolff",
    "intraventricular",
    "fibrillation",
    "flutter",
)
"""Parts of statements that tell of conduction or of a rhythm other than the sinus node's."""


def nearer_where_states_differ(task: Task, nearer: Mapping[str, np.ndarray]) -> list[Figure]:
    """Share of pairs in which what was made is nearer than a copy, of those whose statements are not the same, and of
    those in which rhythm or conduction are not."""

    def told(c: Condition) -> frozenset[str]:
        return frozenset(r for r in c.reports if any(word in r for word in CONDUCTION))

    pairs = list(zip(task.own, task.wanted, strict=True))
    groups = {
        "statements": np.array([set(a.reports) != set(b.reports) for a, b in pairs]),
        "rhythm or conduction": np.array([told(a) != told(b) for a, b in pairs]),
    }
    return [
        averaged(
            f"nearer than a copy, where {what} differ",
            "share",
            "more",
            f"Of the {int(rows.sum())} pairs in which they do.",
            {k: v[rows] for k, v in nearer.items()},
            task.patients[rows],
        )
        for what, rows in groups.items()
        if rows.sum() > 1
    ]


def closer(far: np.ndarray, copied: np.ndarray) -> np.ndarray:
    """1 where nearer than a copy, 0 where farther, 0.5 where within 1 uV of it; NaN where not known."""
    return np.where(np.isnan(far), np.nan, np.where(np.abs(far - copied) < 1, 0.5, far < copied))


def unchanged(
    task: Task, sets: Mapping[str, Reading], reference: Reading, another_day: np.ndarray, owners: np.ndarray
) -> list[Figure]:
    """The null test: asked for the reference's own state, nothing should change beyond what differs from day to day
    (`another_day`, distances in uV between two real ECGs of a patient)."""
    far = {name: beat_distance(made.beats, reference.beats) for name, made in sets.items()}
    figure = averaged(
        "null test: distance to the reference",
        "uV",
        "less",
        "Asked for its own state. The row of real pairs is what differs between two days.",
        far,
        task.patients,
    )
    rows = {**figure.rows, "real later ECG": mean(another_day, owners)}
    return [replace(figure, rows=rows, values={**far, "real later ECG": another_day})]


def copied(sets: Mapping[str, Reading], reference: Reading, another_day: np.ndarray, patients: np.ndarray) -> Figure:
    """Leakage the other way: made ECGs nearer to the reference than 95 % of a patient's real later ECGs are, when
    another state was asked."""
    limit = np.nanquantile(another_day, 0.05)
    near = {name: (beat_distance(made.beats, reference.beats) < limit).astype(float) for name, made in sets.items()}
    meaning = (
        f"Share of ECGs within {limit:.0f} uV of the reference, nearer than 95 % of real later ECGs are, though "
        "another patient's state was asked."
    )
    return averaged("copied", "share", "less", meaning, near, patients)


def round_trip(task: Task, made: Reading, reference: Reading, another_day: np.ndarray, name: str) -> Figure:
    """another_day: distances in uV between A and B, two real ECGs of a patient."""
    meaning = (
        "From A to the state of B and back to that of A: distance to A. Real later ECG: how far B itself is from A."
    )
    far = {name: beat_distance(made.beats, reference.beats), "real later ECG": another_day}
    return averaged("cycle test", "uV", "less", meaning, far, task.patients)


def dose(task: Task, rates: Sequence[float], sets: Mapping[str, Reading]) -> list[Figure]:
    """Only the heart rate is asked to change: does it, and does QRS stay as it is?"""
    wanted = np.array([c.heart_rate for c in task.wanted], float)
    error = {name: np.abs(made.rhythm[:, 0] - wanted) for name, made in sets.items()}
    slopes, moved = {}, {}
    who_is = task.patients.reshape(-1, len(rates))[:, 0]
    inside = (GRID > -0.05) & (GRID < 0.07)
    for name, made in sets.items():
        found = made.rhythm[:, 0].reshape(-1, len(rates))
        x = np.asarray(rates) - np.mean(rates)
        slopes[name] = np.array(
            [
                np.polyfit(x[np.isfinite(y)], y[np.isfinite(y)], 1)[0] if np.isfinite(y).sum() > 2 else np.nan
                for y in found
            ]
        )
        qrs = made.beats.reshape(len(who_is), len(rates), -1, POINTS)[..., inside]
        apart = 1000 * np.sqrt(((qrs - qrs.mean(1, keepdims=True)) ** 2).mean((1, 2, 3)))
        strangers = 1000 * np.sqrt(((qrs[:, 0] - qrs[:, 0].mean(0)) ** 2).mean((1, 2)))
        moved[name] = apart / max(float(np.mean(strangers)), 1e-9)
    return [
        averaged(
            "heart rate error, 40-140/min asked",
            "/min",
            "less",
            "Plain sinus rhythm, only the rate is changed.",
            error,
            task.patients,
        ),
        averaged(
            "dose-response of the heart rate",
            "slope",
            "more",
            "Measured against asked; 1 is right, 0 ignores the request.",
            slopes,
            who_is,
        ),
        averaged(
            "minimality: QRS moved by the heart rate",
            "ratio",
            "less",
            "Variation of a person's QRS over the rates, beside that between people.",
            moved,
            who_is,
        ),
    ]


def ageing(
    task: Task,
    years: Sequence[float],
    sets: Mapping[str, Reading],
    seen: tuple[np.ndarray, np.ndarray],
    held: Reading,
    ages: np.ndarray,
) -> Figure:
    """Slope of the age that a ridge regression on the independent classifier's features reads, against the age that
    was asked for; the real row is the same reader's slope on real held-out ECGs."""
    x, y = seen
    there = np.isfinite(y)
    middle, std = x[there].mean(0), x[there].std(0) + 1e-6
    z = (x[there] - middle) / std
    weights = np.linalg.solve(z.T @ z + 300 * np.eye(z.shape[1]), z.T @ (y[there] - y[there].mean()))

    def read(r: Reading) -> np.ndarray:
        return (r.learned - middle) / std @ weights

    known = np.isfinite(ages)
    step = np.asarray(years) - np.mean(years)
    slopes = {}
    for name, made in sets.items():
        slopes[name] = read(made).reshape(-1, len(years)) @ step / (step**2).sum()
    figure = averaged(
        "dose-response of age",
        "slope",
        "real",
        "Age read from the ECG against age asked for; the aim is the slope on real ECGs.",
        slopes,
        task.patients.reshape(-1, len(years))[:, 0],
    )
    real = slope(ages[known], read(held)[known], held.patients[known])
    return replace(figure, rows=dict(figure.rows) | {"real": real})


def slope(x: np.ndarray, y: np.ndarray, patients: np.ndarray) -> Estimate:
    """Least squares of y (n,) on x (n,), with its interval over patients."""
    weights = np.r_[np.ones((1, len(x))), draws(patients, 300, 6)]
    weights = weights / weights.sum(1, keepdims=True)
    middle, level = weights @ x, weights @ y
    found = (weights @ (x * y) - middle * level) / (weights @ x**2 - middle**2)
    return Estimate(float(found[0]), *interval(found[1:]))
