"""All figures of one generator, beside floors and rows without skill: the report's content.

A suite is a list of questions (tasks) and of who answers them (makers); the judges are the same for all.
"""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..ecg.store.recordings import Recordings
from ..metrics.degradations import LADDER
from ..metrics.privacy import closest, membership
from ..twin.twin import ECGTwin
from . import agreement, likeness, realism, tasks
from .figures import Figure, bare
from .makers import Copy, Edits, Maker, Mechanistic, Reconstruction, Stranger, Twins, drawn
from .reading import Judges, Reading, beat_distance
from .simulated_truth import counterfactuals
from .tasks import Held, Task

Say = Callable[[str], None]
RATES = (40.0, 60.0, 80.0, 100.0, 120.0, 140.0)
YEARS = (25.0, 45.0, 65.0, 85.0)


@dataclass(frozen=True)
class Size:
    """How many: ECGs asked for again and exchanged, factual pairs at most, samples of each (of as many pairs),
    references of the heart rate and age series, edits by inversion, simulated people."""

    ecgs: int
    pairs: int
    samples: int
    sampled: int
    series: int
    edits: int
    people: int
    fitted: int


SIZES = {
    "quick": Size(ecgs=96, pairs=48, samples=4, sampled=24, series=10, edits=16, people=4, fitted=600),
    "full": Size(ecgs=480, pairs=400, samples=16, sampled=100, series=40, edits=100, people=16, fitted=3000),
}


@dataclass(frozen=True, eq=False)
class Stage:
    """What every part of the suite needs."""

    held: Held
    whole: Reading
    fitted: Reading
    ages: np.ndarray
    judges: Judges
    size: Size
    cache: Path | None
    seed: int
    say: Say
    progress: bool

    def read(self, signals: np.ndarray, patients: np.ndarray) -> Reading:
        return Reading(signals, self.held.rate, patients, self.judges)

    def answered(self, makers: Sequence[Maker], task: Task) -> dict[str, Reading]:
        """What each maker draws for a task, read."""
        found = {}
        for maker in makers:
            self.say(f"{task.name}: {maker.name} ({len(task)} ECGs)")
            found[maker.name] = self.read(drawn(maker, task, self.cache, progress=self.progress), task.patients)
        return found


def prepare(
    train: Recordings,
    held: Recordings,
    judges: Judges,
    size: Size,
    *,
    cache: Path | None,
    seed: int,
    say: Say,
    progress: bool = False,
) -> Stage:
    """ValueError where there are too few held-out patients, or one of them is also a training patient."""
    shared = set(train.patient.tolist()) & set(held.patient.tolist()) - {-1}
    if shared:
        raise ValueError(
            f"{len(shared)} patients are both in training and in the split that is asked about: {sorted(shared)[:3]} …"
        )
    if len(held) < 40 or len(train) < 100:
        raise ValueError(f"{len(held)} held-out and {len(train)} training ECGs: expected 40 and 100 or more")
    people = Held.of(held)
    rows = np.sort(np.random.default_rng([seed, 7]).permutation(len(train))[: size.fitted])
    seen = Reading(train.millivolts(rows), train.rate, train.patient[rows], judges)
    whole = Reading(people.signals, people.rate, people.patients, judges)
    return Stage(people, whole, seen, train.age[rows], judges, size, cache, seed, say, progress)


