"""What each stage is trained to do: how its batches are drawn, read and judged.

Shapes: B batch · Z latent channels · T latent samples · L samples · E base width.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..diffusion import loss as losses
from ..diffusion.schedule import Schedule
from ..nets.vae import kl_per_sample, reconstruction_error
from .augment import Electrodes
from .bank import Bank, third
from .base import BaseExtractor, contrast
from .condition import Conditions
from .config import BaseTraining, TwinTraining, VAETraining
from .data import Recordings
from .labels import Drop, Labels
from .pairing import Pairer


class Signals(NamedTuple):
    rows: Tensor
    electrodes: Electrodes
    noise: Tensor
    signals: Tensor | None = None


class Reconstruct:
    """Stage 0: signals through the auto-encoder, with another day's electrodes."""

    def __init__(self, recordings: Recordings, stage: VAETraining, scale: float, latent: tuple[int, int]):
        self.recordings, self.stage, self.scale, self.latent = recordings, stage, scale, latent
        real, simulated = (torch.from_numpy(recordings.places("train", simulated=s)) for s in (False, True))
        if not len(real):
            real = simulated
        if not len(real):
            raise ValueError("no usable ECG in split train: prepare a store with training patients")
        if stage.simulated > 0 and not len(simulated):
            raise ValueError(f"train.vae.simulated is {stage.simulated:g}, but no store holds simulated ECGs: set it to 0, or add one")
        self.real, self.made = real, simulated

    def draw(self, generator: torch.Generator) -> Signals:
        n = self.stage.batch
        where = torch.rand(2, n, generator=generator)
        rows = self.real[(where[0] * len(self.real)).long()]
        if self.stage.simulated > 0:
            other = self.made[(where[0] * len(self.made)).long()]
            rows = torch.where(where[1] < self.stage.simulated, other, rows)
        electrodes = Electrodes.draw(n, generator, angle=12.0, shift=0.3, gain=0.2)
        return Signals(rows, electrodes, torch.randn(n, *self.latent, generator=generator))

    def load(self, batch: Signals) -> Signals:
        return batch._replace(signals=torch.from_numpy(self.recordings.read(batch.rows.numpy())))

    def losses(self, network: nn.Module, batch: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.signals is not None
        x = batch.electrodes.apply(batch.signals.float() / 1000) / self.scale
        y, posterior = network(x, batch.noise)
        weight = relative(x)
        error = reconstruction_error(x * weight, y.float() * weight, self.stage.huber)
        kl = kl_per_sample(posterior)
        return error + self.stage.kl * kl, {"error": error, "kl": kl}

    def names(self, batch: Signals) -> list[str]:
        return [self.recordings.name(r) for r in batch.rows.tolist()]


def relative(x: Tensor) -> Tensor:
    """Weights (B, C, 1): errors count relative to a lead's own spread, so that low voltages are drawn as well."""
    return (x.var(-1, keepdim=True) + 0.16).rsqrt()


class Pair(NamedTuple):
    rows: tuple[Tensor, Tensor]
    kinds: tuple[Tensor, Tensor]
    drops: tuple[Drop, Drop]
    patient: Tensor
    latents: tuple[Tensor, Tensor] | None = None
    conditions: tuple[Conditions, Conditions] | None = None


class Contrast:
    """Stage 1: two ECGs of one person are recognised among a batch of people."""

    def __init__(self, recordings: Recordings, bank: Bank, labels: Labels, stage: BaseTraining):
        """labels: of the bank's views."""
        self.recordings, self.bank, self.labels, self.stage = recordings, bank, labels, stage
        self.pairer = Pairer(recordings, "train", stage.pairs)
        known = torch.from_numpy(recordings.patient)
        # ECGs of unknown patients are nobody's: each gets a number of its own.
        self.patient = torch.where(known < 0, -1 - torch.arange(len(known)), known)
        parts = torch.tensor([third(k, bank.views) for k in range(bank.views)])
        self.parts = [torch.nonzero(parts == p).flatten() for p in range(3)]

    def draw(self, generator: torch.Generator) -> Pair:
        n = self.stage.batch
        a, b = self.pairer.draw(n, generator)

        def kind(part: int) -> Tensor:
            return self.parts[part][torch.randint(len(self.parts[part]), (n,), generator=generator)]

        # Two views of one recording share no beat; different recordings share nothing anyway, and may show all beats.
        alone = a == b
        kinds = torch.where(alone, kind(0), kind(2)), torch.where(alone, kind(1), kind(2))
        # Two views of one recording share their condition. Were both told it, the condition itself would identify the patient
        # and the base would learn to carry it; so only one of the two is told.
        first = torch.rand(n, generator=generator) < 0.5
        drops = []
        for told in (first | ~alone, ~first | ~alone):
            drop = Drop.draw(n, generator, condition=self.stage.drop_condition)
            drops.append(drop._replace(condition=drop.condition & told))
        return Pair((a, b), kinds, (drops[0], drops[1]), self.patient[a])

    def load(self, batch: Pair) -> Pair:
        sides = list(zip(batch.rows, batch.kinds, batch.drops, strict=True))
        latents = [self.bank.view(r, k) for r, k, _ in sides]
        conditions = [drop.apply(self.labels.conditions(r, k)) for r, k, drop in sides]
        return batch._replace(latents=tuple(latents), conditions=tuple(conditions))

    def embed(self, network: nn.Module, batch: Pair) -> tuple[Tensor, Tensor]:
        assert batch.latents is not None and batch.conditions is not None
        c = Conditions(*(torch.cat(sides) for sides in zip(*batch.conditions, strict=True)))
        base, scale = network(torch.cat([z.float() for z in batch.latents]), c)
        return torch.stack(base.chunk(2), 1), scale

    def joint(self, embeddings: Tensor, parameters: Tensor, batch: Pair) -> tuple[Tensor, dict[str, Tensor]]:
        value = contrast(embeddings[:, 0], embeddings[:, 1], batch.patient, parameters)
        return value, {"temperature": (-parameters).exp()}

    def names(self, batch: Pair) -> list[str]:
        pairs = zip(batch.rows[0].tolist(), batch.rows[1].tolist(), strict=True)
        return [self.recordings.name(a) if a == b else f"{self.recordings.name(a)} or {self.recordings.name(b)}" for a, b in pairs]


class Twin(NamedTuple):
    reference: Tensor
    target: Tensor
    view: Tensor
    kind: Tensor
    own: Tensor
    drop: Drop
    level: Tensor
    noise: Tensor
    latents: tuple[Tensor, Tensor] | None = None
    conditions: tuple[Conditions, Conditions] | None = None


class Denoise:
    """Stage 2: the target's latent from noise, told its condition and the base of the reference."""

    def __init__(
        self, recordings: Recordings, bank: Bank, labels: tuple[Labels, Labels], pairer: Pairer, extractor: BaseExtractor,
        schedule: Schedule, prediction: Any, stage: TwinTraining,
    ):  # fmt: skip
        """labels: of the bank's targets and of its views."""
        self.recordings, self.bank, self.labels, self.pairer, self.stage = recordings, bank, labels, pairer, stage
        self.extractor, self.schedule, self.prediction = extractor, schedule, prediction

    def draw(self, generator: torch.Generator, n: int | None = None) -> Twin:
        n = n or self.stage.batch
        reference, target = self.pairer.draw(n, generator)

        def chance(share: float) -> Tensor:
            return torch.rand(n, generator=generator) < share

        return Twin(
            reference,
            target,
            torch.randint(self.bank.views, (n,), generator=generator),
            torch.randint(self.bank.targets, (n,), generator=generator) * ~chance(0.3),
            ~chance(0.3),  # whether the extractor is told the reference's own condition
            Drop.draw(n, generator, condition=self.stage.drop_condition, base=self.stage.drop_base),
            torch.randint(self.schedule.length, (n,), generator=generator),
            torch.randn(n, *self.bank.latents.shape[2:], generator=generator),
        )

    def load(self, batch: Twin) -> Twin:
        targets, views = self.labels
        latents = self.bank.target(batch.target, batch.kind), self.bank.view(batch.reference, batch.view)
        own = views.conditions(batch.reference, batch.view)
        own = own._replace(keep_condition=own.keep_condition & batch.own)
        wanted = batch.drop.apply(targets.conditions(batch.target, batch.kind))
        return batch._replace(latents=latents, conditions=(wanted, own))

    def losses(self, network: nn.Module, batch: Twin) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.latents is not None and batch.conditions is not None
        (z, reference), (c, own) = batch.latents, batch.conditions
        with torch.no_grad():
            base = self.extractor(reference.float(), own).float()
        c = c._replace(base=base)
        return losses.simple(network, c, z.float(), batch.level, batch.noise, self.schedule, self.prediction), {}

    def names(self, batch: Twin) -> list[str]:
        pairs = zip(batch.reference.tolist(), batch.target.tolist(), strict=True)
        return [self.recordings.name(t) if r == t else f"{self.recordings.name(t)} from {self.recordings.name(r)}" for r, t in pairs]
