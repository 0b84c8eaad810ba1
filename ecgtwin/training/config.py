"""Typed, strict configuration of a model and of the training of its three stages, read from YAML.

An unknown key is an error that names the nearest valid one; `1e-4`, which YAML reads as text, is refused by type.
"""

from pathlib import Path

from pydantic import Field, model_validator

from ..train.plan import FREE, Fraction, Plan, Positive
from ..train.strict import Strict, parse, read_yaml
from ..twin.config import ModelConfig


class ElectrodesConfig(Strict):
    """How far another day's electrodes lie from where they should; see `augment.Electrodes`."""

    angle: float
    """Standard deviation of the frontal plane's rotation, degrees."""
    shift: float
    """Standard deviation of the precordial leads' common shift along the chest, in electrode spacings; of each alone a third of it."""
    gain: float
    """Relative standard deviation of the gain that all leads share; of each alone half of it."""


class VAETraining(Plan):
    kl: float = 1.0
    """Weight of the pull of the latents towards N(0, 1)."""
    huber: float = 0.0
    """Errors above this count linearly; 0: all count squared."""
    simulated: Fraction = 0.0
    """Probability of drawing a simulated person's ECG, where the stores hold some."""
    electrodes: ElectrodesConfig = ElectrodesConfig(angle=12.0, shift=0.3, gain=0.2)
    quiet: float = 0.16
    """Variance, in units of signal.scale squared, that is added to a lead's own before errors are divided by it: below it a lead counts
    as quiet, and its errors are not enlarged any further."""


class Pairing(Strict):
    """Fractions of the pairs that are drawn; they add up to 1."""

    real: Fraction = 0.35
    """Two ECGs of one patient that differ in text or heart rate."""
    same: Fraction = 0.65
    """Two views of one recording: other beats, another heart rate, other electrodes, other noise."""
    simulated: Fraction = 0.0
    """Two ECGs of a simulated person in two states."""

    @model_validator(mode="after")
    def whole(self):
        if abs(self.real + self.same + self.simulated - 1) > 1e-6:
            raise ValueError(f"fractions real {self.real:g}, same {self.same:g}, simulated {self.simulated:g}: expected a sum of 1")
        return self


class BaseTraining(Plan):
    drop_condition: Fraction = 0.15
    """Probability that the extractor is not told the ECG's own condition."""
    drop_field: Fraction = 0.1
    """Probability for heart rate, age, sex and the statements, each apart, to be left out: users do not know them all."""
    pairs: Pairing = Pairing()


class DenoiserTraining(Plan):
    drop_condition: Fraction = 0.1
    """Probability that the whole condition is left out, for classifier-free guidance."""
    drop_base: Fraction = 0.15
    """The same for the base."""
    drop_field: Fraction = 0.1
    """Probability for heart rate, age, sex and the statements, each apart, to be left out: users do not know them all."""
    drop_own: Fraction = 0.3
    """Probability that the extractor is not told the reference's own condition."""
    as_recorded: Fraction = 0.3
    """Probability that the target is the recording as it is, beside its chance among the changed heart rates."""
    rarest: Positive = 30
    """Recordings are drawn by 1 / sqrt(count) of their rarest statement; counts below this one are taken as it."""
    pairs: Pairing = Pairing(real=0.2, same=0.8)


class HeartRateConfig(Strict):
    """Heart rates at which a recording's beats are shown again: evenly on a log scale, within a factor and limits in beats/min."""

    factor: float = Field(1.8, gt=1)
    low: float = 40.0
    high: float = 170.0


class BankConfig(Strict):
    """Which latents of each recording are made before stages 1 and 2."""

    targets: Positive = 6
    """The recording itself, and the same beats at other heart rates."""
    views: int = Field(16, ge=3)
    """The same with other electrodes and noise: of the first half of the beats, of the second half, of all."""
    heart_rate: HeartRateConfig = HeartRateConfig()
    electrodes: ElectrodesConfig = ElectrodesConfig(angle=9.0, shift=0.33, gain=0.15)
    wander: float = 0.1
    """Most baseline wander of a view, mV."""
    noise: float = 0.015
    """Most white noise of a view, standard deviation in mV."""
    seed: int = 0


class Stages(Strict):
    vae: VAETraining
    base: BaseTraining
    denoiser: DenoiserTraining
    bank: BankConfig = BankConfig()


class Config(Strict):
    """One YAML file: the model and the training of its three stages."""

    model: ModelConfig
    train: Stages

    def inputs(self, stage: str, **more: str) -> dict[str, str]:
        """What decides a stage's result: its settings, and what else is given, such as the data's digest."""
        plan: Plan = getattr(self.train, stage)
        settings = {"model": self.model.model_dump_json(exclude={"sampling"}), "train": plan.model_dump_json(exclude=FREE)}
        return settings | ({} if stage == "vae" else {"bank": self.train.bank.model_dump_json()}) | more


def read_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read YAML and apply `section.key=value` overrides (values are YAML)."""
    return parse(Config, read_yaml(path, overrides), str(path))
