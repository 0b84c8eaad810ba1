"""Stage 1, the individual base extractor: two ECGs of one person are recognised among a batch of people.

Shapes: B batch · Z latent channels · T latent samples · E base width.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..ecg.store.recordings import Recordings
from ..metrics.identity import identity
from ..nets.vae import parameters
from ..text.table import StatementTable
from ..train.batch import to
from ..train.loop import Training
from ..train.run import Run, carry_out
from ..twin.base import BaseExtractor
from ..twin.condition import Conditions
from ..twin.model import build_base
from .condition_table import Drop, Labels
from .config import BaseTraining, Config
from .held_out import validation
from .latents import Bank, bank_of, third, views
from .pairing import Pairer
from .weights import BLOCKS, Where, begin_from, inputs, load_codec


class Contrasted(nn.Module):
    """An extractor with the temperature of its contrast: (z, condition) -> base vectors (B, E), log of 1 / temperature."""

    def __init__(self, extractor: BaseExtractor, temperature: float = 0.07):
        super().__init__()
        self.extractor = extractor
        self.scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, z: Tensor, c: Conditions) -> tuple[Tensor, Tensor]:
        # A copy: what is returned takes part in the graph wherever gradients are gathered.
        return self.extractor(z, c), self.scale * 1.0


def contrast(a: Tensor, b: Tensor, patient: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020, figure 3), scalar.

    a, b (B, E): base vectors of the same patients. patient (B,): integer identities; the other ECGs of a patient are left out
    of the negatives. scale: log of 1 / temperature, at most log 100.
    """
    a, b = nn.functional.normalize(a.float(), dim=-1), nn.functional.normalize(b.float(), dim=-1)
    logits = scale.clamp(max=math.log(100.0)).exp() * a @ b.T
    same = patient[:, None] == patient[None]
    logits = logits.masked_fill(same & ~torch.eye(len(a), dtype=torch.bool, device=a.device), float("-inf"))
    target = torch.arange(len(a), device=a.device)
    return (nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)) / 2


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


@torch.no_grad()
def bases(
    extractor: BaseExtractor, made: Bank, labels: Labels, rows: Tensor, device: torch.device, *, told: bool
) -> Tensor:
    """Base vectors (k, E) of recordings as they are, under their own condition or condition-free."""
    found = []
    for r in rows.split(128):
        zero = torch.zeros_like(r)
        c = labels.conditions(r, zero)
        c = to(c._replace(keep_condition=c.keep_condition & told), device)
        found.append(extractor(made.target(r, zero).float().to(device), c).float().cpu())
    return torch.cat(found)


def train_base(settings: Config, recordings: Recordings, vae: Path, table: StatementTable, where: Where) -> dict[str, Any]:
    """Stage 1, on the latents of the stage 0 in `vae`; keeps the weights that recognise most validation patients."""
    stage = settings.train.base
    codec, codec_key = load_codec(vae)
    made = views(settings, recordings, codec, codec_key, bank_of(vae, where.output), where.accelerator)
    labels, targets = (Labels.of(recordings, rates, table.statements, table.vectors) for rates in (made.view_rates, made.target_rates))
    torch.manual_seed(stage.seed)
    network = Contrasted(build_base(settings.model))
    began = begin_from(network.extractor, where.start, "base")
    training = Training(network, stage, blocks=BLOCKS, accelerator=where.accelerator)
    objective = Contrast(recordings, made, labels, stage)
    count = len(recordings.places("train"))
    if where.measure is not None:
        return where.measure(training, objective, count)

    held = validation(recordings)

    def validate(network: nn.Module) -> dict[str, float]:
        """Rank-1 and equal error rate among the recordings as they are, under their own condition and condition-free."""
        figures = {}
        for suffix, told in (("", True), ("_free", False)):
            base = bases(network.extractor, made, targets, held, training.device, told=told)
            found = identity(base.numpy(), recordings.patient[held.numpy()])
            figures |= {f"rank1{suffix}": found.rank1, f"eer{suffix}": found.eer}
        return figures

    return carry_out(
        Run(where.output, where.resume),
        training,
        objective,
        config=settings.model_dump(),
        inputs=inputs(settings, "base", recordings, table=table, vae=codec_key) | began,
        facts={"stage": "base", "parameters": parameters(network.extractor), "train": count, "held": len(held)},
        validate=validate,
        score=lambda figures: sum(figures[f"rank1{s}"] - figures[f"eer{s}"] for s in ("", "_free")),
    )
