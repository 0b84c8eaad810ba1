"""Stage 1, the individual base extractor: two ECGs of one person are recognised among a batch of people.

Shapes: B batch · Z latent channels · T latent samples · E base width.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..ecg.store.recordings import Recordings
from ..metrics.identity import identity, repeated
from ..nets.vae import parameters
from ..text.table import StatementTable
from ..train.batch import Drawn, to
from ..train.loop import Training, by_contrast
from ..train.stage import Backward, Figures
from ..twin.base import BaseExtractor, Layer
from ..twin.condition import Conditions
from ..twin.model import build_base
from .condition_table import ConditionTable, Drop
from .config import Config
from .held_out import validation
from .latents import Bank, third
from .pairing import Pairer
from .weights import begin_from


class Contrasted(nn.Module):
    """An extractor with the temperature of its contrast: (z, condition) -> base vectors (B,
    E), log of 1 / temperature."""

    def __init__(self, base: BaseExtractor, temperature: float = 0.07):
        super().__init__()
        self.base = base
        self.scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, z: Tensor, c: Conditions) -> tuple[Tensor, Tensor]:
        # A copy: what is returned takes part in the graph wherever gradients are gathered.
        return self.base(z, c), self.scale * 1.0


def contrast(a: Tensor, b: Tensor, patient: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020, figure 3), scalar.

    a, b (B, E): base vectors of the same patients. patient (B,): integer identities; the other ECGs of a patient are
    left out of the negatives. scale: log of 1 / temperature, at most log 100.
    """
    a, b = F.normalize(a.float(), dim=-1), F.normalize(b.float(), dim=-1)
    logits = scale.clamp(max=math.log(100.0)).exp() * a @ b.T  # (B, B)
    same = patient[:, None] == patient[None]
    logits = logits.masked_fill(same & ~torch.eye(len(a), dtype=torch.bool, device=a.device), float("-inf"))
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def untrained(settings: Config) -> Contrasted:
    """The extractor and its contrast as they begin."""
    if settings.model.base.beat:
        raise ValueError(
            f"model.base.beat {settings.model.base.beat}: expected 0, such an output layer is added to a whole "
            "model by scripts/add_person_layer.py"
        )
    torch.manual_seed(settings.train.base.seed)
    return Contrasted(build_base(settings.model))


def inputs_of(settings: Config, recordings: Recordings, table: StatementTable, vae: str) -> dict[str, Any]:
    """What stage 1 is made from; vae: fingerprint of the auto-encoder that latents are of."""
    return settings.inputs("base", data=recordings.digest, encoder=table.fingerprint, vae=vae)


def facts_of(network: Contrasted, train: int, held: Tensor, paired: bool) -> dict[str, Any]:
    """What a run of stage 1 says of itself. paired: whether a validation patient has two ECGs."""
    facts = {"parameters": parameters(network.base), "train": train, "held": len(held)}
    return facts if paired else facts | {"identity": "not measured, no validation patient has two ECGs"}


class Pair(NamedTuple):
    """Two sides of B pairs, each of one person. rows, kinds (B,): places of the recordings and of their views. patient
    (B,): who it is. latents (B, Z, T) float16."""

    rows: tuple[Tensor, Tensor]
    kinds: tuple[Tensor, Tensor]
    drops: tuple[Drop, Drop]
    patient: Tensor
    latents: tuple[Tensor, Tensor] | None = None
    conditions: tuple[Conditions, Conditions] | None = None


