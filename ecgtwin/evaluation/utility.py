"""Are generated ECGs of use? Classifiers are trained on them and tested on real ECGs of patients whom neither saw.

Two questions. Training: a classifier of statements is trained on real ECGs, on twins of training patients (Esteban et
al. 2017, arXiv 1706.02633: train on synthetic, test on real), or on both, with many real ECGs or few. Diagnosis of one
patient, as ECGTwin was published (arXiv 2508.02720): a classifier trained on the population is tuned on one patient's
twins, and tested on that patient's other ECGs.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..ecg.store.recordings import Recordings
from ..metrics.bootstrap import Estimate, draws, interval
from ..metrics.evaluators import XResNet
from ..metrics.two_sample import auroc
from ..train.device import accelerator_of
from ..twin.condition import Condition
from .classifier import Taught, scores, targets, train, tune
from .figures import Figure, Table, bare
from .makers import Maker
from .tasks import Held, Task, exchange

FEWEST = 5
"""Positives that a statement needs among the tested ECGs, and among the real training ECGs."""
SCARCE = 0.1
"""Fraction of the training patients whose real ECGs the scarce rows have."""

Draw = Callable[[Maker, Task], np.ndarray]
"""What a maker answers, (n, 8, L) in mV."""


@dataclass(frozen=True)
class Effort:
    """twins: to train on. each: twins of one patient. patients: to diagnose, at most. seeds: trainings of each row.
    steps, tuning: of a training, and of a patient's."""

    twins: int
    each: int
    patients: int
    seeds: int
    steps: int
    tuning: int


