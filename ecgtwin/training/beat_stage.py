"""Stage 1 on canonical beats: a person is recognised across states of the heart; at the end the output
layer is set (`output_layer`).

Shapes: B batch · E base width.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..ecg.store.recordings import Recordings
from ..metrics.identity import identity, repeated
from ..text.table import StatementTable
from ..train.batch import Drawn
from ..train.loop import Training, by_contrast
from ..train.stage import Backward, Figures
from ..twin.base import Layer
from .base import BaseStage, Contrasted, contrast, facts_of, inputs_of, untrained
from .beat_pairs import BeatPair, BeatPairs
from .beat_views import beat_views, usable
from .config import Config
from .held_out import validation
from .latents import Bank, bank_of, views
from .output_layer import beat_bases, finished
from .weights import begin_from, load_vae

if TYPE_CHECKING:
    from accelerate import Accelerator


class BeatStage:
    """A contrast between people on beats; keeps the weights that recognise most validation patients."""

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
        """bank: of `beat_views`. vae: fingerprint of the auto-encoder that its latents are of.
        start: weights to begin from."""
        self.recordings, self.bank, self.device, self.plan = recordings, bank, device, settings.train.base
        self.config, self.network = settings.model_dump(), untrained(settings)
        self.inputs = inputs_of(settings, recordings, table, vae) | begin_from(self.network.base, start, self.name)
        self.pairs = BeatPairs(recordings, bank, settings.train.beats.views, self.plan)
        held = validation(recordings)
        self.held = held[usable(bank)[held]]
        self.epoch = len(self.pairs.alone)
        self.paired = repeated(recordings.patient[self.held.numpy()])
        self.facts = facts_of(self.network, self.epoch, self.held, self.paired)

    def draw(self, generator: torch.Generator) -> BeatPair:
        return self.pairs.draw(generator)

    def load(self, batch: BeatPair) -> BeatPair:
        return self.pairs.load(batch)

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_contrast(training, self.embed, self.compare, batch)

    def embed(self, network: nn.Module, batch: BeatPair) -> tuple[Tensor, Tensor]:
        """Base vectors of both sides (B, 2, E), and the contrast's scale."""
        assert batch.latents is not None
        base, scale = network(batch.latents.flatten(0, 1), None)
        return base.unflatten(0, (-1, 2)), scale

    def compare(self, embeddings: Tensor, parameters: Tensor, batch: BeatPair) -> tuple[Tensor, dict[str, Tensor]]:
        value = contrast(embeddings[:, 0], embeddings[:, 1], batch.patient, parameters)
        return value, {"temperature": (-parameters).exp()}

    def names(self, batch: BeatPair) -> list[str]:
        return self.pairs.names(batch)

    def validate(self, network: nn.Module) -> Figures:
        """Rank-1 and equal error rate among the recordings as they are; nothing where no
        validation patient has two ECGs."""
        if not self.paired:
            return {}
        base = beat_bases(finished(network.base, self.pairs, self.device), self.bank, self.held, self.device)
        found = identity(base.numpy(), self.recordings.patient[self.held.numpy()])
        return {"rank1": found.rank1, "eer": found.eer}

    def score(self, figures: Figures) -> float | None:
        return None if not figures else figures["rank1"] - figures["eer"]

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        made = Contrasted(finished(network.base, self.pairs, self.device))
        with torch.no_grad():
            made.scale.copy_(network.scale)
        return made.state_dict()

    def figure(self, network: nn.Module) -> None:
        return None


def base_stage(
    settings: Config,
    recordings: Recordings,
    vae: Path,
    table: StatementTable,
    output: Path,
    accelerator: "Accelerator",
    start: Path | None = None,
) -> BaseStage | BeatStage:
    """Stage 1 of the extractor that the configuration describes: one that sees recordings, or beats.

    They are seen as the auto-encoder in `vae` does, and made first where they are not there yet. output: of the run.
    """
    codec, key = load_vae(vae)
    if settings.model.base.sees == "beat":
        bank = beat_views(settings, recordings, codec, key, bank_of(vae, output, "beats"), accelerator)
        return BeatStage(settings, recordings, bank, table, key, accelerator.device, start)
    bank = views(settings, recordings, codec, key, bank_of(vae, output), accelerator)
    return BaseStage(settings, recordings, bank, table, key, accelerator.device, start)
