"""How long, how fast and in what precision to train: the part of every stage's configuration that the loop reads."""

import math
from typing import Annotated, Literal

from pydantic import Field

from .strict import Strict

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


FREE = {"validate_every", "save_every", "grad_accum", "gradient_checkpointing", "compile"}
"""Settings that change how a training runs and not what it computes: they may differ when it is resumed."""


class AdapterPlan(Strict):
    """The adapter that is trained in the place of a network's own weights; see `nets.adapters.AdapterConfig`."""

    kind: Literal["lora", "loha"] = "lora"
    """lora: one product of two thin matrices, on convolutions LoCon; loha: two such products, entry by entry."""
    rank: Positive = 4
    scale: float = Field(1.0, gt=0)
    targets: tuple[str, ...] = Field(("*",), min_length=1)
    """Patterns of layer names; linear layers and convolutions that match any are adapted."""


class ControlPlan(Strict):
    """The control that is trained beside a frozen network; see `nets.control.ControlConfig`."""

    copies: Positive = 3
    """Blocks of a transformer, the first, that are copied; of a U-Net all of the way down is."""
    hidden: Positive = 64
    """Width of the structure's own encoder."""


class Plan(Strict):
    """One stage's training."""

    steps: Positive
    batch: Positive
    """Samples in a step, all processes and accumulated parts together."""
    lr: float
    """Highest learning rate of AdamW."""
    warmup: int = 100
    """Steps in which the learning rate rises linearly; then it falls along a cosine."""
    floor: float = 0.05
    """Fraction of the learning rate that is left at the end."""
    weight_decay: float = 0.01
    """Of matrices and kernels; norms, biases and learned tokens have none."""
    grad_clip: float = 1.0
    """Largest norm of the gradient."""
    ema_decay: float = 0.999
    """Of the exponential moving average of the weights, which is what a stage delivers."""
    ema_stds: tuple[Annotated[float, Field(gt=0.0, lt=0.288)], ...] = ()
    """Relative widths of further averages (arXiv 2312.02696), such as [0.05, 0.1]: their snapshots are kept with each
    checkpoint, and scripts/posthoc_ema.py makes averages of any width of them afterwards."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    grad_accum: Positive = 1
    """Parts of a process's own part of the batch that are in memory one after the other; the gradient is that of the
    whole batch, in a contrast as well (gradient caching)."""
    gradient_checkpointing: bool = False
    """Keep only the inputs of blocks and compute them again on the way back."""
    compile: bool = False
    """torch.compile; needs a C++ compiler on CPUs."""
    validate_every: Positive = 250
    save_every: Positive | None = None
    """Steps between checkpoints; null: as often as validation."""
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """Linear warm-up, then a cosine from `lr` to `floor * lr`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.lr * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress)))

    def due(self, step: int) -> bool:
        """Whether to validate after this many steps."""
        return step % self.validate_every == 0 or step == self.steps

    def saves(self, step: int) -> bool:
        """Whether to write a checkpoint after this many steps."""
        return step % (self.save_every or self.validate_every) == 0 or step == self.steps
