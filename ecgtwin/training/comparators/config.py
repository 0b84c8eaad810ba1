"""Sizes and training of the comparators, read from YAML as every configuration is."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from ...train.diffusion import DiffusionConfig
from ...train.plan import Fraction, Plan, Positive
from ...train.strict import Strict, parse, read_yaml
from ...twin.config import ConditionConfig, DenoiserConfig, SignalConfig, TextConfig

Kind = Literal["gan", "cvae", "flow", "ddpm"]
KINDS: tuple[Kind, ...] = ("gan", "cvae", "flow", "ddpm")


class ConvolutionsConfig(Strict):
    """Of the networks between a vector of noise and a signal, `networks.Grow` and `networks.Shrink`."""

    latent: Positive = 64
    """Length of the noise vector."""
    told: Positive = 96
    """Width of the condition's vector."""
    widths: tuple[Positive, ...] = (64, 64, 48, 32)
    """From the lowest rate to the highest; each level doubles the rate."""
    fold: Positive = 4
    """Samples that one position of the highest level stands for."""
    groups: Positive = 8


class GANConfig(ConvolutionsConfig):
    penalty: float = Field(1.0, ge=0)
    """gamma of the R1 penalty on the critic's slope at real ECGs (arXiv 1801.04406, eq. 9)."""


class CVAEConfig(ConvolutionsConfig):
    widths: tuple[Positive, ...] = (96, 96, 64, 48)
    kl: float = Field(1.0, gt=0)
    """Weight of the divergence from N(0, 1); 1: the evidence lower bound."""


class FlowConfig(Strict):
    couplings: Positive = 8
    fold: Positive = 4
    """Latent samples that are made channels, before channels are split in two."""
    width: Positive = 96
    depth: Positive = 2
    """Transformer blocks of each coupling."""
    heads: Positive = 4
    limit: float = Field(2.0, gt=0)
    """Largest absolute log scale of one coupling."""
    noise: float = Field(0.05, ge=0)
    """Standard deviation of the noise added to latents in training: without it a density on few ECGs has no bound."""


class DDPMConfig(Strict):
    denoiser: DenoiserConfig = DenoiserConfig(width=128, depth=4, heads=4, patch=2)
    diffusion: DiffusionConfig = DiffusionConfig()
    steps: Positive = 20
    guidance: float = 1.5


class ComparatorPlan(Plan):
    drop_condition: Fraction = 0.1
    """Probability that the whole condition is left out."""
    drop_field: Fraction = 0.1
    """The same for heart rate, age, sex and the statements, each apart."""


class Plans(Strict):
    gan: ComparatorPlan
    cvae: ComparatorPlan
    flow: ComparatorPlan
    ddpm: ComparatorPlan


class ComparatorConfig(Strict):
    signal: SignalConfig = SignalConfig()
    text: TextConfig = TextConfig(width=384)
    condition: ConditionConfig = ConditionConfig()
    gan: GANConfig = GANConfig()
    cvae: CVAEConfig = CVAEConfig()
    flow: FlowConfig = FlowConfig()
    ddpm: DDPMConfig = DDPMConfig()
    train: Plans


def read_config(path: str | Path, overrides: list[str] | None = None) -> ComparatorConfig:
    """Read YAML and apply `section.key=value` overrides (values are YAML)."""
    return parse(ComparatorConfig, read_yaml(path, overrides), str(path))