def suite(stage: Stage, twin: Maker, others: Mapping[str, Maker], model: ECGTwin | None = None) -> dict[str, Any]:
    """Figures as sections. twin: what is evaluated. others: rows beside it; keys "no reference", "counterfactual",
    "reconstruction" are of a model and may lack. model: for the exact counterfactuals."""
    copy = Copy()
    stranger = Stranger(stage.held)
    say = stage.say
    start = time.perf_counter()
    sections: list[dict[str, Any]] = []

    def section(title: str, figures: Sequence[Figure], **more: Any) -> None:
        sections.append({"title": title, "figures": [f.plain() for f in figures], **more})
        say(f"{title}: {time.perf_counter() - start:.0f} s")

    redraw, exchange = (
        tasks.redraw(stage.held, stage.size.ecgs, stage.seed),
        tasks.exchange(stage.held, stage.size.ecgs, stage.seed),
    )
    pairs = tasks.factual(stage.held, stage.size.pairs, stage.seed)
    references = stage.read(redraw.references, redraw.patients)
    again, changed = stage.answered([twin], redraw), stage.answered([twin, *present(others, "no reference")], exchange)
    real_other = stage.read(exchange.truth, exchange.truth_patients)
    a, b = (stage.read(x, pairs.patients) for x in (pairs.references, pairs.truth))
    another_day = beat_distance(b.beats, a.beats)

    rate = stage.held.rate
    worse = {
        name: stage.read(make(redraw.references, rate), redraw.patients)
        for name, make in LADDER.items()
        if name != realism.FLOOR
    }
    reconstructed = stage.answered(present(others, "reconstruction"), redraw)
    rows = {realism.FLOOR: references, **changed, "twin, own state": again[twin.name], **reconstructed, **worse}
    figures = realism.realism(stage.whole, stage.fitted, rows, stage.seed)
    tell = realism.telltales(stage.whole, changed[twin.name], stage.seed)
    tell_real = realism.telltales(stage.whole, references, stage.seed)
    section("Do they look real?", figures, telltales={k: [*v, tell_real[k].value] for k, v in tell.items()})

    first = realism.halves(stage.whole.patients, stage.seed)
    body = {realism.FLOOR: references, **changed, **{k: v for k, v in worse.items() if k == "8 Hz blur"}}
    section("Intervals and amplitudes", realism.physiology(stage.whole, body, first))

    beside = {"real ECG of another patient": real_other, copy.name: references}
    found, statements = agreement.agreement(exchange, {**changed, **beside})
    section("Is what was asked for there?", found, statements=statements)
    section("Rhythm", agreement.rhythms(redraw, {"real": references, twin.name: again[twin.name]}))

    strangers = {**beside, "real ECG of another patient": stage.read(exchange.truth, exchange.patients)}
    found = likeness.identity(exchange, {**changed, **strangers}, stage.whole, (a, b))
    found.append(likeness.copied({**changed, **strangers}, references, another_day, exchange.patients))
    section("Is it the same person?", found)

    makers = [twin, copy, stranger, *present(others, "no reference", "reconstruction", "mechanistic")]
    if len(pairs) >= 8:
        answers = stage.answered(makers, pairs)
        section("A real later ECG of the same patient", likeness.factual(pairs, answers, a, b))
        few = first_rows(pairs, stage.size.edits)
        if edits := present(others, "counterfactual"):
            here = {**stage.answered(edits, few), **{n: cut(answers[n], len(few)) for n in (twin.name, copy.name)}}
            section(
                "Edits of the reference, on fewer pairs",
                likeness.factual(few, here, cut(a, len(few)), cut(b, len(few))),
            )
        back = tasks.back(pairs, answers[twin.name].signals)
        returned = stage.answered([twin], back)[twin.name]
        none = likeness.unchanged(
            redraw, {twin.name: again[twin.name], **reconstructed}, references, another_day, pairs.patients
        )
        section("Nothing asked, and there and back", [*none, likeness.round_trip(pairs, returned, a, twin.name)])
        some = first_rows(pairs, stage.size.sampled)
        many = tasks.repeated(some, stage.size.samples)
        found = likeness.calibrated(
            many, stage.size.samples, stage.answered([twin], many), cut(b, len(some)), cut(a, len(some))
        )
        section("Do samples spread as the truth does?", found)

    series = tasks.doses(stage.held, stage.size.series, RATES, stage.seed)
    held_back = {**stage.answered([twin], series), copy.name: stage.read(series.references, series.patients)}
    found = likeness.dose(series, RATES, held_back)
    older = tasks.ages(stage.held, stage.size.series, YEARS, stage.seed)
    ages = np.array([np.nan if c.age is None else c.age for c in stage.held.conditions])
    seen = (stage.fitted.learned, stage.ages)
    found.append(likeness.ageing(older, YEARS, stage.answered([twin], older), seen, stage.whole, ages))
    section("More of it, more of it", found)

    section("Were training records kept?", privacy(stage, again[twin.name], references, twin.name))
    if model is not None and stage.size.people:
        say(f"exact counterfactuals of {stage.size.people} simulated people")
        section(
            "Exact counterfactuals of simulated people",
            [],
            truth=counterfactuals(model, people=stage.size.people, seed=stage.seed),
        )
    overlays = chosen_overlays(pairs, answers[twin.name], a, b) if len(pairs) >= 8 else []
    return {"sections": sections, "overlays": overlays, "seconds": round(time.perf_counter() - start, 1)}


