"""Dose-response of `strength`: an edit that goes half the way should be half as far."""

from collections.abc import Mapping

import numpy as np

from .figures import Figure, Table, averaged
from .reading import Reading, beat_distance
from .simulated_truth import aligned, centred
from .tasks import Task

TARGET = "complete left bundle branch block"
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def of_strength(task: Task, sets: Mapping[str, Reading]) -> tuple[list[Figure], Table]:
    """sets: what was made of the task's references at each of `STRENGTHS`, in this order."""
    made = list(sets.values())
    start, end = centred(made[0].beats), made[-1].beats
    whole = aligned(end, start) - start
    parts = [(aligned(m.beats, start) - start) for m in made]
    size = (whole**2).sum(1)
    moved = np.stack([(p * whole).sum(1) / np.where(size > 0, size, np.nan) for p in parts], 1)  # (n, strengths)
    away = np.stack([beat_distance(m.beats, made[0].beats) for m in made], 1)
    x = np.asarray(STRENGTHS) - np.mean(STRENGTHS)
    slope = moved @ x / (x @ x)
    rising = (np.diff(away, axis=1) > 0).mean(1)
    names = made[0].judges.statements.names
    seen = [m.probabilities[:, names.index(TARGET)] for m in made]
    table = Table(
        "By strength",
        f"`counterfactual` of {len(task)} references in sinus rhythm, asked for {TARGET}: share of the whole "
        "change of the median beat, distance to strength 0, probability of the statement by the classifier; means.",
        ("share of the change", "uV", "probability"),
        {f"{s:g}": [moved[:, k].mean(), away[:, k].mean(), seen[k].mean()] for k, s in enumerate(STRENGTHS)},
    )
    figures = [
        averaged(
            "dose-response of strength",
            "slope",
            "more",
            "Share of the change against the strength asked for; 1 is right, 0 ignores it.",
            {"counterfactual": slope},
            task.patients,
        ),
        averaged(
            "steps of strength that change more",
            "share",
            "more",
            "Of the four steps from 0 to 1, those after which the ECG is farther from the reference.",
            {"counterfactual": rising},
            task.patients,
        ),
    ]
    return figures, table
