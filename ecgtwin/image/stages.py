"""What a stage of an image model draws from the pictures, and what of it is minimised."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..diffusion.objective import Objective
from ..diffusion.schedule import Flow, Schedule
from ..nets import adapters, control
from ..nets.dit import Block
from ..nets.latents import Latents
from ..nets.layers import Residual
from ..nets.unet import Stage
from ..nets.vae import kl_per_sample, reconstruction_error
from ..text.captions import TextModel
from ..train.batch import Drawn
from ..train.loop import Training, by_sample
from ..train.stage import Backward, Figures
from .config import Config, TrainConfig
from .control import KIND, edges
from .dataset import Batch, Pictures
from .model import Pixels
from .network import Conditions

BLOCKS = (Residual, Block, Stage)
"""Kinds of modules that gradient checkpointing computes twice."""


class Labels:
    """The tokens of every distinct caption, encoded once."""

    def __init__(self, text: TextModel, captions: Sequence[str]):
        names = sorted(set(captions))
        parts = [text.encode(names[i : i + 64]) for i in range(0, len(names), 64)]
        self.values, self.mask = (torch.cat(columns) for columns in zip(*parts, strict=True))
        self.index = {name: k for k, name in enumerate(names)}

    def conditions(self, pictures: Pictures, batch: Batch, keep: Tensor) -> Conditions:
        rows = torch.tensor([self.index[pictures.captions[k]] for k in batch.rows.tolist()])
        return Conditions(self.values[rows], self.mask[rows], batch.frame, keep)


class Ends:
    """What lies around a denoiser while it is trained: codec, captions, and the noise levels that it is for."""

    def __init__(self, codec: Pixels | Latents, labels: Labels, schedule: Schedule | Flow, share: float):
        self.codec, self.labels, self.schedule, self.share = codec, labels, schedule, share

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        return self.codec.encode(pixels)


class Rows(NamedTuple):
    rows: Tensor
    halved: Tensor
    place: Tensor
    noise: Tensor
    level: Tensor | None = None
    keep: Tensor | None = None
    batch: Batch | None = None
    conditions: Conditions | None = None


class Reconstruct:
    """Stage 0: squared error of the pixels and a weak pull of the latents towards N(0, 1)."""

    def __init__(self, pictures: Pictures, stage: TrainConfig, shrunk: float, channels: int, factor: int):
        """channels, factor: of a latent, and pixels along each side of one of its places."""
        self.pictures, self.stage, self.shrunk, self.channels, self.factor = pictures, stage, shrunk, channels, factor

    def draw(self, generator: torch.Generator) -> Rows:
        n = self.stage.batch
        rows = self.pictures.rows(n, generator)
        halved = torch.rand(n, generator=generator) < self.shrunk
        place = torch.rand(n, 2, generator=generator)
        height, width = (side // self.factor for side in self.pictures.size_of(int(rows[0])))
        return Rows(rows, halved, place, torch.randn(n, self.channels, height, width, generator=generator))

    def load(self, batch: Rows) -> Rows:
        return batch._replace(batch=self.pictures.cropped(batch.rows, batch.halved, batch.place))

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, vae: nn.Module, batch: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        x = batch.batch.pixels
        y, posterior = vae(x, batch.noise)
        error, kl = reconstruction_error(x, y.float()), kl_per_sample(posterior)
        return error + self.stage.kl * kl, {"error": error, "kl": kl}

    def names(self, batch: Rows) -> list[str]:
        return [f"picture {row} ({self.pictures.captions[row]!r})" for row in batch.rows.tolist()]


class Denoise(Reconstruct):
    """The denoising loss on random crops, captions left out at random for classifier-free guidance."""

    def __init__(self, pictures: Pictures, stage: TrainConfig, shrunk: float, ends: Ends, diffusion):
        super().__init__(pictures, stage, shrunk, ends.codec.channels, ends.codec.factor)
        self.ends, self.objective = ends, Objective.of(diffusion)

    def draw(self, generator: torch.Generator) -> Rows:
        batch = super().draw(generator)
        keep = torch.rand(self.stage.batch, generator=generator) >= self.stage.drop_caption
        return batch._replace(keep=keep, level=self.objective.draw(self.stage.batch, generator, self.ends.share))

    def load(self, batch: Rows) -> Rows:
        batch = super().load(batch)
        return batch._replace(conditions=self.ends.labels.conditions(self.pictures, batch.batch, batch.keep))

    def losses(self, network: nn.Module, batch: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        z = self.ends.encode(batch.batch.pixels)
        return self.objective.losses(network, self.wanted(batch), z, batch.level, batch.noise), {}

    def wanted(self, batch: Rows) -> Any:
        """What the network is told: conditions, and for a control the edges."""
        return batch.conditions if self.stage.control is None else (batch.conditions, edges(batch.batch.pixels))


class ImageStage:
    """An objective as a stage, validated by a function."""

    blocks = BLOCKS

    def __init__(
        self,
        name: str,
        network: nn.Module,
        plan: TrainConfig,
        objective: Reconstruct,
        config: Config,
        inputs: dict[str, str],
        facts: dict[str, Any],
        validate: Callable[[nn.Module], Figures],
    ):
        self.name, self.network, self.plan, self.validate = name, network, plan, validate
        self.config, self.inputs, self.facts, self.epoch = config.model_dump(), inputs, facts, len(objective.pictures)
        if plan.adapter is not None:
            self.config["adapter"] = adapters.facts(network, adapters.TRAINED)
        if plan.control is not None:
            self.config["control"] = control.facts(network.network[0], network.control, KIND)
        self.draw, self.load, self.backward, self.names = (
            objective.draw,
            objective.load,
            objective.backward,
            objective.names,
        )

    def score(self, figures: Figures) -> None:
        return None

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        """All weights; of an adapter or a control what it learned, so that the kept file is one that `load_adapter` or
        `load_control` reads."""
        if self.plan.control is not None:
            return network.control.state_dict()
        return network.state_dict() if self.plan.adapter is None else adapters.tensors(network, adapters.TRAINED)

    def figure(self, network: nn.Module) -> None:
        return None
