"""A control of the denoiser that reads some of the leads: the others from these, beside the frozen denoiser.

Shapes: N recordings · B batch · 8 leads · L samples · Z latent channels · T latent samples.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.objective import Objective
from ..ecg.leads import INDEPENDENT
from ..ecg.store.columns import GAIN
from ..ecg.store.recordings import Recordings
from ..nets import control
from ..nets.control import Controlled
from ..nets.dit import Block
from ..nets.unet import Stage as UNetStage
from ..train.batch import Drawn, stream, to
from ..train.loop import Training, by_sample
from ..train.plan import ControlPlan, Fraction, Plan
from ..train.stage import Backward, Figures
from ..train.strict import Strict, parse, read_yaml
from ..twin.condition import Condition, Conditions, stack
from ..twin.control import KIND, config_of, structure_of
from ..twin.twin import ECGTwin

CHECKED = 128
"""Samples of the validation batch."""


class ControlTraining(Plan):
    control: ControlPlan = ControlPlan()
    single: Fraction = 0.6
    """Of the samples, those of which lead I alone is given; the others have one to four leads of the eight."""
    told: Fraction = 0.5
    """Of the samples, those whose statements, sex and age are told."""
    noisy: Fraction = 0.3
    """Of the samples, those whose given leads are noisy, as those of a scribble or a cheap recorder are."""
    noise: float = 0.1
    """Their largest noise, in mV (root mean square)."""


class ControlSettings(Strict):
    """One YAML file."""

    train: ControlTraining


def read_settings(path: Path, overrides: list[str]) -> ControlSettings:
    return parse(ControlSettings, read_yaml(path, overrides), str(path))


class Rows(NamedTuple):
    place: Tensor  # (B,)
    level: Tensor  # (B,)
    noise: Tensor  # (B, Z, T)
    known: Tensor  # (B, 8)
    told: Tensor  # (B,)
    rough: Tensor  # (B,) mV of noise on the given leads
    grain: Tensor  # (B, 8, L)
    latents: Tensor | None = None
    structure: Tensor | None = None
    conditions: Conditions | None = None


class ControlStage:
    """The denoising loss on recordings as they are, with some of their leads as structure, for nobody in particular."""

    name, blocks = "control", (Block, UNetStage)

    def __init__(self, model: ECGTwin, recordings: Recordings, settings: ControlSettings, latents: np.ndarray):
        """latents: (N, Z, T) of all recordings."""
        self.model, self.recordings, self.plan, self.latents = model, recordings, settings.train, latents
        self.signals = recordings.read()
        self.objective: Objective = model.objective
        denoiser, plan = model.parts.denoiser, settings.train
        torch.manual_seed(plan.seed)
        config = config_of(model.parts.vae.vae.factor, plan.control.copies, plan.control.hidden)
        self.network = Controlled(denoiser, control.control_of(denoiser.body, config))
        self.config = settings.model_dump() | {"control": control.facts(denoiser, self.network.control, KIND)}
        self.inputs = {"data": recordings.digest, "model": model.weights_hash, "control": plan.control.model_dump()}
        self.seen, held = recordings.places("train"), recordings.places("validation")
        self.epoch = len(self.seen)
        learned = sum(p.numel() for p in self.network.parameters())
        self.facts = {"learns": learned, "train": len(self.seen), "held": len(held)}
        rows = self.drawn(held, CHECKED, stream(1, 2, 3))
        known = torch.zeros_like(rows.known)
        known[:, INDEPENDENT.index("I")] = True
        level = self.objective.schedule.even(CHECKED)
        self.held = self.load(rows._replace(level=level, known=known, rough=torch.zeros_like(rows.rough)))

    @staticmethod
    def of(model: ECGTwin, recordings: Recordings, settings: ControlSettings) -> "ControlStage":
        """With the latents of all recordings, which takes some minutes for thousands of them."""
        found = []
        for k in range(0, len(recordings), 32):
            x = recordings.millivolts(slice(k, k + 32))
            x = torch.from_numpy(x - np.median(x, -1, keepdims=True)).to(model.device)
            with torch.inference_mode():
                found.append(model.parts.vae.encode(x).half().cpu().numpy())
        return ControlStage(model, recordings, settings, np.concatenate(found))

    def draw(self, generator: torch.Generator) -> Rows:
        return self.drawn(self.seen, self.plan.batch, generator)

    def drawn(self, places: np.ndarray, n: int, generator: torch.Generator) -> Rows:
        leads = len(INDEPENDENT)
        place = torch.from_numpy(places)[torch.randint(len(places), (n,), generator=generator)]
        order = torch.rand(n, leads, generator=generator).argsort(1)
        count = torch.randint(1, 5, (n, 1), generator=generator)
        known = order < count
        single = torch.rand(n, generator=generator) < self.plan.single
        known[single] = torch.arange(leads) == INDEPENDENT.index("I")
        rough = self.plan.noise * torch.rand(n, generator=generator)
        return Rows(
            place,
            self.objective.draw(n, generator),
            torch.randn(n, *self.latents.shape[1:], generator=generator),
            known,
            torch.rand(n, generator=generator) < self.plan.told,
            rough * (torch.rand(n, generator=generator) < self.plan.noisy),
            torch.randn(n, leads, self.signals.shape[-1], generator=generator),
        )

    def load(self, batch: Rows) -> Rows:
        x = self.signals[batch.place.numpy()].astype(np.float32) / GAIN
        x = torch.from_numpy(x - np.median(x, -1, keepdims=True)) + batch.rough[:, None, None] * batch.grain
        structure = structure_of(x, batch.known, self.model.config.signal.scale)
        rows = zip(batch.place.tolist(), batch.told.tolist(), strict=True)
        said = [self.condition(place) if told else Condition() for place, told in rows]
        base = torch.zeros(len(said), self.model.config.base.base)
        c = stack(said, self.model.table.lookup, self.model.config, base)
        c = c._replace(keep_base=torch.zeros_like(c.keep_base))
        latents = torch.from_numpy(self.latents[batch.place.numpy()]).float()
        return batch._replace(latents=latents, structure=structure, conditions=c)

    def condition(self, place: int) -> Condition:
        known = [s for s in self.recordings.statements(place) if s in self.model.statements]
        return Condition(tuple(known), self.recordings.sexes(place), self.recordings.years(place))

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, network: nn.Module, batch: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.latents is not None
        wanted = (batch.conditions, batch.structure)
        return self.objective.losses(network, wanted, batch.latents, batch.level, batch.noise), {}

    def names(self, batch: Rows) -> list[str]:
        return [self.recordings.name(place) for place in batch.place.tolist()]

    def validate(self, network: nn.Module) -> Figures:
        """The loss on held-out patients from lead I, and of the denoiser alone."""
        batch = to(self.held, next(network.parameters()).device)
        assert batch.latents is not None
        alone = self.objective.errors(network.network[0], batch.conditions, batch.latents, batch.level, batch.noise)
        return {"held": float(self.losses(network, batch)[0].mean()), "held_without": float(alone.mean())}

    def score(self, figures: Figures) -> None:
        return None

    def result(self, network: Any) -> dict[str, Tensor]:
        """What `ECGTwin.load_control` reads."""
        return network.control.state_dict()

    def figure(self, network: nn.Module) -> None:
        return None
