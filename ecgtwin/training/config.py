"""Typed, strict configuration of a model and of the training of its three stages, read from YAML.

An unknown key is an error that names the nearest valid one; `1e-4`, which YAML reads as text, is refused by type.
"""

from pathlib import Path

from pydantic import Field, model_validator

from ..train.plan import FREE, AdapterPlan, Fraction, Plan, Positive
from ..train.strict import Strict, parse, read_yaml
from ..twin.config import ModelConfig


class ElectrodesConfig(Strict):
    """How far another day's electrodes lie from where they should; see `augment.Electrodes`."""

    angle: float
    """Standard deviation of the frontal plane's rotation, degrees."""
    shift: float
    """Standard deviation of the precordial leads' common shift along the chest, in electrode spacings; of
    each alone a third of it."""
    gain: float
    """Relative standard deviation of the gain that all leads share; of each alone half of it."""


class VAETraining(Plan):
    kl: float = 1.0
    """Weight of the pull of the latents towards N(0, 1)."""
    huber: float = 0.0
    """Errors above this count linearly; 0: all count squared."""
    spectral: float = 0.0
    """Weight of the error between spectra of short windows, beside the signals' own: keeps fast detail that
    squared errors leave out."""
    freeze_encoder: bool = False
    """Train the decoder alone, from the weights in --start: latents stay what they are, so
    later stages need no training."""
    simulated: Fraction = 0.0
    """Probability of drawing a simulated person's ECG, where the stores hold some."""
    electrodes: ElectrodesConfig = ElectrodesConfig(angle=12.0, shift=0.3, gain=0.2)
    quiet: float = 0.16
    """Variance, in units of signal.scale squared, that is added to a lead's own before errors are divided by it: below
    it a lead counts as quiet, and its errors are not enlarged any further."""


class Pairing(Strict):
    """Fractions of the pairs that are drawn; they add up to 1."""

    real: Fraction = 0.35
    """Two ECGs of one patient that differ in text or heart rate."""
    same: Fraction = 0.65
    """Two views of one recording: other beats, another heart rate, other electrodes, other noise."""
    simulated: Fraction = 0.0
    """Two ECGs of a simulated person in two states."""
    constructed: Fraction = 0.0
    """A beat of a patient constructed in another state, and another beat of that patient: for a base
    extractor that sees beats."""

    @model_validator(mode="after")
    def whole(self):
        fractions = self.model_dump()
        if abs(sum(fractions.values()) - 1) > 1e-6:
            raise ValueError(
                f"fractions {', '.join(f'{name} {value:g}' for name, value in fractions.items())}: expected a sum of 1"
            )
        return self


class DraftPairs(Strict):
    """Fractions of the pairs that are drawn where the denoiser reads drafts
    (model.denoiser.draft); they add up to 1."""

    same: Fraction = 0.2
    """A recording from itself; the draft of all its beats, or of those in one half."""
    rate: Fraction = 0.12
    """The same beats at another heart rate, either way."""
    real: Fraction = 0.08
    """Two ECGs of one patient."""
    simulated: Fraction = 0.0
    """Two ECGs of a simulated person, from a store of such people."""
    constructed: Fraction = 0.16
    """Into a state that the simulator fitted to the person constructs, from the recording
    or from another such state."""
    expected: Fraction = 0.24
    """From the recording into such a state; the draft is what the simulator expects there, as in `twin.expected`."""
    back: Fraction = 0.2
    """Out of such a state, into the recording."""

    @model_validator(mode="after")
    def whole(self):
        if abs(sum(self.model_dump().values()) - 1) > 1e-6:
            given = ", ".join(f"{name} {fraction:g}" for name, fraction in self.model_dump().items())
            raise ValueError(f"fractions {given}: expected a sum of 1")
        return self


class BaseTraining(Plan):
    drop_condition: Fraction = 0.15
    """Probability that the extractor is not told the ECG's own condition."""
    drop_field: Fraction = 0.1
    """Probability for heart rate, age, sex and the statements, each apart, to be left out:
    users do not know them all."""
    pairs: Pairing = Pairing()
    grouped: Fraction = 0.0
    """Fraction of a batch in groups of people of one statement, sex and age, which then do not help to tell them apart.
    This and what follows: for an extractor that sees beats."""
    group: Positive = 16
    """People in such a group, at most."""
    spread: Fraction = 0.0
    """How much of the differences between two ECGs of other patients is added to a beat, 1 = as much as there is."""
    whiten: bool = False
    """Whether the output layer is set at the end so that directions in which one person varies count less."""
    erase: bool = False
    """Whether it is set so that no straight line tells statements, sex and age of training ECGs."""


