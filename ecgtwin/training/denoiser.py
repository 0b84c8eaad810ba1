"""Stage 2, the denoiser: the target's latent from noise, told its condition and the base of the reference.

Shapes: B batch · Z latent channels · T latent samples.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.objective import Objective
from ..ecg.store.recordings import Recordings
from ..nets import adapters
from ..nets.adapters import AdapterConfig
from ..nets.dit import Block
from ..nets.unet import Stage as UNetStage
from ..nets.vae import parameters
from ..text.table import StatementTable
from ..train.batch import Drawn, cut, joined, stream, to
from ..train.loop import Training, by_sample
from ..train.stage import Backward, Figures
from ..twin.base import BaseExtractor
from ..twin.codec import Codec
from ..twin.condition import Conditions
from ..twin.model import build_denoiser
from ..twin.rhythm import beat_track
from . import pictures
from .beat_views import OwnBeats, beat_views
from .condition_table import ConditionTable, Drop, rarity
from .config import Config
from .drafts import DraftPairer, Drafts, drafts_of
from .latent_beats import LatentBeats
from .latents import Bank, bank_of, views
from .pairing import Pairer
from .weights import begin_from, fingerprint, load_base, load_vae

if TYPE_CHECKING:
    from accelerate import Accelerator
    from matplotlib.figure import Figure

CHECKED = 256
"""Samples of the validation batch, each at a level of its own."""


class Twins(NamedTuple):
    """B pairs of reference and target: places (B,) of the recordings, of the reference's view
    and of the target's variant.

    own (B,): whether the extractor is told the reference's own condition. level (B,), noise
        (B, Z, T): of the diffusion.
    latents: target and reference (B, Z, T) float16. conditions: the wanted one, and the reference's own. With drafts,
    view and kind are reference's and target's strips in the bank; pair (B,): the pair's number there; shown (B, 2):
    whether beat track and draft are kept. kept (B,): whether the frozen model's answer is the target; None: of none.
    beats (B, P): the references' median beats, where the extractor reads those.
    """

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
    pair: Tensor | None = None
    shown: Tensor | None = None
    kept: Tensor | None = None
    beats: Tensor | None = None


class DenoiserStage:
    """The denoising loss on real pairs, views of one recording and pairs of simulated people, in the
    configured fractions; with `model.denoiser.draft` on the pairs of `people`, with the reference's beats
    laid at the target's times."""

    name, blocks = "denoiser", (Block, UNetStage)

    def __init__(
        self,
        settings: Config,
        recordings: Recordings,
        bank: Bank | Drafts,
        vae: Codec,
        base: BaseExtractor,
        table: StatementTable,
        device: torch.device,
        start: Path | None = None,
        beats: OwnBeats | None = None,
        own: np.ndarray | None = None,
    ):
        """vae, base: frozen, of stages 0 and 1. start: weights to begin from, for fine-tuning. beats: where
        the extractor sees those. own (N,): which recordings an adapter learns; for the others' persons the model's
        answer is kept."""
        self.beats = beats
        model = settings.model
        self.recordings, self.bank, self.plan, self.device = recordings, bank, settings.train.denoiser, device
        keys = {"vae": fingerprint(vae.state_dict()), "base": fingerprint(base.state_dict())}
        if isinstance(bank, Drafts):
            self.targets = self.views = bank.conditions(recordings, table, model.condition)
            train = torch.from_numpy(np.flatnonzero(np.isin(bank.place, recordings.places("train"))))
        else:
            self.views = ConditionTable.of(recordings, bank.view_rates, table, model.condition)
            self.targets = ConditionTable.of(recordings, bank.target_rates, table, model.condition)
            train = torch.from_numpy(recordings.places("train"))
        if (own is None) != (self.plan.preserve == 0):
            raise ValueError(
                f"train.denoiser.preserve is {self.plan.preserve:g} and {'no' if own is None else 'some'} other "
                "recordings are named: give both (--others), or neither"
            )
        if own is not None and (
            self.plan.adapter is None or model.diffusion.learned_variance or not isinstance(bank, Drafts)
        ):
            raise ValueError(
                "train.denoiser.preserve is for adapters of models that read drafts and learn no variance: set it to 0"
            )
        weight = torch.zeros(len(self.targets.statements))
        weight[train] = rarity(self.targets.statements[train], len(table.statements), self.plan.rarest)
        torch.manual_seed(self.plan.seed)
        self.objective = Objective.of(model.diffusion)
        self.schedule = self.objective.schedule
        self.network = build_denoiser(model)
        self.config, self.signal, self.latent = settings.model_dump(), model.signal, bank.latents.shape[-2:]
        self.inputs = settings.inputs(self.name, data=recordings.digest, encoder=table.fingerprint, **keys)
        self.inputs |= begin_from(self.network, start, self.name)
        if self.plan.adapter is not None:
            if start is None:
                raise ValueError(
                    "train.denoiser.adapter without --start: an adapter is trained on weights that are there"
                )
            adapters.train_only(self.network, AdapterConfig(**self.plan.adapter.model_dump()), adapters.TRAINED)
            self.config["adapter"] = adapters.facts(self.network, adapters.TRAINED)
        self.vae, self.base = vae.to(device), base.to(device)
        self.others: Pairer | DraftPairer | None = None
        if own is not None:
            mine = torch.from_numpy(own[bank.place]).float()
            self.others = self.pairer_of("train", weight * (1 - mine), available=True)
            weight = weight * mine
        self.median_beats = LatentBeats(vae, base, model.signal.rate) if base.reads_beats else None
        self.pairer = self.pairer_of("train", weight)
        self.held = to(self.load(self.held_out()), device)
        self.epoch = len(recordings.places("train"))
        self.facts = {
            "parameters": parameters(self.network),
            "train": self.epoch,
            "held": len(recordings.places("validation")),
        }

    @staticmethod
    def of(
        settings: Config,
        recordings: Recordings,
        vae: Path,
        base: Path,
        table: StatementTable,
        output: Path,
        accelerator: "Accelerator",
        start: Path | None = None,
        own: np.ndarray | None = None,
    ) -> "DenoiserStage":
        """On the latents of the auto-encoder in `vae`, made first where they are not there yet, and
        the bases of that in `base`."""
        codec, key = load_vae(vae)
        extractor, _ = load_base(base, table, key)
        if settings.model.denoiser.draft:
            if settings.model.base.sees == "beat":
                raise ValueError('model.base.sees is "beat": with model.denoiser.draft true expected "recording"')
            drafts = drafts_of(settings, recordings, codec, key, bank_of(vae, output).with_name("drafts"), accelerator)
            given = (settings, recordings, drafts, codec, extractor, table, accelerator.device, start)
            return DenoiserStage(*given, own=own)
        bank = views(settings, recordings, codec, key, bank_of(vae, output), accelerator)
        beats = None
        if settings.model.base.sees == "beat":
            folder = bank_of(vae, output, "beats")
            beats = OwnBeats(
                beat_views(settings, recordings, codec, key, folder, accelerator), settings.train.beats.views
            )
        return DenoiserStage(settings, recordings, bank, codec, extractor, table, accelerator.device, start, beats, own)

    def pairer_of(self, split: str, weight: Tensor | None = None, *, available: bool = False) -> Pairer | DraftPairer:
        """What draws the pairs of a split. weight: of recordings, or of strips; None: whatever kinds the
        split has, for validation, as with `available`."""
        if isinstance(self.bank, Drafts):
            available = available or weight is None
            return DraftPairer(self.bank, self.recordings, split, self.plan.drafts, weight, available=available)
        if weight is None:
            return Pairer(self.recordings, split, Pairer.available(self.recordings, split))
        return Pairer(self.recordings, split, self.plan.pairs, weight)

    def draw(self, generator: torch.Generator) -> Twins:
        n, few = self.plan.batch, 0 if self.others is None else round(self.plan.preserve * self.plan.batch)
        batch = self.drawn(self.pairer, n - few, generator)
        if self.others is None:
            return batch
        kept = self.drawn(self.others, few, generator, told=True)
        whole = joined(batch, kept)
        return whole._replace(kept=torch.arange(n) >= n - few)

    def drawn(self, pairer: Pairer | DraftPairer, n: int, generator: torch.Generator, *, told: bool = False) -> Twins:
        """told: the draft, which shows whose ECG it is, is never left out."""
        chosen = pairer.draw(n, generator)

        def happens(probability: float) -> Tensor:
            return torch.rand(n, generator=generator) < probability

        if isinstance(self.bank, Drafts):
            assert isinstance(chosen, Tensor)
            view, kind = (torch.from_numpy(a[chosen.numpy()]) for a in (self.bank.reference, self.bank.target))
            reference, target = (torch.from_numpy(self.bank.place[a.numpy()]) for a in (view, kind))
        else:
            reference, target = chosen
            chosen = None
            view = torch.randint(self.bank.views, (n,), generator=generator)
            kind = torch.randint(self.bank.targets, (n,), generator=generator) * ~happens(self.plan.as_recorded)
        batch = Twins(
            reference,
            target,
            view,
            kind,
            own=~happens(self.plan.drop_own),
            drop=Drop.draw(
                n, generator, condition=self.plan.drop_condition, base=self.plan.drop_base, field=self.plan.drop_field
            ),
            level=self.objective.draw(n, generator),
            noise=torch.randn(n, *self.latent, generator=generator),
            pair=chosen,
        )
        if chosen is None:
            return batch
        person = ~happens(self.plan.drop_person) | told
        shown = torch.stack([~happens(self.plan.drop_track), person & (~happens(self.plan.drop_draft) | told)], 1)
        return batch._replace(shown=shown, drop=batch.drop._replace(base=batch.drop.base & person))

    def held_out(self) -> Twins:
        """A batch of validation patients, everything told, evenly over the levels."""
        batch = self.drawn(self.pairer_of("validation"), CHECKED, stream(1, 2, 3))
        drop = Drop(*(torch.ones_like(kept) for kept in batch.drop))
        shown = None if batch.shown is None else torch.ones_like(batch.shown)
        level = torch.linspace(0, self.schedule.noisiest, CHECKED).to(batch.level.dtype)
        return batch._replace(drop=drop, shown=shown, level=level)

    def load(self, batch: Twins) -> Twins:
        if isinstance(self.bank, Drafts):
            return self.load_drafts(self.bank, batch)
        latents = self.bank.target(batch.target, batch.kind), self.bank.view(batch.reference, batch.view)
        own = self.views.conditions(batch.reference, batch.view)
        own = own._replace(keep_condition=own.keep_condition & batch.own)
        wanted = batch.drop.apply(self.targets.conditions(batch.target, batch.kind))
        if self.beats is not None:
            beat, there = self.beats.view(batch.reference, batch.view)
            latents, wanted = (latents[0], beat), wanted._replace(keep_base=wanted.keep_base & there)
        return self.with_beats(batch._replace(latents=latents, conditions=(wanted, own)))

    def load_drafts(self, bank: Drafts, batch: Twins) -> Twins:
        assert batch.pair is not None and batch.shown is not None
        latents = torch.from_numpy(bank.latents[batch.kind.numpy()]), torch.from_numpy(bank.latents[batch.view.numpy()])
        zero = torch.zeros_like(batch.view)
        own = self.views.conditions(batch.view, zero)
        own = own._replace(keep_condition=own.keep_condition & batch.own)
        tracks = [beat_track(bank.beats(strip), self.signal.rate, self.signal.samples) for strip in batch.kind.tolist()]
        wanted = batch.drop.apply(self.targets.conditions(batch.kind, zero))._replace(
            track=torch.stack(tracks),
            draft=torch.from_numpy(bank.drafts[batch.pair.numpy()]).float(),
            keep_track=batch.shown[:, 0],
            keep_draft=batch.shown[:, 1],
        )
        return self.with_beats(batch._replace(latents=latents, conditions=(wanted, own)))

    def with_beats(self, batch: Twins) -> Twins:
        """With the references' median beats, where the extractor reads those."""
        if self.median_beats is None:
            return batch
        assert batch.latents is not None
        places = list(zip(batch.reference.tolist(), batch.view.tolist(), strict=True))
        return batch._replace(beats=self.median_beats.of(places, batch.latents[1]))

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, network: nn.Module, batch: Twins) -> tuple[Tensor, dict[str, Tensor]]:
        if batch.kept is None:
            return self.measured(self.objective.losses, network, batch), {}

        def before(x: Tensor, t: Tensor, c: Conditions) -> Tensor:
            with adapters.without(self.network, adapters.TRAINED):
                return network(x, t, c)

        return self.measured(partial(self.objective.losses, teacher=(before, batch.kept)), network, batch), {}

    def errors(self, network: nn.Module, batch: Twins) -> Tensor:
        """(B,) squared error of the network's prediction from the noised target, whatever is trained."""
        return self.measured(self.objective.errors, network, batch)

    def measured(self, how: Callable[..., Tensor], network: nn.Module, batch: Twins) -> Tensor:
        """(B,) what a function of the objective makes of a batch."""
        assert batch.latents is not None and batch.conditions is not None
        (z, reference), (c, own) = batch.latents, batch.conditions
        with torch.no_grad():
            base = self.base(reference.float(), own, batch.beats).float()  # (B, E)
        c = c._replace(base=base)
        return how(network, c, z.float(), batch.level, batch.noise)

    def names(self, batch: Twins) -> list[str]:
        pairs = zip(batch.reference.tolist(), batch.target.tolist(), strict=True)
        return [
            self.recordings.name(t) if r == t else f"{self.recordings.name(t)} from {self.recordings.name(r)}"
            for r, t in pairs
        ]

    def validate(self, network: nn.Module) -> Figures:
        """The loss on held-out patients at fixed levels and noise: with everything, and without
        condition, base or draft."""
        figures: Figures = {}
        left_out = [("held", None), ("held_no_condition", "keep_condition"), ("held_no_base", "keep_base")]
        left_out += [("held_no_draft", "keep_draft")] if isinstance(self.bank, Drafts) else []
        for name, key in left_out:
            c, own = self.held.conditions
            c = c._replace(**{key: torch.zeros_like(c.keep_base)}) if key else c
            batch = self.held._replace(conditions=(c, own))
            figures[name] = float(torch.cat([self.errors(network, cut(batch, k, 4)) for k in range(4)]).mean())
        return figures

    def score(self, figures: Figures) -> None:
        return None

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        """All weights; of an adapter what it learned, so that the kept file is one that
        `ECGTwin.load_adapter` reads."""
        return network.state_dict() if self.plan.adapter is None else adapters.tensors(network, adapters.TRAINED)

    def figure(self, network: nn.Module) -> "Figure":
        return pictures.twins(network, self)
