"""Whoever draws ECGs: the model, the ways of doing without it that it must beat, and files that another program wrote.

A maker answers a task with signals (n, 8, L) in mV. What was drawn is kept, part by part, under a key of maker and
question, so that an evaluation that was interrupted goes on where it was.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tqdm import tqdm

from ..atomic import write_file
from ..ecg.leads import INDEPENDENT
from ..ecg.record import ECG
from ..ecg.simulate import construct, fit
from ..twin.condition import Condition
from ..twin.noise_floor import in_place, with_noise
from ..twin.request import Request
from ..twin.twin import ECGTwin
from .tasks import Held, Task

PART = 24


class Maker(Protocol):
    """name: of its row. key: changes whenever what it draws would."""

    name: str
    key: str

    def make(self, task: Task) -> np.ndarray: ...


def known(condition: Condition, statements: Sequence[str]) -> Condition:
    """Without the statements that a model does not know."""
    return replace(condition, reports=tuple(r for r in condition.reports if r in statements))


def version(model: ECGTwin) -> str:
    """Changes with the weights, with how the model is sampled and decoded, and where products are not in float32."""
    said = f"{model.weights_hash} {model.config.sampling!r} {model.config.equaliser!r}"
    return said + f" {model.precision}" * (model.precision != "float32")


@dataclass(frozen=True, eq=False)
class Twins:
    """The model, asked as `ECGTwin.generate` asks it. without_reference: no base and no beat of
    anybody, the condition alone. variety: of `ECGTwin.generate`."""

    model: ECGTwin
    name: str = "twin"
    without_reference: bool = False
    variety: float | None = None

    @property
    def key(self) -> str:
        return f"twins {version(self.model)} {self.without_reference} {self.variety}"

    def make(self, task: Task) -> np.ndarray:
        model, requests = self.model, []
        for x, own, wanted, seed in zip(task.references, task.own, task.wanted, task.seeds, strict=True):
            now, was = (known(c, model.statements) for c in (wanted, own))
            if self.without_reference:
                beats = model.planned(now, int(seed)) if model.config.denoiser.draft else None
                requests.append(Request(None, now, int(seed), beats))
            else:
                reference = ECG(x, model.config.signal.rate, INDEPENDENT)
                requests += model.requests(reference, now, [int(seed)], reference_condition=was)
        return model.sample_in_parts(requests, PART, variety=self.variety).cpu().numpy()


@dataclass(frozen=True, eq=False)
class Edits:
    """The model's `counterfactual`: the reference's noise is found, then denoised under the wanted condition.
    strength: 0 to 1, how far."""

    model: ECGTwin
    name: str = "counterfactual"
    steps: int = 20
    strength: float = 1.0

    @property
    def key(self) -> str:
        return f"edits {version(self.model)} {self.steps} {self.strength}"

    def make(self, task: Task) -> np.ndarray:
        rate, statements, out = self.model.config.signal.rate, self.model.statements, []
        for x, own, wanted in zip(task.references, task.own, task.wanted, strict=True):
            now, was = (known(c, statements) for c in (wanted, own))
            found = self.model.counterfactual(
                ECG(x, rate, INDEPENDENT), now, reference_condition=was, steps=self.steps, strength=self.strength
            )
            out.append(found.select(INDEPENDENT).signal)
        return np.stack(out)


@dataclass(frozen=True)
class Copy:
    """The reference itself: nobody's identity is better kept, and nothing that was asked for is done."""

    name: str = "copy of the reference"
    key: str = "copy"

    def make(self, task: Task) -> np.ndarray:
        return task.references


@dataclass(frozen=True, eq=False)
class Stranger:
    """A real ECG of another patient in a state as near to the wanted
    one as there is: does what was asked, in another heart."""

    pool: Held
    name: str = "another patient in that state"

    @property
    def key(self) -> str:
        who = hashlib.sha256(np.ascontiguousarray(self.pool.patients).tobytes()).hexdigest()
        return f"stranger {who[:16]} {len(self.pool)}"

    def make(self, task: Task) -> np.ndarray:
        said = [frozenset(c.reports) for c in self.pool.conditions]
        rate, age = (
            np.array([getattr(c, n) or np.nan for c in self.pool.conditions], float) for n in ("heart_rate", "age")
        )
        rows = []
        for wanted, patient in zip(task.wanted, task.patients, strict=True):
            w = frozenset(wanted.reports)
            alike = np.array([len(w & s) / max(1, len(w | s)) for s in said])
            far = np.nan_to_num(np.abs(rate - (wanted.heart_rate or np.nan)) / 100, nan=0.3)
            far = far + np.nan_to_num(np.abs(age - (wanted.age or np.nan)) / 500, nan=0.1)
            rows.append(int(np.argmax(np.where(self.pool.patients == patient, -np.inf, alike - far))))
        return self.pool.signals[rows]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The truth through the model's auto-encoder: what no model on these latents can better. Its noise is
    put back as twins get their reference's, or, in_place, as edits keep it."""

    model: ECGTwin
    name: str = "truth through the auto-encoder"
    in_place: bool = False

    @property
    def key(self) -> str:
        return f"reconstruction {version(self.model)}" + " in place" * self.in_place

    @torch.inference_mode()
    def make(self, task: Task) -> np.ndarray:
        if task.truth is None:
            raise ValueError(f"task {task.name} has no truth to reconstruct")
        codec = self.model.parts.vae
        truth = torch.from_numpy(task.truth)
        made = torch.cat([codec.decode(codec.encode(p.to(self.model.device))).cpu() for p in truth.split(64)])
        if self.model.config.sampling.noise_floor is None:
            return made.numpy()
        if self.in_place:
            made = made + torch.stack([in_place(self.model, x).cpu() for x in truth])
        else:
            asked = zip(task.seeds, truth, strict=True)
            made = with_noise(self.model, made, [Request(None, Condition(), int(s), recording=x) for s, x in asked])
        return made.numpy()


