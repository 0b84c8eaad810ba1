"""Teacher's paths for a student of the twin's denoiser: real training references, each asked for a state, answered once
by the guided model with its many calls, and kept.

Kept in a folder part by part, so that a run that was killed goes on where it was.
"""

import json
import warnings
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..atomic import write_text
from ..diffusion import distill
from ..diffusion.levels import trailing
from ..diffusion.sample import seeded_noise
from ..ecg.store.recordings import Recordings
from ..nets.adapters import AdapterConfig
from ..nets.dit import Block
from ..nets.student import Student
from ..nets.unet import Stage as UNetStage
from ..train.batch import key_seed
from ..train.checkpoint import load_tensors, part, save_tensors
from ..train.distillation import Distillation, Paths, StudentConfig, TeacherPlan
from ..train.plan import Positive
from ..twin.asking import NORMAL, SINUS
from ..twin.condition import Condition, Conditions
from ..twin.fast import SOLVER
from ..twin.request import Request
from ..twin.twin import ECGTwin
from .people import COMMON
from .weights import digest

GROUPS = 8
"""Of requests in a part that is kept."""
OWN, ANOTHER, LEAVING = 0.2, 0.7, 0.2
"""Fractions of references that are asked for their own state and for that of another training patient (the others: one
of the states that are asked for most), and of groups in which a normal ECG is asked of an abnormal reference."""
TUNED, TOLD, TIMED = 0.6, 0.7, 0.5
"""Probabilities that a group has the model's own scales, that a reference's own state is told, and that a rate is."""
SCALES, BASE_SCALES, RATES = (1.0, 3.5), (0.8, 1.8), (45.0, 140.0)
"""Between which guidance, base guidance and heart rate are drawn otherwise."""


class TeacherConfig(TeacherPlan):
    """How paths of the guided twin are made."""

    held: Positive = 96
    steps: Positive = 8
    precision: Literal["float32", "bf16"] = "float32"


class DistillConfig(StudentConfig):
    teacher: TeacherConfig = TeacherConfig()


class Group(NamedTuple):
    """Requests that are answered together, and at which scales; None: the model's own."""

    requests: list[Request]
    guidance: float
    base_guidance: float


def groups(model: ECGTwin, recordings: Recordings, size: int, seed: int) -> Iterator[Group]:
    """Requests without end, of the references of recordings. Each group depends on its number and the seed alone."""
    known = set(model.statements)
    said = [tuple(s for s in recordings.statements(k) if s in known) for k in range(len(recordings))]
    abnormal = np.array([k for k, s in enumerate(said) if set(s) - {NORMAL, *SINUS}])
    may_leave = NORMAL in known and "sinus rhythm" in known and len(abnormal) > 0
    for number in count():
        rng = np.random.default_rng([seed, number])
        leaves, found, tries = bool(rng.random() < LEAVING and may_leave), [], 0
        while len(found) < size:
            tries += 1
            if tries > 50 * size:
                raise ValueError(
                    f"beats of {len(found)} in {tries} references could be read: give a store of ECGs that have some"
                )
            k = int(rng.choice(abnormal) if leaves else rng.integers(len(recordings)))
            found += asked(model, recordings, said, k, leaves, rng)
        scales = model.scales(found[0], None, None)  # of a group's first for all of it: a student is told them
        if rng.random() >= TUNED:
            scales = float(rng.uniform(*SCALES)), float(rng.uniform(*BASE_SCALES))
        yield Group(found, *scales)


