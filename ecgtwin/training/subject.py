"""What a subject's stage learns from, of ECGs: the subject's own recordings, and ECGs of its class that the model drew.

Neither base nor draft of anybody is told: who it is must come from the learned statement alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ecg.store.recordings import Recordings
from ..nets import adapters
from ..nets.adapters import AdapterConfig
from ..nets.dit import Block
from ..nets.unet import Stage as UNetStage
from ..train.plan import FREE
from ..train.subject import Samples, SubjectPlan, SubjectStage
from ..twin.condition import Condition
from ..twin.request import Request, paced_by
from ..twin.subject import Taught
from ..twin.twin import ECGTwin


def marker(width: int, number: int) -> Tensor:
    """What stands for subject `number` until its vector is learned: (W,), like no statement."""
    return torch.randn(width, generator=torch.Generator().manual_seed(1_000_003 + number))


def condition_of(model: ECGTwin, recordings: Recordings, row: int, *more: str) -> Condition:
    """A recording's condition as far as the model knows its statements, and `more` of them."""
    known = tuple(name for name in recordings.statements(row) if name in model.statements)
    return Condition((*known, *more), recordings.sexes(row), recordings.years(row), None)


def alone(model: ECGTwin, condition: Condition, signal: Tensor | None, seed: int) -> Request:
    """A request of nobody's base and beats, at a signal's beat times, or at planned ones."""
    if not model.config.denoiser.draft:
        return Request(None, condition, seed)
    beats = model.planned(condition, seed) if signal is None else model.taken(signal, condition)[0]
    return Request(None, paced_by(condition, beats), seed, beats)


@torch.no_grad()
def subject_samples(model: ECGTwin, recordings: Recordings, rows: Mapping[str, Sequence[int]]) -> Samples:
    """Latents and conditions of recordings by the name of their subject, which the model knows already."""
    requests, signals = [], []
    for name, own in rows.items():
        for row in own:
            x = torch.from_numpy(recordings.millivolts(np.array([row]))[0])
            requests.append(alone(model, condition_of(model, recordings, row, name), x, row))
            signals.append(x)
    z = model.parts.vae.encode(torch.stack(signals).to(model.device))
    return Samples(z.float(), wide(model.asked(requests), model.config.text.statements))


@torch.no_grad()
def class_samples(model: ECGTwin, recordings: Recordings, n: int, seed: int) -> Samples | None:
    """Latents and conditions of `n` ECGs that the model draws of nobody, in states of training patients."""
    if not n:
        return None
    rows = np.random.default_rng(seed).permutation(recordings.places("train"))[:n]
    requests = [alone(model, condition_of(model, recordings, int(row)), None, int(row)) for row in rows]
    z = model.parts.vae.encode(model.sample_in_parts(requests, progress=True))
    return Samples(z.float(), wide(model.asked(requests), model.config.text.statements))


def wide(conditions: Any, statements: int) -> Any:
    """Conditions padded to as many statements as the model takes, so that batches of them go together."""
    more = statements - conditions.tokens.shape[1]
    pad = torch.nn.functional.pad
    return conditions._replace(tokens=pad(conditions.tokens, (0, 0, 0, more)), mask=pad(conditions.mask, (0, more)))


def subject_stage(
    model: ECGTwin,
    recordings: Recordings,
    rows: Mapping[str, Sequence[int]],
    plan: SubjectPlan,
    *,
    like: str | None = None,
) -> SubjectStage:
    """rows: places of the recordings of each subject, by its name. like: the statement that their vectors begin as;
    None: the mean of all. The model's table then has markers in the place of the subjects' vectors."""
    width, table = model.config.text.width, model.table
    start = table.vectors.mean(0) if like is None else table.lookup([like])[0]
    own_class = class_samples(model, recordings, plan.prior_samples if plan.prior else 0, plan.seed)
    markers = torch.stack([marker(width, k) for k in range(len(rows))])
    for name, one in zip(rows, markers, strict=True):
        model.table = model.table.taught(name, one.numpy())
    samples = subject_samples(model, recordings, rows)
    network = model.parts.denoiser.requires_grad_(False)
    if plan.adapter is not None:
        adapters.attach(network, AdapterConfig(**plan.adapter.model_dump()), adapters.TRAINED)
    taught = Taught(network, markers, torch.from_numpy(np.array(start)).repeat(len(rows), 1)).to(model.device)
    names = {name: [recordings.name(int(row)) for row in own] for name, own in rows.items()}
    return SubjectStage(
        taught, plan, model.objective, samples, own_class, blocks=(Block, UNetStage),
        config={"subjects": names, "train": plan.model_dump(), "like": like},
        inputs={"model": model.parts.weights_hash, "subjects": str(names), "train": plan.model_dump_json(exclude=FREE)},
    )  # fmt: skip
