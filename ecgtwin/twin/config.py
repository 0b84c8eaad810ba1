"""Typed, strict configuration of the networks and of their training, read from YAML.

An unknown key is an error that names the nearest valid one; `1e-4`, which YAML reads as text, is refused by type.
"""

import difflib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

M = TypeVar("M", bound=BaseModel)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SignalConfig(Strict):
    rate: float = 102.4
    """Hz."""
    samples: int = 1024
    scale: float = 0.25
    """mV that the networks see as 1."""


class VAEConfig(Strict):
    latent: int = 4
    widths: tuple[int, ...] = (128, 256, 512)
    blocks: int = 2
    middle: int = 3
    stem: int = 1
    groups: int = 32


class ExtractorConfig(Strict):
    """The individual base extractor."""

    width: int = 256
    depth: int = 3
    heads: int = 8
    patch: int = 1
    hidden: int = 1024
    base: int = 256
    condition: Literal["subtract", "add", "none"] = "subtract"


class DenoiserConfig(Strict):
    width: int = 256
    depth: int = 7
    heads: int = 8
    patch: int = 1
    mlp: int = 4
    inject: Literal["adax", "adaln", "cross"] = "adax"


class DiffusionConfig(Strict):
    schedule: Literal["linear", "scaled_linear", "cosine"] = "linear"
    steps: int = 1000
    start: float = 0.00085
    end: float = 0.012
    prediction: Literal["eps", "v", "x0"] = "eps"


class TextConfig(Strict):
    width: int = 768
    statements: int = 18
    """Most report statements of one ECG: the length of the position code."""


class TrainConfig(Strict):
    steps: int
    batch: int
    rate: float
    warmup: int = 100
    floor: float = 0.05
    decay: float = 0.01
    clip: float = 1.0
    average: float = 0.999
    bf16: bool = False
    seed: int = 0
    drop_condition: float = 0.0
    drop_base: float = 0.0
    kl: float = 1.0
    huber: float = 0.0
    validate_every: int = 250


class Stages(Strict):
    vae: TrainConfig
    base: TrainConfig
    twin: TrainConfig


class ModelConfig(Strict):
    """Everything that decides the networks' shapes and what their numbers mean. Stored with the weights."""

    signal: SignalConfig = SignalConfig()
    vae: VAEConfig = VAEConfig()
    base: ExtractorConfig = ExtractorConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    text: TextConfig = TextConfig()


class Config(Strict):
    """One YAML file: the model and the training of its three stages."""

    model: ModelConfig
    train: Stages


def read_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read YAML and apply `section.key=value` overrides (values are YAML)."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}")
    tree = yaml.safe_load(path.read_text()) or {}
    for item in overrides or []:
        key, sign, value = item.partition("=")
        if not sign:
            raise ValueError(f"override '{item}': expected section.key=value, for instance train.twin.steps=1000")
        *sections, name = key.strip().split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = yaml.safe_load(value)
    return parse(Config, tree, str(path))


def parse(kind: type[M], tree: dict[str, Any], where: str) -> M:
    """Validate, with messages that say what to write instead."""
    try:
        # JSON mode lets lists stand for tuples, which YAML cannot write, and stays strict about everything else.
        return kind.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        lines = [f"{where}: {len(error.errors())} mistakes" if error.error_count() > 1 else f"{where}:"]
        for mistake in error.errors():
            key = ".".join(str(part) for part in mistake["loc"])
            line = f"  {key}: {mistake['msg']}, got {mistake['input']!r}"
            if mistake["type"] == "extra_forbidden":
                near = difflib.get_close_matches(str(mistake["loc"][-1]), names_at(kind, mistake["loc"][:-1]), n=1)
                line = f"  {key}: unknown key" + (f"; did you mean '{near[0]}'?" if near else "")
            elif isinstance(mistake["input"], str) and "number" in mistake["msg"]:
                line += " (YAML reads 1e-4 as text: write 1.0e-4)"
            lines.append(line)
        raise ValueError("\n".join(lines)) from None


def names_at(kind: type[BaseModel], place: tuple) -> list[str]:
    """Valid keys at a place in a tree of models."""
    for part in place:
        field = kind.model_fields.get(str(part))
        inner = field.annotation if field else None
        inner = next((a for a in (inner, *get_args(inner)) if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if inner is None:
            return []
        kind = inner
    return list(kind.model_fields)