class DenoiserTraining(Plan):
    adapter: AdapterPlan | None = None
    """Null: all weights are trained. Else an adapter alone, of the weights in --start (the option --adapter)."""
    preserve: Fraction = 0.0
    """With an adapter and recordings in --others: fraction of a batch that are of these, for whose persons the model's
    answer shall stay as it is without the adapter (prior preservation, arXiv 2208.12242, by distillation)."""
    drop_condition: Fraction = 0.1
    """Probability that the whole condition is left out, for classifier-free guidance."""
    drop_base: Fraction = 0.15
    """The same for the base."""
    drop_field: Fraction = 0.1
    """Probability for heart rate, age, sex and the statements, each apart, to be left out:
    users do not know them all."""
    drop_own: Fraction = 0.3
    """Probability that the extractor is not told the reference's own condition."""
    as_recorded: Fraction = 0.3
    """Probability that the target is the recording as it is, beside its chance among the changed heart rates."""
    rarest: Positive = 30
    """Recordings are drawn by 1 / sqrt(count) of their rarest statement; counts below this one are taken as it."""
    pairs: Pairing = Pairing(real=0.2, same=0.8)
    """Without drafts: which pairs are drawn."""
    drafts: DraftPairs = DraftPairs()
    """With drafts (model.denoiser.draft): which pairs are drawn. `pairs` and `as_recorded` are not used then."""
    drop_draft: Fraction = 0.12
    """Probability that the draft is left out, so that it has a guidance scale and the network works without it."""
    drop_track: Fraction = 0.05
    """The same for the times of the beats."""
    drop_person: Fraction = 0.1
    """The same for base and draft together, beside their own."""


class HeartRateConfig(Strict):
    """Heart rates at which a recording's beats are shown again: evenly on a log scale, within a
    factor and limits in beats/min."""

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


class DraftsConfig(Strict):
    """What is made of each recording before a denoiser that reads drafts is trained: see `training.people`."""

    states: Positive = 3
    """Constructed states of a person whom the simulator explains."""
    least: Fraction = 0.85
    """Fraction of the median beat's energy that the simulator's person must explain."""
    common: Fraction = 0.65
    """Probability that a state is one of the ten that matter most, or sinus rhythm; else it is any."""
    combined: Fraction = 0.2
    """Probability of a second state beside the first, where the two go together."""
    own_rate: Fraction = 0.3
    """Probability that a state beats at the recording's rate, where it can."""
    clean: Fraction = 0.15
    """Probability that a constructed ECG is without the recording's noise."""
    turned: Fraction = 0.5
    """Probability that a person's recording and constructed states are all seen by another day's electrodes."""
    partners: Positive = 6
    """Most other ECGs of the same patient that a recording is paired with."""
    heart_rate: HeartRateConfig = HeartRateConfig()
    electrodes: ElectrodesConfig = ElectrodesConfig(angle=9.0, shift=0.33, gain=0.15)
    seed: int = 0


class BeatConfig(Strict):
    """How many canonical beats of each recording are made for a base extractor that sees beats."""

    views: int = Field(9, ge=3)
    """Of the recording's first half, its second half, all of it, with other electrodes."""
    constructed: int = Field(6, ge=0)
    """Of its person in other states of the heart, with other electrodes."""
    electrodes: ElectrodesConfig = ElectrodesConfig(angle=9.0, shift=0.33, gain=0.15)
    seed: int = 0


class Stages(Strict):
    vae: VAETraining
    base: BaseTraining
    denoiser: DenoiserTraining
    bank: BankConfig = BankConfig()
    drafts: DraftsConfig = DraftsConfig()
    beats: BeatConfig = BeatConfig()


class Config(Strict):
    """One YAML file: the model and the training of its three stages."""

    model: ModelConfig
    train: Stages

    @model_validator(mode="after")
    def fitting(self):
        base, stage = self.model.base, self.train.base
        asked = [name for name in ("grouped", "spread", "whiten", "erase") if getattr(stage, name)]
        asked += ["pairs.constructed"] if stage.pairs.constructed else []
        if base.sees != "beat" and asked:
            raise ValueError(
                f"train.base.{asked[0]} is for an extractor that sees beats: set model.base.sees to beat, or "
                "leave it out"
            )
        if base.sees == "beat" and stage.pairs.simulated:
            raise ValueError(
                "train.base.pairs.simulated: an extractor that sees beats learns from constructed pairs, set it to 0"
            )
        if (stage.whiten or stage.erase) and base.base == base.width:
            raise ValueError(
                f"whiten and erase set the output layer, which base {base.base} = width {base.width} goes without"
            )
        if self.train.denoiser.pairs.constructed:
            raise ValueError(
                "train.denoiser.pairs.constructed: constructed pairs are those of the base extractor, set it to 0"
            )
        return self

    def inputs(self, stage: str, **more: str) -> dict[str, str]:
        """What decides a stage's result: its settings, and what else is given, such as the data's digest."""
        plan: Plan = getattr(self.train, stage)
        settings = {
            "model": self.model.model_dump_json(exclude={"sampling"}),
            "train": plan.model_dump_json(exclude=FREE),
        }
        if stage == "vae":
            return settings | more
        drafts = stage == "denoiser" and self.model.denoiser.draft
        banks = (
            {"drafts": self.train.drafts.model_dump_json()} if drafts else {"bank": self.train.bank.model_dump_json()}
        )
        banks |= {"beats": self.train.beats.model_dump_json()} if self.model.base.sees == "beat" else {}
        return settings | banks | more


def read_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read YAML and apply `section.key=value` overrides (values are YAML)."""
    return parse(Config, read_yaml(path, overrides), str(path))
