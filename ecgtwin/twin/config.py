"""Typed, strict configuration of the networks and of their training, read from YAML.

An unknown key is an error that names the nearest valid one; `1e-4`, which YAML reads as text, is refused by type.
"""

from pathlib import Path
from typing import Literal

from ..train.strict import Strict, parse, read_yaml

__all__ = ["Config", "ModelConfig", "parse", "read_config"]


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
    return parse(Config, read_yaml(path, overrides), str(path))
