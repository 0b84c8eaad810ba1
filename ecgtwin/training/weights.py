"""What a stage left, read again: from its own weights.safetensors, or from a model folder ("default" is the one in the package)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from ..ecg.store.recordings import Recordings
from ..nets.dit import Block
from ..nets.layers import Residual
from ..nets.unet import Stage
from ..text.table import StatementTable
from ..train.checkpoint import load_tensors, part
from ..train.loop import Training
from ..train.plan import FREE, Plan
from ..train.run import same
from ..train.strict import parse
from ..twin import model as models
from ..twin.base import BaseExtractor, Layer
from ..twin.codec import Codec
from ..twin.config import ModelConfig
from ..twin.model import build_base, build_codec
from .config import Config

BLOCKS = (Residual, Block, Stage, Layer)
"""Kinds of modules that gradient checkpointing computes twice."""
PARTS = {"vae": "codec", "base": "extractor", "twin": "network"}
"""Which part of a model is which stage's."""


@dataclass(frozen=True)
class Left:
    """tensors: weights, without the temperature of stage 1, which no later stage needs. inputs: what it was made from, such as the
    text encoder's fingerprint. figures: its validation. facts: of the model where it came in one."""

    tensors: dict[str, Tensor]
    config: ModelConfig
    inputs: dict[str, Any]
    figures: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)


def read(path: Path, stage: str) -> Left:
    """What stage "vae", "base" or "twin" left. FileNotFoundError where there is nothing."""
    path = models.named(path)
    if path.is_dir():
        parts = models.load(path)
        made_from = {"encoder": parts.table.fingerprint, "vae": fingerprint(parts.codec.state_dict())} if stage != "vae" else {}
        figures = parts.facts.get("validation", {}).get(stage, {})
        return Left(getattr(parts, PARTS[stage]).state_dict(), parts.config, made_from, figures, parts.facts)
    tensors, meta = load_tensors(path)
    config = parse(ModelConfig, meta["config"]["model"], str(path))
    return Left(part(tensors, "extractor") if stage == "base" else tensors, config, meta.get("inputs", {}), meta.get("figures", {}))


def load_codec(path: Path) -> tuple[Codec, str]:
    """The auto-encoder of stage 0, and its fingerprint."""
    left = read(path, "vae")
    codec = build_codec(left.config)
    codec.load_state_dict(left.tensors)
    return codec.eval().requires_grad_(False), fingerprint(codec.state_dict())


def load_extractor(path: Path, table: StatementTable | None = None, vae: str | None = None) -> tuple[BaseExtractor, str]:
    """The extractor of stage 1, and its fingerprint.

    ValueError where it was trained with another text encoder than the table's, or on another auto-encoder than `vae`.
    """
    left = read(path, "base")
    now = {"encoder": table and table.fingerprint, "vae": vae}
    now = {name: value for name, value in now.items() if value and name in left.inputs}
    same({name: left.inputs[name] for name in now}, now, path)
    extractor = build_base(left.config)
    extractor.load_state_dict(left.tensors)
    return extractor.eval().requires_grad_(False), fingerprint(extractor.state_dict())


def begin_from(network: nn.Module, path: Path | None, stage: str) -> dict[str, str]:
    """Give a network the weights of an earlier training of that stage, for fine-tuning; nothing where path is None.

    Returns what a run then depends on. ValueError where they are of another shape.
    """
    if path is None:
        return {}
    tensors = read(path, stage).tensors
    tensors = part(tensors, "vae") if stage == "vae" else tensors
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"the weights in {path} do not fit the configuration's network: {error}") from None
    return {"start": fingerprint(network.state_dict())}


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """Of weights, in their order."""
    return digest(*(t.numpy() for t in tensors.values()))


def digest(*parts: np.ndarray | str) -> str:
    """A short fingerprint."""
    sha = hashlib.sha256()
    for p in parts:
        sha.update(p.encode() if isinstance(p, str) else np.ascontiguousarray(p).tobytes())
    return sha.hexdigest()[:16]


@dataclass(frozen=True)
class Where:
    """How a stage is run. start: weights of an earlier training, or a model, to begin from in place of chance (fine-tuning).
    measure: (training, objective, ECGs of an epoch) -> figures, such as `dry`; then nothing is trained."""

    output: Path
    resume: bool = False
    start: Path | None = None
    measure: Callable[[Training, Any, int], dict[str, Any]] | None = None
    accelerator: Accelerator | None = None


def inputs(settings: Config, stage: str, recordings: Recordings, *, table: StatementTable | None = None, **keys: str) -> dict[str, Any]:
    """What decides a stage's result: with the same inputs it need not be trained again, and with others it is not resumed."""
    plan: Plan = getattr(settings.train, stage)
    found: dict[str, Any] = {"model": settings.model.model_dump_json(), "train": plan.model_dump_json(exclude=FREE)}
    found |= {"data": recordings.digest, **keys}
    if stage != "vae":
        found["bank"] = settings.train.bank.model_dump_json()
    if table is not None:
        found["encoder"] = table.fingerprint
    return found
