"""Typed, strict configuration of a model: what decides its networks' shapes and what their numbers mean. It is stored with the weights."""

from typing import Literal

from ..train.strict import Strict


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
    draft: bool = False
    """Whether it is told when the beats come and shown the reference's own median beats laid there, as a latent beside its input."""


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


class Standard(Strict):
    """What standardises a number: (value - mean) / std."""

    mean: float
    std: float


class ConditionConfig(Strict):
    """How the numbers of a condition are told to the networks; the defaults are those of MIMIC-IV-ECG as published (arXiv 2508.02720)."""

    heart_rate: Standard = Standard(mean=77.95, std=20.37)
    """Beats/min."""
    age: Standard = Standard(mean=64.25, std=17.13)
    """Years."""


class SamplingConfig(Strict):
    """How the model generates where the user does not say: what it was tuned with. Changing it needs no training."""

    steps: int = 20
    guidance: float = 2.5
    """How strongly the condition acts; 1 = as learned."""
    base_guidance: float = 1.5
    """How strongly the identity acts; 1 = as learned."""


class ModelConfig(Strict):
    """Everything that decides the networks' shapes and what their numbers mean. Stored with the weights."""

    signal: SignalConfig = SignalConfig()
    vae: VAEConfig = VAEConfig()
    base: ExtractorConfig = ExtractorConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    text: TextConfig = TextConfig()
    condition: ConditionConfig = ConditionConfig()
    sampling: SamplingConfig = SamplingConfig()
