"""What a generator is asked: references, the state that each is in, and the state that is wanted of it.

Every task asks about patients whom nothing was trained on. The same store, split and seed make the same tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..ecg.rhythm import heart_rate
from ..ecg.store.recordings import Recordings
from ..twin.condition import Condition

PAIRS_EACH = 6
PLAIN = ("sinus rhythm", "normal ECG", "sinus bradycardia", "sinus tachycardia", "sinus arrhythmia")


@dataclass(frozen=True, eq=False)
class Task:
    """n wanted ECGs. references (n, 8, L) in mV with their `own` conditions; `wanted` conditions; patients: whose
    the references are; seeds: one for each. truth (n, 8, L): a real ECG in the wanted state (of whom:
    `truth_patients`), None where there is none."""

    name: str
    references: np.ndarray
    own: tuple[Condition, ...]
    wanted: tuple[Condition, ...]
    patients: np.ndarray
    seeds: np.ndarray
    truth: np.ndarray | None = None
    truth_patients: np.ndarray | None = None

    def __post_init__(self):
        n = len(self.references)
        if {len(self.own), len(self.wanted), len(self.patients), len(self.seeds)} != {n}:
            raise ValueError(
                f"task {self.name}: {n} references, {len(self.own)} and {len(self.wanted)} conditions: expected as many"
            )

    def __len__(self) -> int:
        return len(self.references)

    def asked(self, name: str, wanted: Sequence[Condition], seeds: np.ndarray | None = None) -> "Task":
        """The same references, asked for something else of which no truth is known."""
        return replace(
            self,
            name=name,
            wanted=tuple(wanted),
            seeds=self.seeds if seeds is None else seeds,
            truth=None,
            truth_patients=None,
        )


@dataclass(frozen=True, eq=False)
class Held:
    """Real ECGs of the patients asked about, with what is known of
    each; `statements` includes what the model does not know."""

    signals: np.ndarray
    conditions: tuple[Condition, ...]
    patients: np.ndarray
    rate: float

    @staticmethod
    def of(recordings: Recordings) -> "Held":
        signals = recordings.millivolts()
        conditions = []
        for k, x in enumerate(signals):
            beats = heart_rate(x, recordings.rate)
            beats = beats if beats is not None and 20 <= beats <= 300 else None
            conditions.append(Condition(recordings.statements(k), recordings.sexes(k), recordings.years(k), beats))
        return Held(signals, tuple(conditions), recordings.patient, recordings.rate)

    def __len__(self) -> int:
        return len(self.signals)

    def some(self, rows: np.ndarray) -> "Held":
        return Held(self.signals[rows], tuple(self.conditions[k] for k in rows), self.patients[rows], self.rate)


def redraw(held: Held, n: int, seed: int) -> Task:
    """n ECGs, each asked for again in its own state: nothing should change beyond what changes from day to day."""
    rows = np.sort(np.random.default_rng([seed, 1]).permutation(len(held))[:n])
    chosen = held.some(rows)
    own = chosen.conditions
    return Task("redraw", chosen.signals, own, own, chosen.patients, seed + rows, chosen.signals, chosen.patients)


def exchange(held: Held, n: int, seed: int) -> Task:
    """n ECGs, each asked for in the state (statements, heart rate) of another patient of them; age and sex stay.

    What is wanted is then distributed as in reality and has nothing to do with the reference; the other patient's
    real ECG is the "truth", which shows the state in another heart.
    """
    rng = np.random.default_rng([seed, 1])
    rows = np.sort(rng.permutation(len(held))[:n])  # those of `redraw`
    chosen = held.some(rows)
    order = rng.permutation(len(rows))
    other = np.empty(len(rows), int)
    other[order] = np.roll(order, 1)  # one cycle: nobody keeps the own state
    wanted = tuple(
        replace(c, reports=chosen.conditions[k].reports, heart_rate=chosen.conditions[k].heart_rate)
        for c, k in zip(chosen.conditions, other, strict=True)
    )
    return Task(
        "exchange",
        chosen.signals,
        chosen.conditions,
        wanted,
        chosen.patients,
        seed + rows,
        chosen.signals[other],
        chosen.patients[other],
    )


def factual(held: Held, most: int, seed: int) -> Task:
    """Two real ECGs of one patient: the reference, and the state and the ECG of another day, in both directions. In
    turns, a pair of each patient at a time, so that the first pairs are of many patients; of one with many ECGs there
    are `PAIRS_EACH` at most."""
    rng, turns = np.random.default_rng([seed, 2]), []
    for patient in np.unique(held.patients[held.patients >= 0]):
        rows = np.flatnonzero(held.patients == patient)
        own = [(a, b) for a in rows for b in rows if a != b]
        turns += [(turn, *own[k]) for turn, k in enumerate(rng.permutation(len(own))[:PAIRS_EACH])]
    if not turns:
        return empty(held, "factual")
    pairs = np.array(sorted(turns))[:most, 1:]
    a, b = held.some(pairs[:, 0]), held.some(pairs[:, 1])
    return Task(
        "factual",
        a.signals,
        a.conditions,
        b.conditions,
        a.patients,
        seed + 10_000 + np.arange(len(pairs)),
        b.signals,
        a.patients,
    )


def doses(held: Held, n: int, rates: Sequence[float], seed: int) -> Task:
    """n references in plain sinus rhythm, each at every heart rate of `rates` (beats/min), from one seed: only the
    rate is asked to change.

    Ordered by reference, then by rate.
    """
    rows = plain_rows(held, n, seed)
    chosen = held.some(rows)
    rest = ("sinus bradycardia", "sinus tachycardia", "sinus arrhythmia", "normal ECG")
    repeated = np.repeat(np.arange(len(rows)), len(rates))
    wanted = []
    for k in repeated:
        c = chosen.conditions[k]
        wanted.append(replace(c, reports=tuple(r for r in c.reports if r not in rest) or ("sinus rhythm",)))
    wanted = [replace(c, heart_rate=float(rate)) for c, rate in zip(wanted, list(rates) * len(rows), strict=True)]
    own = tuple(chosen.conditions[k] for k in repeated)
    return Task(
        "heart rates",
        chosen.signals[repeated],
        own,
        tuple(wanted),
        chosen.patients[repeated],
        seed + 20_000 + rows[repeated],
    )


def ages(held: Held, n: int, years: Sequence[float], seed: int) -> Task:
    """n references of `held`, each in its own state at every age of
    `years`, from one seed. Ordered by reference, then by age."""
    rows = np.sort(np.random.default_rng([seed, 4]).permutation(len(held))[:n])
    chosen, repeated = held.some(rows), np.repeat(np.arange(len(rows)), len(years))
    own = tuple(chosen.conditions[k] for k in repeated)
    wanted = tuple(replace(c, age=float(age)) for c, age in zip(own, list(years) * len(rows), strict=True))
    return Task(
        "ages", chosen.signals[repeated], own, wanted, chosen.patients[repeated], seed + 30_000 + rows[repeated]
    )


def plain_rows(held: Held, n: int, seed: int) -> np.ndarray:
    """Up to n ECGs in plain sinus rhythm."""
    plain = np.array([k for k, c in enumerate(held.conditions) if c.reports and set(c.reports) <= set(PLAIN)], int)
    return np.sort(np.random.default_rng([seed, 3]).permutation(plain)[:n])


def change_of(held: Held, n: int, statement: str, seed: int) -> Task:
    """n references in plain sinus rhythm asked for a statement beside it; heart rate, age and sex stay."""
    chosen = held.some(plain_rows(held, n, seed))
    wanted = tuple(replace(c, reports=("sinus rhythm", statement)) for c in chosen.conditions)
    seeds = seed + 40_000 + np.arange(len(chosen))
    return Task(f"to {statement}", chosen.signals, chosen.conditions, wanted, chosen.patients, seeds)


def repeated(task: Task, times: int) -> Task:
    """Each wanted ECG `times` times over with other seeds, ordered by sample, then by ECG (so that the first block
    is the task itself)."""
    tile = np.tile(np.arange(len(task)), times)
    seeds = task.seeds[tile] + 100_000 * np.repeat(np.arange(times), len(task))
    return Task(
        f"{task.name} x {times}",
        task.references[tile],
        tuple(task.own[k] for k in tile),
        tuple(task.wanted[k] for k in tile),
        task.patients[tile],
        seeds,
        None if task.truth is None else task.truth[tile],
        None if task.truth_patients is None else task.truth_patients[tile],
    )


def back(task: Task, made: np.ndarray) -> Task:
    """The way back: what was made of each reference becomes the reference, the reference's own state is wanted."""
    return Task(
        f"{task.name}, back",
        made,
        task.wanted,
        task.own,
        task.patients,
        task.seeds + 50_000,
        task.references,
        task.patients,
    )


def empty(held: Held, name: str) -> Task:
    none = np.empty(0, int)
    return Task(name, held.signals[:0], (), (), none, none, held.signals[:0], none)
