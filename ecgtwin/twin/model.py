"""A model: its networks built from a configuration, and as a folder of config.json, weights.safetensors
and the statement embeddings.

Nothing is ever unpickled.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from ..atomic import write_file, write_text
from ..diffusion.schedule import Flow, Schedule, build_schedule
from ..nets.adapters import digest_of
from ..nets.hollow import Hollow
from ..nets.vae import VAE
from ..text.table import StatementTable
from ..train.checkpoint import json_of, load_tensors, part, refuse_misfit, save_tensors
from ..train.strict import parse
from .base import BaseExtractor
from .codec import Codec
from .config import ModelConfig
from .network import TwinNetwork

PARTS = ("vae", "base", "denoiser")
"""One name for one part: of its section in a configuration, of its stage, its weights' prefix and its script."""
LEADS = 8
"""The networks see the independent leads I, II, V1-V6; the other four follow by Einthoven's law."""
FORMAT = 2
EARLIER = {"codec": "vae"}
"""What format 1 called a part -> its name. It also named the denoiser's validation after its stage, "twin"."""
RELIABILITY = "reliability.json"
"""Beside the weights, where somebody measured it: how reliably the model draws each statement."""
STUDENT = "student.safetensors"
"""In a model's folder, where it has a student (`twin.fast`)."""
SOLVERS = "solvers.json"
"""In a model's folder, where solvers were fitted to it (`twin.fast`)."""
DEFAULT = Path(__file__).parent.parent / "default"
"""The model inside the package."""


def named(path: Path) -> Path:
    """A model's folder as users name it on a command line: "default" is the one inside the package."""
    return DEFAULT if str(path) == "default" else Path(path)


def build_vae(config: ModelConfig) -> VAE:
    c = config.vae
    return VAE(LEADS, c.latent, c.widths, blocks=c.blocks, middle=c.middle, stem=c.stem, groups=c.groups)


def build_base(config: ModelConfig) -> BaseExtractor:
    c = config.base
    return BaseExtractor(
        config.vae.latent,
        config.text.width,
        width=c.width,
        depth=c.depth,
        heads=c.heads,
        patch=c.patch,
        hidden=c.hidden,
        base=c.base,
        condition=c.condition,
        beat=c.beat,
        curvature=c.curvature,
    )


def build_denoiser(config: ModelConfig) -> TwinNetwork:
    c = config.denoiser
    return TwinNetwork(
        config.vae.latent,
        config.text.width,
        config.base.base,
        width=c.width,
        depth=c.depth,
        heads=c.heads,
        patch=c.patch,
        ratio=c.mlp,
        statements=config.text.statements,
        inject=c.inject,
        unet=c.unet if c.network == "unet" else None,
        factor=config.vae.stem * 2 ** len(config.vae.widths) if c.draft else None,
        variance=config.diffusion.learned_variance,
        last=c.last_norm == "modulated",
    )


def build_codec(config: ModelConfig) -> Codec:
    return Codec(build_vae(config), config.signal.scale, config.signal.rate, config.equaliser)


@dataclass(frozen=True)
class Parts:
    """A model's parts. facts: what it was trained on and how it did, free text for the sidecar. reliability: what
    `evaluation.reliability` measured of it, None where nobody did."""

    config: ModelConfig
    vae: Codec
    base: BaseExtractor
    denoiser: TwinNetwork
    table: StatementTable
    facts: dict[str, Any] = field(default_factory=dict)
    weights_hash: str = ""
    reliability: dict[str, Any] | None = None
    student: Path | None = None
    """File of its student, where it has one."""
    solvers: dict[str, Any] | None = None
    """Solvers that were fitted to it, as they lie in the folder."""

    @property
    def schedule(self) -> Schedule | Flow:
        return build_schedule(self.config.diffusion)

    def tensors(self) -> dict[str, Tensor]:
        return {f"{name}.{k}": v for name in PARTS for k, v in getattr(self, name).state_dict().items()}


def build(config: ModelConfig, table: StatementTable, facts: dict[str, Any] | None = None) -> Parts:
    """Parts with untrained weights."""
    if table.width != config.text.width:
        raise ValueError(
            f"statement embeddings are {table.width} wide, the configuration says {config.text.width}: "
            "use the encoder that the configuration was written for, or change model.text.width"
        )
    return Parts(config, build_codec(config), build_base(config), build_denoiser(config), table, facts or {})


