"""A subject as a stage (Textual Inversion, arXiv 2208.01618; DreamBooth, Ruiz et al. 2022, arXiv 2208.12242): a few
samples of it, and of its class some that the model drew by itself, so that the class stays what it was.

Shapes: N samples of the subject · P of its class · B in a batch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from .batch import Drawn, mapped
from .loop import Training, by_sample
from .plan import AdapterPlan, Fraction, Plan
from .stage import Backward, Figures

if TYPE_CHECKING:
    from collections.abc import Sequence


class SubjectPlan(Plan):
    adapter: AdapterPlan | None = None
    """Beside the learned token: an adapter of the network's layers (DreamBooth by LoRA); null: the token alone."""
    prior: Fraction = 0.25
    """Fraction of a batch that are samples of the class, drawn by the model before the training."""
    prior_samples: int = Field(64, ge=0)
    """How many of these are drawn."""


class Samples(NamedTuple):
    """x0 (N, ...) as the network sees them, and their conditions, nested tensors with the samples first."""

    x0: Tensor
    condition: Any


class Objective(Protocol):
    """What `diffusion.objective.Objective` can do."""

    def draw(self, n: int, generator: torch.Generator, part: float = 1.0) -> Tensor: ...
    def losses(self, network: Callable, condition: Any, x0: Tensor, i: Tensor, eps: Tensor) -> Tensor: ...


class Lot(NamedTuple):
    """rows (B,): of the subject's samples, behind them those of its class."""

    rows: Tensor
    level: Tensor
    noise: Tensor
    x0: Tensor | None = None
    condition: Any = None


class SubjectStage:
    """Stage: the denoising loss on a subject and its class; of the network learns what requires a gradient."""

    name = "subject"

    def __init__(
        self,
        network: nn.Module,
        plan: SubjectPlan,
        objective: Objective,
        subject: Samples,
        own_class: Samples | None,
        *,
        blocks: tuple[type[nn.Module], ...],
        config: dict[str, Any],
        inputs: dict[str, Any],
    ):
        self.network, self.plan, self.objective, self.blocks = network, plan, objective, blocks
        self.config, self.inputs = config, inputs
        self.epoch, self.others = len(subject.x0), 0 if own_class is None else len(own_class.x0)
        self.samples = subject if own_class is None else joined(subject, own_class)
        learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
        self.facts = {"learns": learned, "samples": self.epoch, "of the class": self.others}

    def draw(self, generator: torch.Generator) -> Lot:
        n = self.plan.batch
        of_class = round(self.plan.prior * n) if self.others else 0
        own = torch.randint(self.epoch, (n - of_class,), generator=generator)
        others = self.epoch + torch.randint(max(self.others, 1), (of_class,), generator=generator)
        noise = torch.randn(n, *self.samples.x0.shape[1:], generator=generator)
        return Lot(torch.cat([own, others]), self.objective.draw(n, generator), noise)

    def load(self, batch: Lot) -> Lot:
        x0, condition = mapped(self.samples, lambda t: t[batch.rows])
        return batch._replace(x0=x0, condition=condition)

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, network: nn.Module, batch: Lot) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.x0 is not None
        return self.objective.losses(network, batch.condition, batch.x0, batch.level, batch.noise), {}

    def names(self, batch: Lot) -> list[str]:
        return [
            f"sample {k}" if k < self.epoch else f"sample {k - self.epoch} of the class" for k in batch.rows.tolist()
        ]

    def validate(self, network: nn.Module) -> Figures:
        """None: what was learned is judged by what it draws."""
        return {}

    def score(self, figures: Figures) -> None:
        return None

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        """What learned, by name."""
        return {name: p for name, p in network.named_parameters() if p.requires_grad}

    def figure(self, network: nn.Module) -> None:
        return None

    def finish(self, averaged: dict[str, Tensor]) -> None:
        """Leave the network with the averages of what learned, and all else bit for bit: an average of -0 is 0, and
        files of adapters know their base by its bits."""
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                if p.requires_grad:
                    p.copy_(averaged[name])
        self.network.eval().requires_grad_(False)


def joined(*parts: Samples) -> Samples:
    """Samples one behind the other; ValueError where their conditions are not of one form."""

    def together(these: "Sequence[Any]") -> Any:
        first = these[0]
        if any(part is None for part in these):
            if any(part is not None for part in these):
                raise ValueError("some samples have a condition that others have not")
            return None
        if isinstance(first, Tensor):
            return torch.cat(list(these))
        columns = [together(column) for column in zip(*these, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else tuple(columns)

    return together(parts)