def asked(
    model: ECGTwin, recordings: Recordings, said: list[tuple[str, ...]], k: int, leaves: bool, rng: np.random.Generator
) -> list[Request]:
    """One request of recording k, none where its beats cannot be read or what is drawn is another kind of request."""
    chance, other = rng.random(), int(rng.integers(len(said)))
    if leaves:
        reports: tuple[str, ...] = ("sinus rhythm", NORMAL)
    elif chance < OWN:
        reports = said[k]
    else:
        common = COMMON[int(rng.integers(len(COMMON)))]
        reports = said[other] if chance < OWN + ANOTHER else (common,)
    reports = tuple(s for s in reports if s in model.statements)
    rate = float(rng.uniform(*RATES)) if rng.random() < TIMED else None
    told = leaves or rng.random() < TOLD
    sex, age = recordings.sexes(k), recordings.years(k)
    own = Condition(said[k], sex, age) if told else None
    signal = recordings.millivolts([k])[0]
    signal = torch.from_numpy(signal - np.median(signal, -1, keepdims=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            found = model.requests_of(signal, Condition(reports, sex, age, rate), [int(rng.integers(2**62))], own)
        except ValueError:  # fewer than three beats
            return []
    return [r for r in found if r.leaves == leaves]


@torch.no_grad()
def answered(model: ECGTwin, group: Group, config: TeacherConfig) -> Paths:
    """The teacher's paths of a group, with the conditions that a student is told."""
    c = model.asked(group.requests)
    more = model.config.text.statements - c.tokens.shape[1]
    c = c._replace(tokens=F.pad(c.tokens, (0, 0, 0, more)), mask=F.pad(c.mask, (0, more)))
    x = seeded_noise([r.seed for r in group.requests])(torch.empty(len(group.requests), *model.latent))
    bf16 = config.precision == "bf16"
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
        denoise = model.denoiser(group.requests, guidance=group.guidance, base_guidance=group.base_guidance)
        states = distill.path_of(denoise, x.to(model.device), trailing(model.schedule, config.steps), SOLVER)
    scales = torch.tensor([[group.guidance, group.base_guidance]]).repeat(len(x), 1)
    return Paths(states.half().cpu(), c.to(torch.float16).mapped(Tensor.cpu), scales)


def paths_of(model: ECGTwin, recordings: Recordings, config: TeacherConfig, n: int, seed: int, folder: Path) -> Paths:
    """n paths, kept in a folder; those that are there are read."""
    how = config.model_dump_json(exclude={"paths", "held"}), model.config.model_dump_json()
    key = digest(model.parts.weights_hash, recordings.digest, *how, str(seed))
    about = folder / "paths.json"
    if not about.is_file() or json.loads(about.read_text()) != key:
        for old in folder.glob("*.safetensors"):
            old.unlink()
        write_text(about, json.dumps(key))
    wanted, found = -(-n // config.batch), []
    for first in tqdm(range(0, wanted, GROUPS), desc=folder.name, unit="part"):
        some = min(GROUPS, wanted - first)
        path = folder / f"{first}_{some}.safetensors"
        if not path.is_file():
            these = islice(groups(model, recordings, config.batch, key_seed(seed, first)), some)
            save_tensors(path, flat(joined([answered(model, group, config) for group in these])))
        found.append(nested(load_tensors(path)[0]))
    return joined(found).rows(slice(n))


def joined(parts: list[Paths]) -> Paths:
    columns = zip(*(p.condition for p in parts), strict=True)
    condition = Conditions(*(None if c[0] is None else torch.cat(c) for c in columns))
    return Paths(torch.cat([p.states for p in parts]), condition, torch.cat([p.scales for p in parts]))


def flat(paths: Paths) -> dict[str, Tensor]:
    condition = {f"condition.{k}": v for k, v in paths.condition._asdict().items() if v is not None}
    return {"states": paths.states, "scales": paths.scales} | condition


def nested(tensors: dict[str, Tensor]) -> Paths:
    return Paths(tensors["states"], Conditions(**part(tensors, "condition")), tensors["scales"])


def stage_of(model: ECGTwin, recordings: Recordings, config: DistillConfig, folder: Path) -> Distillation:
    """The stage, with the paths in `folder`, made first where they are not there yet."""
    teacher, made = config.teacher, {}
    for split, n, seed in (("train", teacher.paths, teacher.seed), ("validation", teacher.held, teacher.seed + 1)):
        chosen = recordings.only(split, simulated=False)
        chosen = chosen if len(chosen) else recordings.only(split)
        if not len(chosen):
            raise ValueError(f"no usable ECG in split {split}: prepare a store with such patients")
        made[split] = paths_of(model, chosen, teacher, n, seed, folder / f"paths_{split}")
    torch.manual_seed(config.train.seed)
    adapter = AdapterConfig(**config.adapter.model_dump())
    student = Student(model.parts.denoiser, model.config.denoiser.width, 3, adapter)
    settings: dict[str, Any] = config.model_dump()
    runs = distill.Runs(model.objective, config.objective, SOLVER, config.last)
    inputs = {"model": model.parts.weights_hash, "data": recordings.digest, "settings": config.model_dump_json()}
    return Distillation(
        student, config.train, config.calls, runs, made["train"], made["validation"],
        blocks=(Block, UNetStage), config=settings, inputs=inputs,
    )  # fmt: skip
