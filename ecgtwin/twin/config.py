"""Typed, strict configuration of the networks and of their training, read from YAML.

An unknown key is an error that names the nearest valid one; `1e-4`, which YAML reads as text, is refused by type.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ..train.plan import Plan, Positive, Share
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
    """What happens with the ECG's own condition: what it explains is taken away (the paper), plain cross-attention, or nothing."""


class UNetConfig(Strict):
    """Where `network: unet`; width, heads and inject are those of the denoiser."""

    widths: tuple[int, ...] = (192, 256)
    attention: tuple[int, ...] = (1,)
    """Levels that attend, 0 = full resolution."""
    blocks: int = 1
    groups: int = 16
    dropout: float = 0.0


class DenoiserConfig(Strict):
    network: Literal["dit", "unet"] = "dit"
    width: int = 256
    depth: int = 7
    heads: int = 8
    patch: int = 1
    mlp: int = 4
    inject: Literal["adax", "adaln", "cross"] = "adax"
    """How base and statements come in: see `TwinNetwork`."""
    unet: UNetConfig = UNetConfig()


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


class VAETraining(Plan):
    kl: float = 1.0
    huber: float = 0.0
    simulated: Share = 0.0
    """Share of draws from simulated people, where the stores hold some."""


class Pairing(Strict):
    """Shares of the pairs that are drawn; they add up to 1."""

    real: Share = 0.35
    """Two ECGs of one patient that differ in text or heart rate."""
    same: Share = 0.65
    """Two views of one recording: other beats, another heart rate, other electrodes, other noise."""
    simulated: Share = 0.0
    """Two ECGs of a simulated person in two states."""

    @model_validator(mode="after")
    def whole(self):
        if abs(self.real + self.same + self.simulated - 1) > 1e-6:
            raise ValueError(f"shares real {self.real:g}, same {self.same:g}, simulated {self.simulated:g}: expected a sum of 1")
        return self


class BaseTraining(Plan):
    drop_condition: Share = 0.15
    pairs: Pairing = Pairing()


class TwinTraining(Plan):
    drop_condition: Share = 0.1
    drop_base: Share = 0.15
    pairs: Pairing = Pairing(real=0.2, same=0.8)


class BankConfig(Strict):
    """How many latents of each recording are made before stages 1 and 2."""

    targets: Positive = 6
    """The recording itself, and the same beats at other heart rates."""
    views: int = Field(16, ge=3)
    """The same with other electrodes and noise: of the first half of the beats, of the second half, of all."""
    seed: int = 0


class Stages(Strict):
    vae: VAETraining
    base: BaseTraining
    twin: TwinTraining
    bank: BankConfig = BankConfig()


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
