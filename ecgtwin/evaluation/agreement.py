"""Is what was asked for there? Judged by readers that had no part in training, beside real ECGs that show it."""

from collections.abc import Mapping

import numpy as np

from ..metrics.bootstrap import Estimate, draws, interval
from ..metrics.two_sample import auroc
from .figures import Figure, Table, averaged
from .reading import Reading
from .tasks import Task

FEWEST = 5
GROUPS = {
    "sinus rhythm": {"sinus rhythm", "sinus bradycardia", "sinus tachycardia"},
    "atrial fibrillation": {"atrial fibrillation"},
}
"""Rhythms in which the heart rate's error is given apart."""


def agreement(task: Task, sets: Mapping[str, Reading]) -> tuple[list[Figure], Table]:
    """Figures of an exchange task, and the AUROC of each statement in each row."""
    judge = next(iter(sets.values())).judges.statements
    asked = np.array([[name in c.reports for name in judge.names] for c in task.wanted])
    # What the model of the real ECGs itself cannot read is no test of generated ones.
    enough = [
        k
        for k, name in enumerate(judge.names)
        if min(asked[:, k].sum(), (~asked[:, k]).sum()) >= FEWEST and (judge.auroc.get(name) or 0) >= 0.75
    ]
    weights = draws(task.patients, 200, 3)
    rows, lines = {}, {judge.names[k]: [int(asked[:, k].sum()), judge.auroc[judge.names[k]]] for k in enough}
    for name, made in sets.items():
        p = made.probabilities
        each = [auroc(p[:, k], asked[:, k]) for k in enough]
        for k, value in zip(enough, each, strict=True):
            lines[judge.names[k]].append(value)
        again = (
            np.array([np.nanmean([auroc(p[:, k], asked[:, k], w) for k in enough]) for w in weights])
            if enough
            else np.array([])
        )
        rows[name] = Estimate(float(np.mean(each)) if each else float("nan"), *interval(again))
    real = np.mean([judge.auroc[judge.names[k]] for k in enough]) if enough else float("nan")
    figures = [
        Figure(
            "statement agreement",
            "AUROC",
            "more",
            f"Mean over {len(enough)} statements of how well an independent classifier's probability tells ECGs asked "
            "for with a statement from those without. References are other patients', so 0.5 is no skill; on all real "
            f"validation ECGs the classifier has {real:.3f}.",
            rows,
            len(task),
        )
    ]
    pair = next(iter(sets.values())).judges.text
    if pair is not None:
        texts = pair.texts([c.reports for c in task.wanted])
        known = texts.any(1)
        scores = {name: np.where(known, 100 * (made.text * texts).sum(1), np.nan) for name, made in sets.items()}
        meaning = "100 x cosine between the ECG and the statements asked for, by an independent pair of encoders."
        figures.append(averaged("CLIP score", "", "more", meaning, scores, task.patients))
    table = Table(
        "By statement",
        "AUROC of the independent classifier; how many were asked for with the statement, and the AUROC on all real "
        "validation ECGs.",
        ("asked for", "real validation", *sets),
        lines,
    )
    return figures + heart_rates(task, sets), table


def heart_rates(task: Task, sets: Mapping[str, Reading]) -> list[Figure]:
    """Error of the heart rate, in all and by the rhythm that was asked
    for; and the share of ECGs in which it cannot be measured."""
    wanted = np.array([np.nan if c.heart_rate is None else c.heart_rate for c in task.wanted])
    errors = {name: np.abs(made.rhythm[:, 0] - wanted) for name, made in sets.items()}
    lost = {name: np.isnan(made.rhythm[:, 0]).mean() for name, made in sets.items()}
    note = ", ".join(f"{v:.0%} ({k})" for k, v in lost.items() if v > 0) or "none"
    figures = [
        averaged(
            "heart rate error",
            "/min",
            "less",
            f"Mean of |measured - asked|; not measurable: {note}.",
            errors,
            task.patients,
        )
    ]
    for group, names in GROUPS.items():
        here = np.array([bool(set(c.reports) & names) for c in task.wanted])
        if here.sum() >= FEWEST:
            of = {name: e[here] for name, e in errors.items()}
            meaning = f"Mean of |measured - asked| where {group} was asked for."
            figures.append(averaged(f"heart rate error, {group}", "/min", "less", meaning, of, task.patients[here]))
    return figures


def rhythms(task: Task, sets: Mapping[str, Reading]) -> list[Figure]:
    """RR variation and odd intervals where sinus rhythm or atrial
    fibrillation was asked for; the real ECGs' value is the aim."""
    figures = []
    for group, names in GROUPS.items():
        odd = {
            "atrial fibrillation",
            "atrial flutter",
            "ventricular premature complex",
            "atrial premature complex",
            "bigeminy",
            "trigeminy",
            "sinus arrhythmia",
            "second degree AV block",
            "supraventricular arrhythmia",
            "paced rhythm",
        } - names
        here = np.array([bool(set(c.reports) & names) and not set(c.reports) & odd for c in task.wanted])
        if here.sum() < FEWEST:
            continue
        for column, what, unit in (
            (1, "RR variation", ""),
            (2, "beat-to-beat jumps of RR", ""),
            (3, "odd RR intervals", ""),
        ):
            of = {name: made.rhythm[here, column] for name, made in sets.items()}
            meaning = f"Mean where {group} (and no ectopy) was asked for; the aim is the real ECGs' value."
            figures.append(averaged(f"{what}, {group}", unit, "real", meaning, of, task.patients[here]))
    return figures
