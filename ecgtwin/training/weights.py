"""A stage's weights, read again: from its own weights.safetensors, or from a model folder ("default"
is the one in the package)."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..text.table import StatementTable
from ..train.checkpoint import load_tensors, part
from ..train.run import same
from ..train.strict import parse
from ..twin import model as models
from ..twin.base import BaseExtractor
from ..twin.codec import Codec
from ..twin.config import ModelConfig


@dataclass(frozen=True)
class Weights:
    """tensors: without the temperature of stage 1, which no later stage needs. inputs: what they were made from, such
    as the text encoder's fingerprint. figures: their validation. facts: of the model where they came in one."""

    tensors: dict[str, Tensor]
    config: ModelConfig
    inputs: dict[str, Any]
    figures: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)


def read(path: Path, name: str) -> Weights:
    """The weights of "vae", "base" or "denoiser". FileNotFoundError where there are none."""
    path = models.named(path)
    if path.is_dir():
        parts = models.load(path)
        made_from = (
            {} if name == "vae" else {"encoder": parts.table.fingerprint, "vae": fingerprint(parts.vae.state_dict())}
        )
        figures = parts.facts.get("validation", {}).get(name, {})
        return Weights(getattr(parts, name).state_dict(), parts.config, made_from, figures, parts.facts)
    tensors, meta = load_tensors(path)
    if name == "base":
        tensors = part(tensors, "base") or part(tensors, "extractor")  # as it was called before
    config = parse(ModelConfig, meta["config"]["model"], str(path))
    return Weights(tensors, config, meta.get("inputs", {}), meta.get("figures", {}))


def load_vae(path: Path) -> tuple[Codec, str]:
    """The calibrated auto-encoder of stage 0, and the fingerprint by which later stages know its latents: that of the
    auto-encoder whose encoder it has kept, where only its decoder was trained."""
    found = read(path, "vae")
    vae = models.build_codec(found.config)
    vae.load_state_dict(found.tensors)
    return vae.eval().requires_grad_(False), found.inputs.get("latents") or fingerprint(vae.state_dict())


def load_base(path: Path, table: StatementTable | None = None, vae: str | None = None) -> tuple[BaseExtractor, str]:
    """The base extractor of stage 1, and its fingerprint.

    ValueError where it was trained with another text encoder than the table's, or on another
    auto-encoder than `vae`, a fingerprint.
    """
    found = read(path, "base")
    now = {"encoder": table and table.fingerprint, "vae": vae}
    now = {name: value for name, value in now.items() if value and name in found.inputs}
    same({name: found.inputs[name] for name in now}, now, path)
    base = models.build_base(found.config)
    base.load_state_dict(found.tensors)
    return base.eval().requires_grad_(False), fingerprint(base.state_dict())


def begin_from(network: nn.Module, path: Path | None, name: str) -> dict[str, str]:
    """Give a network the weights of an earlier training of its stage, for fine-tuning; nothing where path is None.

    A denoiser that reads drafts may begin from one that does not: at the start it answers the same, whatever the draft.
    Returns what a run then depends on. ValueError where they are of another shape.
    """
    if path is None:
        return {}
    tensors = read(path, name).tensors
    tensors = part(tensors, "vae") if name == "vae" else widened(tensors, network.state_dict())
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"the weights in {path} do not fit the configuration's network: {error}") from None
    return {"start": fingerprint(network.state_dict())}


def widened(tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a denoiser that reads no drafts as those of one that does: zeros for the channels
    beside x, which come last."""
    if "skip.weight" in tensors or "skip.weight" not in wanted:
        return tensors
    out = {k: v for k, v in wanted.items() if k.startswith("skip.")}  # zeros, as they are built
    for name, tensor in tensors.items():
        new = wanted.get(name, tensor)
        first = name in ("dit.embed.weight", "unet.stem.weight") and new.shape[2:] == tensor.shape[2:]
        if first and (more := new.shape[1] - tensor.shape[1]) > 0:
            tensor = torch.cat([tensor, tensor.new_zeros(len(tensor), more, *tensor.shape[2:])], 1)
        out[name] = tensor
    return out


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """Of weights, in their order."""
    return digest(*(t.cpu().numpy() for t in tensors.values()))


def digest(*parts: np.ndarray | str) -> str:
    """A short fingerprint."""
    sha = hashlib.sha256()
    for p in parts:
        sha.update(p.encode() if isinstance(p, str) else np.ascontiguousarray(p).tobytes())
    return sha.hexdigest()[:16]
