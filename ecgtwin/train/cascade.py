"""A super-resolution stage as a training stage: fine samples of a pool of pairs, from noise and their coarse ones.

Shapes: B batch · C channels · ... spatial axes of the fine grid.
"""

from typing import Any, NamedTuple, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from .batch import Drawn, stream, to
from .diffusion import DiffusionConfig
from .limits import Size, Steps, Widths
from .loop import Training, by_sample
from .plan import Plan
from .stage import Backward, Figures
from .strict import Strict


class CascadeNetConfig(Strict):
    """The U-Net of the stage; see `nets.cascade.SuperResolution`."""

    width: Size = 64
    widths: Widths = (24, 32, 48)
    heads: Size = 2
    blocks: Size = 1
    groups: Size = 8


class CascadeConfig(Strict):
    """What decides a stage's network and what its numbers mean. Stored with the weights."""

    network: CascadeNetConfig = CascadeNetConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    strongest: float = Field(0.3, ge=0.0, le=1.0)
    """Largest noise on the coarse sample in training (noise-conditioning augmentation)."""
    strength: float = Field(0.05, ge=0.0, le=1.0)
    """Of that noise where the stage is used."""
    limit: float | None = Field(None, gt=0.0)
    """x0 beyond which dynamic thresholding holds it, where the stage is used; null: never."""
    fraction: float = Field(0.9995, gt=0.0, le=1.0)
    """Quantile of |x0| that the thresholding looks at."""
    steps: Steps = 8


class Fine(NamedTuple):
    x0: Tensor  # (B, C, ...), what is diffused
    coarse: Tensor  # (B, K, ...)


class Pool(Protocol):
    """Pairs of fine and coarse samples."""

    shape: tuple[int, ...]
    """(C, ...) of one x0."""
    coarse: tuple[int, ...]
    """(K, ...) of one coarse sample."""

    def __len__(self) -> int: ...
    def draw(self, n: int, generator: torch.Generator) -> Tensor: ...
    def load(self, chosen: Tensor) -> Fine: ...
    def name(self, chosen: Tensor) -> str: ...


class Math(Protocol):
    """`diffusion.cascade.Cascade`, which this room does not know."""

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...
    def losses(
        self, network: Any, x0: Tensor, coarse: Tensor, i: Tensor, strength: Tensor, eps: Tensor, blur: Tensor
    ) -> Tensor: ...


class Row(NamedTuple):
    chosen: Tensor
    level: Tensor
    strength: Tensor
    eps: Tensor
    blur: Tensor
    fine: Fine | None = None


class CascadeStage:
    """Stage: the denoising loss of a cascade on pairs of a pool, validated on those of another."""

    name = "cascade"

    def __init__(
        self,
        network: nn.Module,
        plan: Plan,
        cascade: Math,
        seen: Pool,
        held: Pool,
        *,
        blocks: tuple[type[nn.Module], ...],
        config: dict[str, Any],
        inputs: dict[str, Any],
        checked: int = 64,
    ):
        """checked: samples of the validation batch."""
        self.network, self.plan, self.cascade, self.pool, self.blocks = network, plan, cascade, seen, blocks
        self.config, self.inputs, self.epoch = config, inputs, len(seen)
        size = sum(p.numel() for p in network.parameters())
        self.facts = {"parameters": size, "train": len(seen), "held": len(held)}
        self.held = self.drawn(held, checked, stream(1, 2, 3))
        self.held = self.held._replace(fine=held.load(self.held.chosen))

    def drawn(self, pool: Pool, n: int, generator: torch.Generator) -> Row:
        chosen = pool.draw(n, generator)
        level, strength = self.cascade.draw(n, generator)
        eps = torch.randn(n, *pool.shape, generator=generator)
        return Row(chosen, level, strength, eps, torch.randn(n, *pool.coarse, generator=generator))

    def draw(self, generator: torch.Generator) -> Row:
        return self.drawn(self.pool, self.plan.batch, generator)

    def load(self, batch: Row) -> Row:
        return batch._replace(fine=self.pool.load(batch.chosen))

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, network: nn.Module, batch: Row) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.fine is not None
        rest = (batch.level, batch.strength, batch.eps, batch.blur)
        return self.cascade.losses(network, *batch.fine, *rest), {}

    def names(self, batch: Row) -> list[str]:
        return [self.pool.name(row) for row in batch.chosen]

    def validate(self, network: nn.Module) -> Figures:
        """The loss on held-out pairs, at fixed levels, strengths and noise."""
        batch = to(self.held, next(network.parameters()).device)
        return {"held": float(self.losses(network, batch)[0].mean())}

    def score(self, figures: Figures) -> None:
        return None

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        return network.state_dict()

    def figure(self, network: nn.Module) -> None:
        return None
