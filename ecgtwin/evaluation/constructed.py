"""Real patients in states that the simulator constructs from their own recording: the counterfactual of a real heart
is known there, as far as the simulator's conduction is right.

A person is fitted to a real ECG in plain sinus rhythm (`simulate.fit`), shown in another state (`simulate.construct`),
and the twin of the same reference in that state is compared with it. The constructed ECG also says how well anybody
*can* be found as their own reference once conduction has changed: the ceiling of that figure.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..ecg.simulate import Fitted, construct, fit
from ..metrics.identity import median_beats, unit
from .figures import Figure, Table, averaged
from .reading import Reading, beat_distance
from .tasks import Held, Task, plain_rows

STATES = (
    "sinus rhythm",
    "atrial fibrillation",
    "complete left bundle branch block",
    "complete right bundle branch block",
    "left anterior fascicular block",
    "left ventricular hypertrophy",
    "anteroseptal myocardial infarction",
    "inferior myocardial infarction",
    "normal functioning artificial pacemaker",
)
Embed = Callable[[np.ndarray], np.ndarray]


class Fits(NamedTuple):
    """Real ECGs `rows` of the held-out ones, and the person found in each."""

    rows: np.ndarray
    people: list[Fitted]


def fitted(held: Held, n: int, seed: int) -> Fits:
    """Up to n ECGs in plain sinus rhythm in whom a person can be found."""
    rows, people = [], []
    for k in np.random.default_rng([seed, 8]).permutation(plain_rows(held, len(held), seed)).tolist():
        c = held.conditions[k]
        try:
            people.append(fit(held.signals[k], held.rate, sex=c.sex, age=c.age))
        except ValueError:  # no normal beat to be found: the next one
            continue
        rows.append(k)
        if len(rows) == n:
            break
    return Fits(np.array(rows, int), people)


def task_of(held: Held, fits: Fits, state: str, normalise: Callable, seed: int) -> tuple[Task, np.ndarray]:
    """Each reference asked for in a state at the constructed rate, with the constructed ECG as its truth, clean; and
    the constructed ECGs with noise like the recording's (n, 8, L). normalise: statements as the model names them."""
    chosen = held.some(fits.rows)
    made = [construct(p, state, seed=seed + k, rate=held.rate, noise=None) for k, p in enumerate(fits.people)]
    noisy = [construct(p, state, seed=seed + k, rate=held.rate) for k, p in enumerate(fits.people)]
    wanted = tuple(
        replace(c, reports=tuple(normalise(m.reports)), heart_rate=m.heart_rate)
        for c, m in zip(chosen.conditions, made, strict=True)
    )
    task = Task(
        f"constructed {state}",
        chosen.signals,
        chosen.conditions,
        wanted,
        chosen.patients,
        seed + 60_000 + np.arange(len(chosen)),
        np.stack([m.signal for m in made]),
        chosen.patients,
    )
    return task, np.stack([m.signal for m in noisy])


def found(beats: np.ndarray, rows: np.ndarray, gallery: np.ndarray, embed: Embed) -> np.ndarray:
    """(n,) whether the nearest of all real ECGs, by the cosine of embedded median beats, is the own reference; NaN
    without a beat."""
    a, b = unit(embed(beats)), unit(embed(gallery))
    return np.where(beats.any(1), (a @ b.T).argmax(1) == rows, np.nan)


class Answered(NamedTuple):
    """One state: what was asked, what was made of it, and the constructed ECGs with noise."""

    task: Task
    twin: Reading
    noisy: np.ndarray


def judged(
    answers: Mapping[str, Answered], fits: Fits, gallery: Reading, embed: Embed, name: str
) -> tuple[list[Figure], Table]:
    """Figures over all states, and a line for each state."""
    error: dict[str, list[np.ndarray]] = {name: [], "copy of the reference": []}
    own: dict[str, list[np.ndarray]] = {name: [], "constructed ECG": []}
    lines, rate = {}, gallery.rate
    for state, (task, twin, noisy) in answers.items():
        truth, before = median_beats(task.truth, rate), gallery.beats[fits.rows]
        far, copied = beat_distance(twin.beats, truth), beat_distance(before, truth)
        seen = found(twin.beats, fits.rows, gallery.beats, embed)
        possible = found(median_beats(noisy, rate), fits.rows, gallery.beats, embed)
        error[name].append(far)
        error["copy of the reference"].append(copied)
        own[name].append(seen)
        own["constructed ECG"].append(possible)
        lines[state] = [
            float(np.nanmedian(far)),
            float(np.nanmedian(copied)),
            float(np.nanmedian(far / copied)) if np.nanmedian(copied) > 20 else None,  # else nothing had to change
            float(np.nanmean(far < copied)),
            float(np.nanmean(seen)),
            float(np.nanmean(possible)),
        ]
    owners = np.tile(next(iter(answers.values())).task.patients, len(answers))
    joined = [{k: np.concatenate(v) for k, v in rows.items()} for rows in (error, own)]
    about = "Root mean square difference of median beats from the constructed ECG's, over all states."
    figures = [
        averaged("distance to the constructed truth", "uV", "less", about, joined[0], owners),
        averaged(
            "found as the own reference",
            "rank-1",
            "more",
            f"Among {len(gallery)} real ECGs, by median beats whitened within patients, over all states. The row of "
            "constructed ECGs is the ceiling: a change of conduction leaves no more of the person.",
            joined[1],
            owners,
        ),
    ]
    columns = ("twin, uV", "copy, uV", "left of it", "nearer than a copy", "own, twin", "own, constructed")
    note = (
        f"{len(fits.rows)} real patients in constructed states; medians of the distance to the constructed beat, of "
        "the twin, of the reference, and of their ratio; how many twins are nearer to it than the reference is; "
        "rank-1 as the own reference, of twins and of the constructed ECGs themselves."
    )
    return figures, Table("By state", note, columns, lines)