class BaseStage:
    """A contrast between people on latents of views; keeps the weights that recognise most validation patients."""

    name, blocks = "base", (Layer,)

    def __init__(
        self,
        settings: Config,
        recordings: Recordings,
        bank: Bank,
        table: StatementTable,
        vae: str,
        device: torch.device,
        start: Path | None = None,
    ):
        """vae: fingerprint of the auto-encoder that the bank's latents are of. start: weights to
        begin from, for fine-tuning."""
        self.recordings, self.bank, self.device, self.plan = recordings, bank, device, settings.train.base
        self.views = ConditionTable.of(recordings, bank.view_rates, table, settings.model.condition)
        self.targets = ConditionTable.of(recordings, bank.target_rates, table, settings.model.condition)
        self.config, self.network = settings.model_dump(), untrained(settings)
        self.inputs = inputs_of(settings, recordings, table, vae) | begin_from(self.network.base, start, self.name)
        self.pairer = Pairer(recordings, "train", self.plan.pairs)
        self.owner = torch.from_numpy(recordings.owner)
        parts = torch.tensor([third(k, bank.views) for k in range(bank.views)])
        self.parts = [torch.nonzero(parts == p).flatten() for p in range(3)]
        self.held = validation(recordings)
        self.epoch = len(recordings.places("train"))
        self.paired = repeated(recordings.patient[self.held.numpy()])
        self.facts = facts_of(self.network, self.epoch, self.held, self.paired)

    def draw(self, generator: torch.Generator) -> Pair:
        n = self.plan.batch
        a, b = self.pairer.draw(n, generator)

        def kind(part: int) -> Tensor:
            return self.parts[part][torch.randint(len(self.parts[part]), (n,), generator=generator)]

        # Two views of one recording share no beat; different recordings share nothing anyway, and may show all beats.
        alone = a == b
        kinds = torch.where(alone, kind(0), kind(2)), torch.where(alone, kind(1), kind(2))
        # Two views of one recording share their condition. Were both told it, the condition itself would identify the
        # patient and the base would learn to carry it; so only one of the two is told.
        first = torch.rand(n, generator=generator) < 0.5
        drops = []
        for told in (first | ~alone, ~first | ~alone):
            drop = Drop.draw(n, generator, condition=self.plan.drop_condition, field=self.plan.drop_field)
            drops.append(drop._replace(condition=drop.condition & told))
        return Pair((a, b), kinds, (drops[0], drops[1]), self.owner[a])

    def load(self, batch: Pair) -> Pair:
        sides = list(zip(batch.rows, batch.kinds, batch.drops, strict=True))
        latents = [self.bank.view(r, k) for r, k, _ in sides]
        conditions = [drop.apply(self.views.conditions(r, k)) for r, k, drop in sides]
        return batch._replace(latents=tuple(latents), conditions=tuple(conditions))

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_contrast(training, self.embed, self.compare, batch)

    def embed(self, network: nn.Module, batch: Pair) -> tuple[Tensor, Tensor]:
        """Base vectors of both sides (B, 2, E), and the contrast's scale."""
        assert batch.latents is not None and batch.conditions is not None
        c = Conditions(*(None if a is None else torch.cat([a, b]) for a, b in zip(*batch.conditions, strict=True)))
        base, scale = network(torch.cat([z.float() for z in batch.latents]), c)  # (2 B, E)
        return torch.stack(base.chunk(2), 1), scale

    def compare(self, embeddings: Tensor, parameters: Tensor, batch: Pair) -> tuple[Tensor, dict[str, Tensor]]:
        value = contrast(embeddings[:, 0], embeddings[:, 1], batch.patient, parameters)
        return value, {"temperature": (-parameters).exp()}

    def names(self, batch: Pair) -> list[str]:
        pairs = zip(batch.rows[0].tolist(), batch.rows[1].tolist(), strict=True)
        return [
            self.recordings.name(a) if a == b else f"{self.recordings.name(a)} or {self.recordings.name(b)}"
            for a, b in pairs
        ]

    def validate(self, network: nn.Module) -> Figures:
        """Rank-1 and equal error rate among the recordings as they are, under their own condition and condition-free.

        Nothing where no validation patient has two ECGs; then the last weights are kept.
        """
        figures: Figures = {}
        if not self.paired:
            return figures
        for suffix, told in (("", True), ("_free", False)):
            base = bases(network.base, self.bank, self.targets, self.held, self.device, told=told)
            found = identity(base.numpy(), self.recordings.patient[self.held.numpy()])
            figures |= {f"rank1{suffix}": found.rank1, f"eer{suffix}": found.eer}
        return figures

    def score(self, figures: Figures) -> float | None:
        return None if not figures else sum(figures[f"rank1{s}"] - figures[f"eer{s}"] for s in ("", "_free"))

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        return network.state_dict()

    def figure(self, network: nn.Module) -> None:
        return None


@torch.no_grad()
def bases(
    base: BaseExtractor,
    bank: Bank,
    conditions: ConditionTable,
    rows: Tensor,
    device: torch.device,
    *,
    told: bool,
    beats: Tensor | None = None,
) -> Tensor:
    """Base vectors (k, E) of recordings as they are, under their own condition or condition-free. beats (k, P): their
    median beats, for an extractor that reads those."""
    found = []
    shown = [None] * -(-len(rows) // 128) if beats is None else beats.to(device).split(128)
    for r, beat in zip(rows.split(128), shown, strict=True):
        zero = torch.zeros_like(r)
        c = conditions.conditions(r, zero)
        c = to(c._replace(keep_condition=c.keep_condition & told), device)
        found.append(base(bank.target(r, zero).float().to(device), c, beat).float().cpu())
    return torch.cat(found)
