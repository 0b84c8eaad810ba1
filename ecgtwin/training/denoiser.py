"""Stage 2, the denoiser: the target's latent from noise, told its condition and the base of the reference.

Shapes: B batch · Z latent channels · T latent samples.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..diffusion import loss as losses
from ..diffusion.schedule import Schedule
from ..ecg.store.recordings import Recordings
from ..nets.vae import parameters
from ..text.table import StatementTable
from ..train.batch import cut, stream, to
from ..train.loop import Training
from ..train.run import Run, carry_out
from ..twin.base import BaseExtractor
from ..twin.condition import Conditions
from ..twin.model import build_denoiser, build_schedule
from . import pictures
from .condition_table import Drop, Labels, rarity
from .config import Config, TwinTraining
from .latents import Bank, bank_of, views
from .pairing import Pairer
from .weights import BLOCKS, Where, begin_from, inputs, load_codec, load_extractor


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


def train_twin(
    settings: Config, recordings: Recordings, vae: Path, base: Path, table: StatementTable, where: Where
) -> dict[str, Any]:
    """Stage 2, on the latents of the stage 0 in `vae` and the bases of the stage 1 in `base`."""
    stage, model = settings.train.twin, settings.model
    codec, codec_key = load_codec(vae)
    extractor, base_key = load_extractor(base, table, codec_key)
    made = views(settings, recordings, codec, codec_key, bank_of(vae, where.output), where.accelerator)
    targets, seen = (Labels.of(recordings, rates, table.statements, table.vectors) for rates in (made.target_rates, made.view_rates))
    weight = torch.zeros(len(recordings))
    train = torch.from_numpy(recordings.places("train"))
    weight[train] = rarity(targets.statements[train], len(table.statements))
    torch.manual_seed(stage.seed)
    schedule, network = build_schedule(model), build_denoiser(model)
    began = begin_from(network, where.start, "twin")
    training = Training(network, stage, blocks=BLOCKS, accelerator=where.accelerator)
    extractor.to(training.device)
    codec.to(training.device)

    def task(split: str, shares, weight=None) -> Denoise:
        pairer = Pairer(recordings, split, shares, weight)
        return Denoise(recordings, made, (targets, seen), pairer, extractor, schedule, model.diffusion.prediction, stage)

    objective = task("train", stage.pairs, weight)
    if where.measure is not None:
        return where.measure(training, objective, len(train))
    checked = task("validation", Pairer.available(recordings, "validation"))
    batch = checked.draw(stream(1, 2, 3), 256)
    drop = Drop(*(torch.ones_like(kept) for kept in batch.drop))
    level = torch.linspace(0, schedule.length - 1, 256).long()
    batch = to(checked.load(batch._replace(drop=drop, level=level)), training.device)

    def validate(network: nn.Module) -> dict[str, float]:
        """The loss on held-out patients at fixed levels and noise: with everything, and without condition or base."""
        figures = {}
        for name, key in (("held", None), ("held_no_condition", "keep_condition"), ("held_no_base", "keep_base")):
            c, own = batch.conditions
            c = c._replace(**{key: torch.zeros_like(c.keep_base)}) if key else c
            parts = [checked.losses(network, p)[0] for p in (cut(batch._replace(conditions=(c, own)), k, 4) for k in range(4))]
            figures[name] = float(torch.cat(parts).mean())
        return figures

    return carry_out(
        Run(where.output, where.resume),
        training,
        objective,
        config=settings.model_dump(),
        inputs=inputs(settings, "twin", recordings, table=table, vae=codec_key, base=base_key) | began,
        facts={"stage": "twin", "parameters": parameters(network), "train": len(train), "held": len(recordings.places("validation"))},
        validate=validate,
        picture=lambda network: pictures.twins(network, checked, batch, codec),
    )