def save(parts: Parts, folder: Path, *, half: bool = False) -> Path:
    """Write a model folder; config.json comes last, so that a folder with one is whole."""
    tensors = {k: v.half() if half else v.float() for k, v in parts.tensors().items()}
    save_tensors(folder / "weights.safetensors", tensors)
    arrays = {k: np.asarray(v, np.float16 if half else np.float32) for k, v in parts.table.arrays().items()}
    write_file(folder / "statements.safetensors", lambda p: save_file(arrays, p))
    if parts.student is not None and parts.student.resolve() != (folder / STUDENT).resolve():
        write_file(folder / STUDENT, lambda p: p.write_bytes(parts.student.read_bytes()))
    written = {k: p.half() if half else p for k, p in parts.denoiser.named_parameters()}
    if parts.solvers is not None and parts.solvers.get("network") == digest_of(
        written
    ):  # not with adapters, or rounded
        write_text(folder / SOLVERS, json.dumps(parts.solvers, indent=1) + "\n")
    said = json.dumps(parts.table.description(), indent=1)
    write_text(folder / "statements.json", said + "\n")
    if parts.reliability is not None:
        write_text(folder / RELIABILITY, json.dumps(parts.reliability, indent=1) + "\n")
    tree = {"format": FORMAT, "model": parts.config.model_dump(), "facts": parts.facts}
    write_text(folder / "config.json", json.dumps(tree, indent=2) + "\n")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The sections of config.json. FileNotFoundError or ValueError where it is none."""
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"no model at {folder}: a model folder holds config.json and weights.safetensors")
    tree = json_of(path)
    if tree.get("format") not in (1, FORMAT):
        raise ValueError(
            f"{path} has format {brief(tree.get('format'))}: this version of ecgtwin reads formats 1 and {FORMAT}"
        )
    if not isinstance(tree.get("model"), dict) or not isinstance(tree.get("facts") or {}, dict):
        raise ValueError(f"{path} is damaged: expected sections 'model' and 'facts'")
    return tree


def read_reliability(folder: Path) -> dict[str, Any] | None:
    """What lies beside the weights; None where nothing does, ValueError where it is damaged."""
    path = folder / RELIABILITY
    return json_of(path) if path.is_file() else None


def summary(folder: Path) -> tuple[tuple[str, ...], dict[str, Any], dict[str, Any] | None, str]:
    """Statements, facts, reliability and hash of a model's weights, without loading its networks."""
    facts = read_config(folder).get("facts") or {}
    table = StatementTable.load(folder / "statements")
    return table.statements, facts, read_reliability(folder), hash_of(folder / "weights.safetensors")


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(folder: Path) -> Parts:
    """Read what `save` wrote."""
    path, tree = folder / "config.json", read_config(folder)
    facts = dict(tree.get("facts") or {})
    if isinstance(facts.get("validation"), dict) and "twin" in facts["validation"]:
        facts["validation"] = {
            "denoiser" if name == "twin" else name: found for name, found in facts["validation"].items()
        }
    weights = folder / "weights.safetensors"
    tensors = renamed(load_tensors(weights)[0])
    config = parse(ModelConfig, without_unused_betas(tree["model"]), str(path))
    table = StatementTable.load(folder / "statements")
    try:
        with Hollow():  # takes no memory and no time, whatever sizes a damaged configuration asks for
            parts = build(config, table, facts)
    except (RuntimeError, AssertionError, ZeroDivisionError, IndexError, TypeError) as error:
        raise ValueError(f"{path}: these sizes make no network: {str(error)[:200]}") from None
    expected = {name: tuple(tensor.shape) for name, tensor in parts.tensors().items()}
    refuse_misfit(tensors, expected, f"{weights} does not fit {path}")
    for name in PARTS:
        # Copies: what is read from a file may be lost with it.
        own = {k: v.to(torch.float32, copy=True) for k, v in part(tensors, name).items()}
        getattr(parts, name).load_state_dict(own, assign=True)
    student, solvers = folder / STUDENT, folder / SOLVERS
    return replace(
        parts,
        weights_hash=hash_of(weights),
        reliability=read_reliability(folder),
        student=student if student.is_file() else None,
        solvers=json_of(solvers) if solvers.is_file() else None,
    )


def without_unused_betas(model: dict[str, Any]) -> dict[str, Any]:
    """A model's section without the betas of `linear` that earlier versions wrote beside every schedule."""
    diffusion = model.get("diffusion")
    if not isinstance(diffusion, dict) or diffusion.get("schedule") != "cosine":
        return model
    written = {"start": 0.00085, "end": 0.012}
    return model | {"diffusion": {k: v for k, v in diffusion.items() if k not in written or v != written[k]}}


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a model under the parts' present names, whatever the format that they were written in."""
    names = ((k, *k.partition(".")) for k in tensors)
    return {f"{EARLIER.get(part, part)}{dot}{rest}": tensors[k] for k, part, dot, rest in names}
