"""`ecgtwin evaluate`: a model folder, a folder of generated records, or an array of them, in; one report out."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..ecg.store.recordings import Recordings
from ..metrics.identity import repeated
from ..twin.twin import ECGTwin
from . import agreement, likeness, physics, realism, tasks
from .answers import Say
from .evaluate import identity_rows, reconstruction, seconds
from .figures import Section
from .files import Made, as_task
from .makers import Stranger, Twins
from .reading import Judges, beat_distance
from .sections import PARTS
from .suite import SIZES, facts, of_model, prepare, suite
from .telltales import Against, floor, telltales
from .training_records import privacy


def of_generator(
    model: ECGTwin,
    recordings: Recordings,
    *,
    split: str = "validation",
    size: str = "quick",
    cache: Path | None = None,
    seed: int = 0,
    say: Say = lambda _: None,
    progress: bool = False,
    name: str = "twin",
    parts: Sequence[str] = tuple(PARTS),
) -> dict[str, Any]:
    """The report of a model. cache: a folder for generated ECGs, so that an interrupted evaluation goes on. parts: of
    `sections.PARTS`; auto-encoder, base and speed are measured where it is all of them."""
    train, held = real(recordings, "train"), real(recordings, split)
    stage = prepare(train, held, Judges.load(), SIZES[size], cache=cache, seed=seed, say=say, progress=progress)
    measured: dict[str, Any] = {}
    if set(parts) >= set(PARTS) - {"utility"}:
        say("the model's parts")
        measured = {
            "reconstruction": reconstruction(model, held),
            "identity": identity_rows(model, train, held) if repeated(held.patient) else None,
            "speed": seconds(model, held),
        }
    found = suite(stage, Twins(model), of_model(model, stage.held), model, parts)
    model_facts = {"weights_sha256": model.weights_hash, "precision": model.precision}
    return {
        "format": 1,
        "name": name,
        "maker": "twin",
        "suite": size,
        "facts": {"model": model_facts, **facts(stage, train, held, split)},
        "parts": measured,
        **found,
    }


def of_files(
    made: Made,
    recordings: Recordings,
    *,
    split: str = "validation",
    seed: int = 0,
    say: Say = lambda _: None,
    name: str = "file",
    beside: Mapping[str, Made] | None = None,
) -> dict[str, Any]:
    """The report of ECGs that another program generated: realism, intervals, what was asked for, training records
    kept; and who it is, where the table names references. Real rows are as many held-out ECGs, taken in turn.
    beside: other generators' ECGs, as rows of the same figures; ValueError where there are fewer than 40 of one."""
    start = time.perf_counter()
    train, held = real(recordings, "train"), real(recordings, split)
    stage = prepare(train, held, Judges.load(), SIZES["quick"], cache=None, seed=seed, say=say)
    names = [held.stores[held.which[k]].texts("name")[int(held.rows[k])] for k in range(len(held))]
    task = as_task(made, stage.held, names)
    others = {key: as_task(one, stage.held, names) for key, one in (beside or {}).items()}
    for key, one in ((name, task), *others.items()):
        if len(one) < 40:
            raise ValueError(
                f"{key}: {len(one)} generated ECGs: expected 40 or more, or distances between sets mean nothing"
            )
    mine = stage.read(made.signals, task.patients)
    rest = {key: stage.read(beside[key].signals, one.patients) for key, one in others.items()}
    redrawn = tasks.redraw(stage.held, min(len(made), len(stage.held)), seed)
    references = stage.read(redrawn.references, redrawn.patients)
    rows = {name: mine, **rest}
    say("realism")
    everybody = [stage.whole.patients, task.patients, *(one.patients for one in others.values())]
    first = realism.halves(np.concatenate(everybody), seed)
    against = {key: Against(stage.whole, one) for key, one in rows.items()}
    tell = telltales({**against, "real": floor(stage.whole, references, seed)}, seed)
    limbs = {key: beside[key].limb_residual for key in others if len(beside[key]) == len(made)} if beside else {}
    limbs = {name: made.limb_residual, **limbs}
    sections = [
        Section(
            "Do they look real?",
            realism.realism(stage.whole, stage.fitted, {**rows, **realism.degraded(references)}, seed, first),
        ),
        Section("What gives them away?", tell),
        Section(
            "Intervals, amplitudes and diversity",
            [
                *realism.physiology(stage.whole, {realism.FLOOR: references, **rows}, first),
                physics.figure(limbs, task.patients),
            ],
        ),
    ]
    say("what was asked for")
    floors = {"another patient in that state": stage.read(Stranger(stage.held).make(task), task.patients)}
    if all(made.references):
        floors["copy of the reference"] = stage.read(task.references, task.patients)
    alike = {key: rest[key] for key, one in others.items() if one.wanted == task.wanted}
    found, statements = agreement.agreement(task, {name: mine, **alike, **floors})
    sections.append(Section("Is what was asked for there?", found, [statements]))
    for key in others.keys() - alike.keys():
        say(f"{key} was asked for other states than {name}: whether they are there is judged apart")
        found, statements = agreement.agreement(others[key], {key: rest[key]})
        sections.append(Section(f"Is what was asked for there? ({key})", found, [statements]))
    if all(made.references):
        pairs = tasks.factual(stage.held, 200, seed)
        a, b = (stage.read(x, pairs.patients) for x in (pairs.references, pairs.truth))
        before, sets = floors["copy of the reference"], {name: mine, **alike, **floors}
        found = likeness.identity(task, sets, stage.whole, (a, b))
        found.append(likeness.copied(sets, before, beat_distance(b.beats, a.beats), task.patients))
        sections.append(Section("Is it the same person?", found))
    kept = {name: mine, **rest, "real held-out ECGs": references}
    sections.append(Section("Were training records kept?", privacy(kept, stage.fitted, stage.whole, seed)))
    return {
        "format": 1,
        "name": name,
        "maker": name,
        "suite": "file",
        "facts": {"file": made.fingerprint, **facts(stage, train, held, split)},
        "sections": [s.plain() for s in sections],
        "overlays": [],
        "seconds": round(time.perf_counter() - start, 1),
    }


def real(recordings: Recordings, split: str) -> Recordings:
    """Recorded ECGs of a split; ValueError where there is none."""
    chosen = recordings.only(split, simulated=False)
    if not len(chosen):
        raise ValueError(f"the store holds no real ECG of split {split!r}: choose another --split, or another store")
    return chosen
