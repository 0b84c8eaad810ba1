"""All figures of one generator, beside floors and rows without skill: the report's content.

A suite is a list of questions (tasks) and of who answers them (makers), in parts (`sections`); the judges are the same
for all.
"""

import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..ecg.store.recordings import Recordings
from ..twin.twin import ECGTwin
from .answers import Answers, Say, Size, Stage
from .makers import Edits, Maker, Mechanistic, Reconstruction, Twins
from .reading import Judges, Reading, beat_distance
from .sections import PARTS
from .simulated_truth import aligned, centred
from .tasks import Held, Task
from .utility import Effort

SIZES = {
    "quick": Size(
        ecgs=96,
        pairs=48,
        samples=4,
        sampled=24,
        series=10,
        edits=16,
        strengths=4,
        people=4,
        constructed=12,
        fitted=600,
        utility=Effort(twins=120, each=4, patients=12, seeds=2, steps=120, tuning=12),
    ),
    "full": Size(
        ecgs=480,
        pairs=400,
        samples=8,
        sampled=100,
        series=24,
        edits=100,
        strengths=12,
        people=16,
        constructed=24,
        fitted=3000,
        utility=Effort(twins=300, each=10, patients=24, seeds=3, steps=300, tuning=20),
    ),
}


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
    return Stage(train, people, whole, seen, train.age[rows], judges, size, cache, seed, say, progress)


def suite(
    stage: Stage,
    twin: Maker,
    others: Mapping[str, Maker],
    model: ECGTwin | None = None,
    parts: Sequence[str] = tuple(PARTS),
) -> dict[str, Any]:
    """Figures as sections, of the chosen `parts` of `PARTS`; see `Answers`."""
    start, sections = time.perf_counter(), []
    answers = Answers(stage, twin, others, model)
    for part in parts:
        found = PARTS[part](answers)
        sections += [s.plain() for s in found]
        stage.say(f"{part}: {time.perf_counter() - start:.0f} s")
    overlays = []
    if "pairs" in parts and answers.paired:
        overlays = chosen_overlays(answers.pairs, answers.paired[twin.name], answers.before, answers.later)
    return {
        "sections": sections,
        "overlays": overlays,
        "parts_shown": list(parts),
        "seconds": round(time.perf_counter() - start, 1),
    }


def chosen_parts(text: str | None, size: str = "full") -> tuple[str, ...]:
    """Names joined by commas, in the suite's order; where None all, but not utility in the quick suite, of which it
    would be half. ValueError for one that there is not."""
    if text is None:
        return tuple(name for name in PARTS if name != "utility" or size == "full")
    asked = [name.strip() for name in text.split(",")]
    if unknown := [name for name in asked if name not in PARTS]:
        raise ValueError(f"part {unknown[0]!r} of the suite: expected some of {', '.join(PARTS)}")
    return tuple(name for name in PARTS if name in asked)


def chosen_overlays(
    task: Task, made: Reading, reference: Reading, truth: Reading, each: int = 7
) -> list[dict[str, Any]]:
    """Best, median and worst pairs by the distance to the truth: 2 x `each` + 6 of them, never only the best; beats
    as they are compared, each lead around its mean and moved by at most 95 ms onto the truth."""
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
            target = centred(truth.beats[[k]])
            moved = {name: aligned(r.beats[[k]], target) for name, r in (("reference", reference), ("made", made))}
            found.append(
                {
                    "group": label,
                    "wanted": str(task.wanted[k]),
                    "own": str(task.own[k]),
                    "uv": round(float(far[k]), 1),
                    "uv_copy": round(float(before[k]), 1),
                    "beats": {
                        name: (1000 * beats[0]).round().astype(int).tolist()
                        for name, beats in {**moved, "truth": target}.items()
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