@dataclass(frozen=True)
class Mechanistic:
    """A person of the simulator fitted to the reference and shown in the wanted state; the reference where it cannot
    be fitted or the simulator does not know the state."""

    rate: float
    name: str = "mechanistic model of the reference"
    key: str = "mechanistic 1"

    def make(self, task: Task) -> np.ndarray:
        out = []
        for x, wanted in zip(task.references, task.wanted, strict=True):
            try:
                person = fit(x, self.rate, sex=wanted.sex, age=wanted.age, least=0.6)
                made = construct(person, "|".join(states_of(wanted)), wanted.heart_rate, seed=1, rate=self.rate).signal
                out.append(
                    np.pad(made, ((0, 0), (0, max(0, x.shape[1] - made.shape[1]))), mode="edge")[:, : x.shape[1]]
                )
            except ValueError:
                out.append(x)
        return np.stack(out).astype(np.float32)


def states_of(wanted: Condition) -> list[str]:
    """Statements that the simulator has a state for; sinus rhythm where it has none."""
    from ..ecg.simulate.states import STATES

    names = [r for r in wanted.reports if r in STATES]
    return names or ["sinus rhythm"]


def drawn(maker: Maker, task: Task, cache: Path | None, *, progress: bool = False) -> np.ndarray:
    """What a maker answers, (n, 8, L) float32 in mV with each lead's median at zero; parts already in the folder
    `cache` are read."""
    parts = [np.arange(k, min(k + PART, len(task))) for k in range(0, len(task), PART)]
    out = []
    for rows in tqdm(parts, desc=f"{maker.name}: {task.name}", disable=not progress, leave=False):
        path = None if cache is None else cache / f"{question(maker, task, rows)}.npy"
        if path is not None and path.is_file():
            out.append(np.load(path) * np.float32(1e-3))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # real reports contradict themselves, too
            x = np.asarray(maker.make(only(task, rows)), np.float32)
        if x.shape != task.references[rows].shape:
            raise ValueError(
                f"{maker.name} answered {len(rows)} questions with signals {x.shape}: expected "
                f"{task.references[rows].shape}"
            )
        if not np.isfinite(x).all():
            raise ValueError(f"{maker.name}, {task.name}: signals that are not finite")
        whole = (1000 * (x - np.median(x, -1, keepdims=True))).round().clip(-32767, 32767).astype(np.int16)
        if path is not None:
            write_file(path, lambda p, whole=whole: np.save(p, whole))
        out.append(whole * np.float32(1e-3))
    return np.concatenate(out) if out else task.references[:0]


def first_rows(task: Task, n: int) -> Task:
    """The first n questions."""
    return only(task, np.arange(min(n, len(task))))


def only(task: Task, rows: np.ndarray) -> Task:
    """The questions at `rows`."""
    return replace(
        task,
        references=task.references[rows],
        own=tuple(task.own[k] for k in rows),
        wanted=tuple(task.wanted[k] for k in rows),
        patients=task.patients[rows],
        seeds=task.seeds[rows],
        truth=None if task.truth is None else task.truth[rows],
        truth_patients=None if task.truth_patients is None else task.truth_patients[rows],
    )


def question(maker: Maker, task: Task, rows: np.ndarray) -> str:
    """A fingerprint of who is asked what."""
    sha = hashlib.sha256(maker.key.encode())
    sha.update(np.ascontiguousarray(task.references[rows]).tobytes())
    if task.truth is not None:
        sha.update(np.ascontiguousarray(task.truth[rows]).tobytes())
    sha.update(repr([(task.own[k], task.wanted[k], int(task.seeds[k])) for k in rows]).encode())
    return sha.hexdigest()[:32]
