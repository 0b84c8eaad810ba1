"""Typed, strict configuration of a model: what decides its networks' shapes and what their numbers mean. It
is stored with the weights."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..train.diffusion import DiffusionConfig
from ..train.limits import Count, Levels, Number, Positive, Samples, Size, Steps, Widths
from ..train.strict import Strict


class SignalConfig(Strict):
    rate: Positive = 102.4
    """Hz."""
    samples: Samples = 1024
    scale: Positive = 0.25
    """mV that the networks see as 1."""


class VAEConfig(Strict):
    latent: Size = 4
    widths: Widths = (128, 256, 512)
    blocks: Count = 2
    middle: Count = 3
    stem: Size = 1
    groups: Size = 32


class EqualiserConfig(Strict):
    """What the decoder's output is multiplied by at each frequency, lead by lead: an auto-encoder draws its highest
    frequencies too weak, and noise where the recordings, resampled, hold nothing. Measured by `training.equaliser`."""

    hz: Annotated[tuple[Annotated[float, Field(ge=0, le=1e6)], ...], Field(min_length=2, max_length=256)]
    """Rising; below the first the gain is 0 dB, above the last it stays."""
    db: Annotated[
        tuple[Annotated[tuple[Annotated[float, Field(ge=-60, le=20)], ...], Field(max_length=256)], ...],
        Field(min_length=1, max_length=64),
    ]
    """A row for each lead, as long as `hz`."""

    @model_validator(mode="after")
    def fitting(self):
        if any(a >= b for a, b in zip(self.hz, self.hz[1:], strict=False)):
            raise ValueError(f"hz {self.hz}: expected rising frequencies")
        if wrong := [len(row) for row in self.db if len(row) != len(self.hz)]:
            raise ValueError(f"db: a row of {wrong[0]} gains for {len(self.hz)} frequencies: expected as many")
        return self


class ExtractorConfig(Strict):
    """The individual base extractor."""

    width: Size = 256
    depth: Count = 3
    heads: Size = 8
    patch: Size = 1
    hidden: Size = 1024
    base: Size = 256
    condition: Literal["subtract", "add", "none"] = "subtract"
    """What happens with the ECG's own condition: what it explains is taken away (the paper), plain
    cross-attention, or nothing."""
    sees: Literal["recording", "beat"] = "recording"
    """What it reads the latent of: the recording (the paper), or its canonical beat, from which rate,
    rhythm and noise are gone."""
    beat: Annotated[int, Field(ge=0, le=384)] = 0
    """How many components of the median beat its output layer reads as well; 0: none. `scripts/add_person_layer.py`
    makes such a model of a trained one."""
    curvature: Annotated[int, Field(ge=0, le=248)] = 0
    """How many components of the curvature of its QRS complex are read beside; 0: none."""

    @model_validator(mode="after")
    def alone(self):
        if self.sees == "beat" and self.condition != "none":
            raise ValueError(
                f"sees: beat with condition: {self.condition}: expected condition: none, the beat is read by itself"
            )
        if self.sees == "beat" and self.beat:
            raise ValueError(f"beat: {self.beat} with sees: beat: expected beat: 0, the network reads the beat already")
        if bool(self.curvature) != bool(self.beat):
            raise ValueError(f"beat: {self.beat}, curvature: {self.curvature}: expected components of both, or of none")
        return self


class UNetConfig(Strict):
    """Where `network: unet`; width, heads and inject are those of the denoiser."""

    widths: Widths = (192, 256)
    attention: Levels = (1,)
    """Levels that attend, 0 = full resolution."""
    blocks: Count = 1
    groups: Size = 16
    dropout: float = 0.0


class DenoiserConfig(Strict):
    network: Literal["dit", "unet"] = "dit"
    width: Size = 256
    depth: Count = 7
    heads: Size = 8
    patch: Size = 1
    mlp: Size = 4
    inject: Literal["adax", "adaln", "cross", "context"] = "adax"
    """How base and statements come in: see `TwinNetwork`."""
    last_norm: Literal["plain", "modulated"] = "plain"
    """Of the DiT: whether time and base also shift and scale the norm before its head (DiT, arXiv 2212.09748)."""
    unet: UNetConfig = UNetConfig()
    draft: bool = False
    """Whether it is told when the beats come and shown the reference's own median beats laid there, as
    a latent beside its input."""


class TextConfig(Strict):
    width: Size = 768
    statements: Size = 18
    """Most report statements of one ECG: the length of the position code."""


class Standard(Strict):
    """What standardises a number: (value - mean) / std."""

    mean: Number
    std: Positive


class ConditionConfig(Strict):
    """How the numbers of a condition are told to the networks; the defaults are those of MIMIC-IV-ECG as
    published (arXiv 2508.02720)."""

    heart_rate: Standard = Standard(mean=77.95, std=20.37)
    """Beats/min."""
    age: Standard = Standard(mean=64.25, std=17.13)
    """Years."""


class SamplingConfig(Strict):
    """How the model generates where the user does not say: what it was tuned with. Changing it needs no training."""

    steps: Steps = 20
    fast_steps: Steps = 6
    """With `fast`, of UniPC; a solver that was fitted to the model, and its student, know their own."""
    guidance: Number = 2.5
    """How strongly the condition acts; 1 = as learned."""
    base_guidance: Number = 1.5
    """How strongly the identity acts; 1 = as learned."""
    variety: Annotated[float, Field(ge=0, le=1)] = 1.0
    """How much of chance decides what the usual beat of a sample looks like: 1 as learned, 0 its most typical beat."""
    keeps_beats: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Difference of the wanted heart rate from the measured one, relative to it, up to which a counterfactual keeps
    the reference's own beats."""
    leaving_guidance: Number | None = None
    leaving_base_guidance: Number | None = None
    """The same where a normal ECG is asked of somebody whose reference was not normal: to leave a state
    takes more. None: as above."""
    expected: tuple[Number, Number] | None = None
    """(guidance, base_guidance) where the network is shown what a simulator expects in the wanted state
    (`twin.expected`): there the draft says most of it already. None: as anywhere."""
    expected_depth: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Fraction of the noise levels that is gone down there, from an ECG of the expected beats with noise like the
    reference's (SDEdit, arXiv 2108.01073). The less, the nearer twins are to what is expected; 1: from noise."""
    new_statements: dict[str, tuple[Number, Number]] = {}
    """Statement -> (guidance, base_guidance) where it is asked of somebody whose reference is not in that state: some
    states take more to be seen, and some bear less before voltages grow. Of several, the one with the most guidance."""
    noise_floor: tuple[Positive, Positive] | None = None
    """Hz from and to which the noise of the reference's recording, as far as the auto-encoder takes it out, is put back
    (`twin.noise_floor`); None: not. The equaliser is measured with it."""
    edit_depth: Annotated[float, Field(gt=0.0, le=1.0)] = 0.75
    """Of `counterfactual`, by a model that is not told when beats come and so decides that at its noisiest
    levels: where the rhythm stays, the fraction of the levels that is gone up. On simulated people, to left
    bundle branch block, 79 % of the beats stay (30 % of them over all levels), with a relative error to the
    truth of 0.60 (0.72)."""
    edit_guidance: Positive = 2.4
    """How many times as strongly the condition acts there."""


class ModelConfig(Strict):
    """Everything that decides the networks' shapes and what their numbers mean. Stored with the weights."""

    signal: SignalConfig = SignalConfig()
    vae: VAEConfig = VAEConfig()
    equaliser: EqualiserConfig | None = None
    base: ExtractorConfig = ExtractorConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    text: TextConfig = TextConfig()
    condition: ConditionConfig = ConditionConfig()
    sampling: SamplingConfig = SamplingConfig()
