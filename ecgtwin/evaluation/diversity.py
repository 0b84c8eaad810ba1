"""Does a generator draw as many different hearts as there are? Distances are between median beats, in uV."""

from collections.abc import Mapping

import numpy as np

from ..metrics.bootstrap import Estimate
from .figures import Figure, averaged
from .reading import Reading, beat_distance
from .tasks import Task

FEWEST, MOST = 5, 24


def pairwise(beats: np.ndarray) -> np.ndarray:
    """(n, n) distances of median beats (n, D); NaN on the diagonal and where there is no beat."""
    n = len(beats)
    out = np.full((n, n), np.nan)
    for k in range(1, n):
        out[k, :k] = out[:k, k] = beat_distance(beats[:k], np.repeat(beats[k : k + 1], k, 0))
    return out


def between_people(task: Task, sets: Mapping[str, Reading]) -> Figure:
    """How far apart the ECGs of different people are that were asked for with one statement."""
    said = [set(c.reports) for c in task.wanted]
    groups = {s: np.array([k for k, w in enumerate(said) if s in w])[:MOST] for s in sorted(set().union(*said))}
    groups = {s: rows for s, rows in groups.items() if len(rows) >= FEWEST}
    values = {}
    for name, made in sets.items():
        total, count = np.zeros(len(task)), np.zeros(len(task))
        for rows in groups.values():
            far = pairwise(made.beats[rows])
            there = np.isfinite(far).any(1)
            total[rows[there]] += np.nanmean(far[there], 1)
            count[rows[there]] += 1
        values[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    meaning = (
        f"Mean distance of an ECG to those of other people that were asked for with the same statement, over "
        f"{len(groups)} statements; below the real row: the state has one face."
    )
    return averaged("diversity within a condition, people", "uV", "real", meaning, values, task.patients)


def between_samples(task: Task, times: int, sets: Mapping[str, Reading], another_day: Estimate) -> Figure:
    """How far apart `times` samples of one person in one state are. another_day: two real ECGs of a patient."""
    n, values = len(task) // times, {}
    for name, made in sets.items():
        beats = made.beats.reshape(times, n, -1)
        values[name] = np.array([np.nanmean(pairwise(beats[:, k])) if times > 1 else np.nan for k in range(n)])
    meaning = f"Mean distance between {times} samples of one person in one state, beside two real ECGs of a patient."
    f = averaged("diversity within a condition, samples", "uV", "real", meaning, values, task.patients[:n])
    return Figure(f.name, f.unit, f.better, f.meaning, {**f.rows, "real later ECG": another_day}, f.n)