def macro(found: list[np.ndarray], truth: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean over seeds and statements of the AUROC; statements without a positive or a negative are left out."""
    each = [auroc(p[:, k], truth[:, k], weights) for p in found for k in range(truth.shape[1])]
    each = [v for v in each if np.isfinite(v)]
    return float(np.mean(each)) if each else float("nan")


def estimated(rows: Mapping[str, list[np.ndarray]], truth: np.ndarray, patients: np.ndarray, times: int = 100):
    """Of each row's scores, one array (n, S) for each seed: the macro AUROC with its interval over patients, and the
    bootstrap values, (times,), that differences between rows are made of."""
    weights = draws(patients, times, 11)
    again = {name: np.array([macro(found, truth, w) for w in weights]) for name, found in rows.items()}
    return {k: Estimate(macro(rows[k], truth), *interval(again[k])) for k in rows}, again


def training(
    train_on: Recordings, held: Held, twin: Maker, draw: Draw, effort: Effort, seed: int, say: Callable[[str], None]
) -> tuple[list[Figure], Table, list[XResNet], tuple[str, ...]]:
    """Figures, the AUROC by statement, and the classifiers of all real ECGs with their statements, for `diagnosis`.

    The twins are of training patients, each asked for in the state of another training patient, which is its label:
    as many as `effort` says, the same in all rows.
    """
    said = [frozenset(train_on.statements(k)) for k in range(len(train_on))]
    truth = Counter(name for s in said for name in s)
    tested = [c.reports for c in held.conditions]
    names = tuple(
        name
        for name, count in sorted(truth.items())
        if count >= FEWEST and FEWEST <= sum(name in r for r in tested) <= len(tested) - FEWEST
    )
    if not names:
        raise ValueError(f"no statement has {FEWEST} or more ECGs in training and in the split that is asked about")
    rng = np.random.default_rng([seed, 21])
    some = train_on.where(np.sort(rng.permutation(len(train_on))[: effort.twins]))
    task = replace(exchange(Held.of(some), len(some), seed), name="training patients, exchanged")
    made = torch.from_numpy(draw(twin, task))
    of_made = torch.from_numpy(targets(task.wanted, names)).float()
    signals, labels = torch.from_numpy(train_on.millivolts()), np.array([[n in s for n in names] for s in said])
    labels = torch.from_numpy(labels).float()
    people = np.unique(train_on.patient)
    few = set(rng.permutation(people)[: max(1, round(SCARCE * len(people)))].tolist())
    scarce = np.flatnonzero([p in few for p in train_on.patient.tolist()])
    as_many = np.sort(rng.permutation(len(signals))[: len(made)])
    mixed = torch.from_numpy(rng.permutation(len(signals)))

    def real(rows: np.ndarray | slice = slice(None)) -> Taught:
        return Taught(signals[rows], labels[rows])

    def both(a: Taught, b: Taught) -> Taught:
        return Taught(torch.cat([a.signals, b.signals]), torch.cat([a.targets, b.targets]))

    twins = Taught(made, of_made)
    lessons = {
        f"all {len(signals)} real": real(),
        f"all real + {len(made)} twins": both(real(), twins),
        f"{len(made)} twins alone": twins,
        f"{len(as_many)} real": real(as_many),
        f"{len(scarce)} real": real(scarce),
        f"{len(scarce)} real + {len(made)} twins": both(real(scarce), twins),
        "all real, labels shuffled (no skill)": Taught(signals, labels[mixed]),
    }
    rows: dict[str, list[np.ndarray]] = {}
    population: list[XResNet] = []
    for name, taught in lessons.items():
        say(f"classifier of {name}")
        networks = [train(taught, effort.steps, 1000 * seed + k) for k in range(effort.seeds)]
        rows[name] = [scores(network, names, held.signals) for network in networks]
        population = population or networks
    asked = targets(held.conditions, names)
    found, again = estimated(rows, asked, held.patients)
    keys = list(rows)
    gains = {}
    for with_twins, without in ((keys[1], keys[0]), (keys[2], keys[3]), (keys[5], keys[4])):
        gain = found[with_twins].value - found[without].value
        gains[f"{with_twins}, minus {without}"] = Estimate(gain, *interval(again[with_twins] - again[without]))
    lines = {}
    for k, name in enumerate(names):
        each = [float(np.mean([auroc(p[:, k], asked[:, k]) for p in rows[key]])) for key in keys[:6]]
        lines[name] = [*each, int(labels[:, k].sum()), int(of_made[:, k].sum()), int(asked[:, k].sum())]
    note = "AUROC of classifiers trained on these, mean over seeds; and how many ECGs have the statement."
    counts = ("with it: real", "twins", "tested")
    table = Table("By statement", note, (*keys[:6], *counts), lines)
    between = {k: float(np.std([macro([p], asked) for p in v])) for k, v in rows.items()}
    note = f"{effort.seeds} seeds, whose standard deviation is {max(between.values()):.3f} at most"
    figures = [
        Figure(
            "classifier trained on",
            "AUROC",
            "more",
            f"Macro AUROC of {len(names)} statements on {len(asked)} real ECGs of patients nobody was trained on. "
            f"Twins are of training patients, asked for in another one's state. Mean of {note}.",
            found,
            len(asked),
        ),
        Figure(
            "gain by twins",
            "AUROC",
            "more",
            "Paired difference on the same real ECGs; the generator itself saw all real training ECGs.",
            gains,
            len(asked),
        ),
    ]
    return figures, table, population, names


def diagnosis(
    held: Held, wanted: list[Condition], population: list[XResNet], names: tuple[str, ...], twin: Maker, draw: Draw,
    effort: Effort, seed: int, say: Callable[[str], None],
) -> list[Figure]:  # fmt: skip
    """A population's classifier tuned on one patient's twins, tested on that patient's other real ECGs.

    The reference is a patient's first ECG; its twins are in states of `wanted`, conditions of training patients, each
    patient's own draw, with the reference in its own state beside them. Empty where too few patients have two ECGs.
    """
    firsts, tests = references(held, effort.patients, seed)
    if len(firsts) < 4:
        return []
    rng = np.random.default_rng([seed, 22])
    chosen = held.some(np.repeat(firsts, effort.each))
    states = [wanted[k] for k in rng.integers(len(wanted), size=len(chosen))]
    asked = tuple(c.or_of(own) for c, own in zip(states, chosen.conditions, strict=True))
    asked = tuple(replace(c, sex=o.sex, age=o.age) for c, o in zip(asked, chosen.conditions, strict=True))
    seeds = seed + 70_000 + np.arange(len(chosen))
    task = Task("twins of one patient", chosen.signals, chosen.conditions, asked, chosen.patients, seeds)
    made, of_made = draw(twin, task), targets(asked, names)
    other = np.roll(np.arange(len(firsts)), 1)
    rows: dict[str, list[np.ndarray]] = {
        k: [] for k in ("population", "own twins", "another patient's twins", "own reference alone")
    }
    held_out = np.concatenate(tests)
    for k, network in enumerate(population):
        say(f"{len(firsts)} patients, classifier {k + 1} of {len(population)}")
        rows["population"].append(scores(network, names, held.signals[held_out]))

        def tuned(taught_of: Callable[[int], Taught], network: XResNet = network, k: int = k) -> np.ndarray:
            found = []
            for p, rows_of in enumerate(tests):
                own = tune(network, taught_of(p), effort.tuning, 1000 * seed + k)
                found.append(scores(own, names, held.signals[rows_of]))
            return np.concatenate(found)

        def reference(p: int) -> Taught:
            at = firsts[p : p + 1]
            labels = targets([held.conditions[k] for k in at], names)
            return Taught(torch.from_numpy(held.signals[at]), torch.from_numpy(labels).float())

        def twins(p: int) -> Taught:
            at = slice(p * effort.each, (p + 1) * effort.each)
            mine = reference(p)
            x, y = torch.from_numpy(made[at]), torch.from_numpy(of_made[at]).float()
            return Taught(torch.cat([x, mine.signals]), torch.cat([y, mine.targets]))

        rows["own twins"].append(tuned(twins))
        rows["another patient's twins"].append(tuned(lambda p: twins(int(other[p]))))
        rows["own reference alone"].append(tuned(reference))
    truth, patients = targets([held.conditions[k] for k in held_out], names), held.patients[held_out]
    kept = np.flatnonzero((truth.sum(0) >= FEWEST) & ((~truth).sum(0) >= FEWEST))
    about = (
        f"{len(held_out)} real ECGs of {len(firsts)} patients, the first of each the reference of {effort.each} twins"
    )
    figures = []
    for title, columns in (("macro", kept), ("micro", np.arange(len(names)))):
        if not len(columns):
            continue
        flat = title == "micro"
        y = truth[:, columns].reshape(-1, 1) if flat else truth[:, columns]
        who = np.repeat(patients, len(columns)) if flat else patients
        p = {k: [s[:, columns].reshape(-1, 1) if flat else s[:, columns] for s in v] for k, v in rows.items()}
        found, again = estimated(p, y, who)
        if not flat:
            found["no skill"] = bare(0.5)
        gain = found["own twins"].value - found["population"].value
        found["own twins minus population"] = Estimate(gain, *interval(again["own twins"] - again["population"]))
        what = f"over {len(columns)} statements" if not flat else "of all statements of all ECGs in one ranking"
        meaning = f"{title.capitalize()} AUROC {what}, {about}; mean of {len(population)} seeds."
        figures.append(Figure(f"diagnosis of one patient, {title}", "AUROC", "more", meaning, found, len(held_out)))
    return figures


def references(held: Held, most: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The first ECG of each patient with two or more, and each one's others; most: patients."""
    several = [np.flatnonzero(held.patients == p) for p in np.unique(held.patients[held.patients >= 0])]
    several = [rows for rows in several if len(rows) > 1]
    chosen = np.sort(np.random.default_rng([seed, 23]).permutation(len(several))[:most])
    return np.array([several[k][0] for k in chosen], int), [several[k][1:] for k in chosen]


def states(train_on: Recordings, rarest: int = 30) -> list[Condition]:
    """Conditions of training ECGs, those with rare statements repeated: by 1 / sqrt(count) of the rarest."""
    said = [train_on.statements(k) for k in range(len(train_on))]
    counts = Counter(name for row in said for name in row)
    found: list[Condition] = []
    for row in said:
        if row:
            rare = max(rarest, min(counts[name] for name in row))
            found += [Condition(row)] * max(1, round((max(counts.values()) / rare) ** 0.5))
    return found


def utility(
    train_on: Recordings, held: Held, twin: Maker, draw: Draw, effort: Effort, seed: int, say: Callable[[str], None]
) -> tuple[list[Figure], Table]:
    """Both questions: figures, and the AUROC by statement. ValueError where the package accelerate is missing, or no
    statement is frequent enough."""
    accelerator_of(cpu=True)
    figures, table, population, names = training(train_on, held, twin, draw, effort, seed, say)
    more = diagnosis(held, states(train_on), population, names, twin, draw, effort, seed, say)
    return figures + more, table