def present(makers: Mapping[str, Maker], *names: str) -> list[Maker]:
    return [makers[name] for name in names if name in makers]


def first_rows(task: Task, n: int) -> Task:
    from .makers import only

    return only(task, np.arange(min(n, len(task))))


def cut(reading: Reading, n: int) -> Reading:
    return Reading(reading.signals[:n], reading.rate, reading.patients[:n], reading.judges)


def privacy(stage: Stage, made: Reading, references: Reading, name: str) -> list[Figure]:
    """Distance to training records beside held-out ones; a twin's own patient is left out of these, since it
    resembles its reference by design."""
    away = ~np.isin(stage.whole.patients, made.patients)
    held, rows, attack = stage.whole.who[away], {}, {}
    for key, reading in ((name, made), ("real held-out ECGs", references)):
        found = closest(reading.who, stage.fitted.who, held, seed=stage.seed)
        rows[key] = bare(found.nearer_training)
        attack[key] = bare(membership(reading.who, stage.fitted.who, held))
    return [
        Figure(
            "nearer to a training record",
            "share",
            "real",
            "Of made ECGs, nearer to a training record than to any of as many held-out ones of other "
            "patients, by the identity encoder; 0.5: nothing kept.",
            rows,
            len(made),
        ),
        Figure(
            "membership inference",
            "AUROC",
            "real",
            "Of an attack that calls a record a training record where a made ECG is near it; 0.5: it fails.",
            attack,
            len(made),
        ),
    ]


def chosen_overlays(
    task: Task, made: Reading, reference: Reading, truth: Reading, each: int = 7
) -> list[dict[str, Any]]:
    """Best, median and worst pairs by the distance to the truth: 2 x `each` + 6 of them, never only the best."""
    far = beat_distance(made.beats, truth.beats)
    before = beat_distance(reference.beats, truth.beats)
    order = np.argsort(np.where(np.isnan(far), np.inf, far))
    order = order[np.isfinite(far[order])]
    n = len(order)
    middle = order[max(0, n // 2 - 3) : n // 2 + 3]
    groups = (("best", order[:each]), ("median", middle), ("worst", order[::-1][:each]))
    found = []
    used: set[int] = set()
    for label, rows in groups:
        for k in rows.tolist():
            if k in used:
                continue
            used.add(k)
            found.append(
                {
                    "group": label,
                    "wanted": str(task.wanted[k]),
                    "own": str(task.own[k]),
                    "uv": round(float(far[k]), 1),
                    "uv_copy": round(float(before[k]), 1),
                    "beats": {
                        n: (1000 * r.beats[k]).round().astype(int).tolist()
                        for n, r in (("reference", reference), ("truth", truth), ("made", made))
                    },
                }
            )
    return found


def of_model(model: ECGTwin, held: Held) -> dict[str, Maker]:
    """The rows that a model brings with it."""
    return {
        "no reference": Twins(model, "the model without a reference", without_reference=True),
        "counterfactual": Edits(model),
        "reconstruction": Reconstruction(model),
        "mechanistic": Mechanistic(held.rate),
    }


def facts(stage: Stage, train: Recordings, held: Recordings, split: str) -> dict[str, Any]:
    """What a reader needs to repeat it."""
    judges = stage.judges
    return {
        "data": {
            "split": split,
            "training": len(train),
            "held_out": len(held),
            "patients": len(set(held.patient.tolist())),
            "digest": held.digest,
        },
        "judges": {
            "statements": judges.statements.sha256,
            "identity": judges.identity.sha256,
            "text": judges.text.sha256 if judges.text else None,
        },
        "judge_quality": {
            "statement_auroc_validation": round(
                float(np.mean([v for v in judges.statements.auroc.values() if v is not None])), 3
            ),
            "identity": judges.identity.figures,
            "text": judges.text.figures if judges.text else {},
        },
        "seed": stage.seed,
        "software": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
    }
