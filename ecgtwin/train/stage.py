"""What the loop, the run's folder, the dry run and the recipe need to know of what is trained;
nothing about ECGs or images."""

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .batch import Drawn
from .plan import Plan

if TYPE_CHECKING:
    from .loop import Training

Figures = dict[str, float]
Batch = Any
"""Nested tuples of tensors, samples first; see `train.batch`."""


class Backward(NamedTuple):
    """What one step's way back found. Gradients lie in the network's parameters."""

    loss: Tensor
    """Scalar: of this process's samples, or of the whole batch where samples are compared."""
    figures: dict[str, Tensor]
    """Scalars to log."""
    broken: list[int]
    """Places of this process's samples whose loss or embedding is not finite."""


class Task(Protocol):
    """What the loop trains: samples in, gradients out."""

    def draw(self, generator: torch.Generator) -> Batch:
        """Everything random of one whole batch: rows, noise, levels. The same in all processes."""

    def load(self, batch: Batch) -> Batch:
        """A process's own part of it with what is read from disk, such as signals; on a thread of its own."""

    def backward(self, training: "Training", batch: Drawn) -> Backward:
        """Gradients of the loss: sample by sample (`by_sample`), or of a comparison of the
        whole batch (`by_contrast`)."""

    def names(self, batch: Batch) -> list[str]:
        """Which record each sample is, for messages."""


class Stage(Task, Protocol):
    """One part of a model while it is trained."""

    name: str
    network: nn.Module
    plan: Plan
    blocks: tuple[type[nn.Module], ...]
    """Kinds of modules that gradient checkpointing computes twice."""
    config: dict[str, Any]
    """Stored with the weights."""
    inputs: dict[str, Any]
    """What decides the result: with the same inputs it need not be trained again, and with others it is not resumed."""
    facts: dict[str, Any]
    """Shown at the start."""
    epoch: int
    """Samples that count as one."""

    def validate(self, network: nn.Module) -> Figures:
        """Figures of averaged weights on what training never sees."""

    def score(self, figures: Figures) -> float | None:
        """Of validation figures: the weights with the highest are kept. None keeps the last."""

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        """The tensors that are kept of averaged weights."""

    def figure(self, network: nn.Module) -> Any:
        """A matplotlib figure for TensorBoard, or None."""
