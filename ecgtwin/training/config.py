"""Typed, strict configuration of a model and of the training of its three stages, read from YAML.

An unknown key is an error that names the nearest valid one; `1e-4`, which YAML reads as text, is refused by type.
"""

from pathlib import Path

from pydantic import Field, model_validator

from ..train.plan import Plan, Positive, Share
from ..train.strict import Strict, parse, read_yaml
from ..twin.config import ModelConfig


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


class Config(Strict):
    """One YAML file: the model and the training of its three stages."""

    model: ModelConfig
    train: Stages


def read_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read YAML and apply `section.key=value` overrides (values are YAML)."""
    return parse(Config, read_yaml(path, overrides), str(path))
