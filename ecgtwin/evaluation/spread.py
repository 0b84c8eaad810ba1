"""Do several samples of one person in one state spread as the truth does around them?"""

from collections.abc import Mapping

import numpy as np

from ..metrics.bootstrap import Estimate, draws, interval
from ..metrics.calibration import crps, inside
from .figures import Figure, averaged, bare
from .likeness import closer
from .reading import MEASURED, Reading, beat_distance
from .simulated_truth import aligned, centred
from .tasks import Task

FEWEST = 5
COLUMNS = tuple(k for k, name in enumerate(MEASURED) if not name.endswith("axis deg"))  # angles go round


def calibrated(task: Task, times: int, sets: Mapping[str, Reading], truth: Reading, reference: Reading) -> list[Figure]:
    """`times` ECGs for each factual pair: does the real later ECG's measurement lie among theirs, and is their CRPS
    below a copy's error? The row without skill has the samples of another patient."""
    n = len(task) // times
    patients = task.patients[:n]
    weights = np.r_[np.ones((1, n)), draws(patients, 300, 5)]
    other = another(patients)
    coverage, skill = {}, {}
    for name, made in sets.items():
        samples = made.measured.reshape(times, n, -1)
        rows = {name: samples} if other is None else {name: samples, f"{name} of another patient": samples[:, other]}
        for key, x in rows.items():
            coverage[key], skill[key] = scored(x, truth.measured[:n], reference.measured[:n], weights)
    coverage["calibrated"] = bare((times - 1) / (times + 1))
    return [
        Figure(
            "calibration: truth among the samples",
            "share",
            "real",
            f"Measurements of the real later ECG between the smallest and largest of {times} "
            "samples; calibrated samples hold the share in that row.",
            coverage,
            n,
        ),
        Figure(
            "CRPS skill against a copy",
            "",
            "more",
            "1 - CRPS of the samples' measurements over a copy's absolute error; 0: no better than a copy.",
            skill,
            n,
        ),
    ]


def another(patients: np.ndarray) -> np.ndarray | None:
    """For each ECG the next one of another patient; None where there is one patient alone."""
    if len(set(patients.tolist())) < 2:
        return None
    turned = [np.roll(patients, -k) != patients for k in range(1, len(patients))]
    return (np.arange(len(patients)) + 1 + np.argmax(turned, 0)) % len(patients)


def scored(
    samples: np.ndarray, truth: np.ndarray, before: np.ndarray, weights: np.ndarray
) -> tuple[Estimate, Estimate]:
    """Coverage and skill, means over measurements, of samples (times, n, M), truth and reference (n, M); weights
    (1 + draws, n) of a bootstrap, ones first."""
    covered, skills = [], []
    for k in COLUMNS:
        x, real = samples[..., k].T, truth[:, k]
        there = np.isfinite(x).all(1) & np.isfinite(real) & np.isfinite(before[:, k])
        if there.sum() < FEWEST:
            continue
        w, x, real, old = weights[:, there], x[there], real[there], before[there, k]
        with np.errstate(invalid="ignore", divide="ignore"):  # a draw may leave nobody
            covered.append(w @ inside(x, real) / w.sum(1))
            skills.append(1 - w @ crps(x, real) / (w @ np.abs(old - real)))
    if not covered:
        return bare(np.nan), bare(np.nan)
    means = [np.mean(rows, 0) for rows in (covered, skills)]
    first, second = (Estimate(float(m[0]), *interval(m[1:])) for m in means)
    return first, second


def mean_of_samples(
    task: Task, times: int, sets: Mapping[str, Reading], truth: Reading, reference: Reading
) -> list[Figure]:
    """Is the mean of all samples' beats nearer to the real later ECG than one sample is?"""
    n = len(task) // times
    rows = {"copy of the reference": beat_distance(reference.beats[:n], truth.beats[:n])}
    for name, made in sets.items():
        beats = made.beats.reshape(times, n, -1)
        target = np.tile(centred(truth.beats[:n]), (times, 1))
        mean = aligned(made.beats, target).reshape(times, n, -1).mean(0)
        far = 1000 * np.sqrt(((mean - target[:n]) ** 2).mean(1))
        there = beats.any(2).all(0) & truth.beats[:n].any(1)
        rows[name] = beat_distance(beats[0], truth.beats[:n])
        rows[f"{name}, mean of {times}"] = np.where(there, far, np.nan)
    about = f"Of one sample, and of the mean beat of {times} samples."
    copied = rows["copy of the reference"]
    return [
        averaged("distance to the real later ECG, mean of samples", "uV", "less", about, rows, task.patients[:n]),
        averaged(
            "nearer to it than a copy is, mean of samples",
            "share",
            "more",
            about,
            {name: closer(far, copied) for name, far in rows.items()},
            task.patients[:n],
        ),
    ]
