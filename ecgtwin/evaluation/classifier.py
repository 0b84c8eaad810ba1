"""Small classifiers of statements, of the kind that judges ECGs, trained for one question and thrown away.

Shapes: n ECGs · L samples · S statements.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..metrics.evaluators import Statements, XResNet, restore
from ..train.batch import Drawn
from ..train.device import accelerator_of
from ..train.loop import Training, by_sample, fit
from ..train.plan import Plan
from ..train.stage import Backward
from ..twin.condition import Condition

CROP = 512
WIDTHS = (24, 32, 48, 64)


class Taught(NamedTuple):
    """ECGs (n, 8, L) in mV and whether each has each statement, (n, S)."""

    signals: Tensor
    targets: Tensor


class Pieces(NamedTuple):
    rows: Tensor
    starts: Tensor
    signals: Tensor | None = None


class Frozen(nn.Module):
    """A classifier whose normalisation stays that of the population while it is tuned on one patient."""

    def __init__(self, network: XResNet):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self


@dataclass(frozen=True, eq=False)
class Lesson:
    """A task for `train.loop.fit`: random pieces of ECGs, and which statements they show."""

    taught: Taught
    batch: int
    weight: Tensor

    def draw(self, generator: torch.Generator) -> Pieces:
        n, length = len(self.taught.signals), self.taught.signals.shape[-1]
        rows = torch.randint(n, (self.batch,), generator=generator)
        return Pieces(rows, torch.randint(max(1, length - CROP + 1), (self.batch,), generator=generator))

    def load(self, batch: Pieces) -> Pieces:
        length = min(CROP, self.taught.signals.shape[-1])
        place = (batch.starts[:, None, None] + torch.arange(length)).expand(-1, self.taught.signals.shape[1], -1)
        return batch._replace(signals=self.taught.signals[batch.rows].gather(-1, place))

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, network: nn.Module, batch: Pieces) -> tuple[Tensor, dict[str, Tensor]]:
        scores, targets = network(batch.signals).float(), self.taught.targets[batch.rows]
        errors = F.binary_cross_entropy_with_logits(scores, targets, pos_weight=self.weight, reduction="none")
        return errors.mean(1), {}

    def names(self, batch: Pieces) -> list[str]:
        return [f"ECG {row}" for row in batch.rows.tolist()]


def train(taught: Taught, steps: int, seed: int) -> XResNet:
    """A small classifier of the kind that judges (`metrics.evaluators.XResNet`), from chance; averaged weights."""
    torch.manual_seed(seed)
    network = XResNet(taught.targets.shape[1], WIDTHS)
    frequency = taught.targets.mean(0).clamp(1 / len(taught.targets), 1 - 1 / len(taught.targets))
    with torch.no_grad():
        network.head[-1].bias.copy_(torch.logit(frequency))
    warmup = max(1, steps // 10)
    plan = Plan(steps=steps, batch=32, lr=4.0e-3, warmup=warmup, weight_decay=0.05, ema_decay=0.99, seed=seed)
    return fitted(network, network, taught, plan, (1 / frequency).sqrt().clamp(1, 8))


def tune(population: XResNet, taught: Taught, steps: int, seed: int) -> XResNet:
    """A copy of a trained classifier after a few small steps on one patient's ECGs."""
    network = XResNet(taught.targets.shape[1], WIDTHS)
    network.load_state_dict(population.state_dict())
    plan = Plan(steps=steps, batch=16, lr=5.0e-4, warmup=3, weight_decay=0.0, ema_decay=0.9, seed=seed)
    return fitted(Frozen(network), network, taught, plan, torch.ones(taught.targets.shape[1]))


def fitted(trained: nn.Module, network: XResNet, taught: Taught, plan: Plan, weight: Tensor) -> XResNet:
    training = Training(trained, plan, accelerator=accelerator_of(cpu=True))
    for _ in fit(training, Lesson(taught, plan.batch, weight)):
        pass
    trained.load_state_dict(training.ema.shadow)
    return restore(network, network.state_dict())


def scores(network: XResNet, names: tuple[str, ...], signals: np.ndarray) -> np.ndarray:
    return Statements(network, names, {}, {}, "")(signals)


def targets(conditions: tuple[Condition, ...] | list[Condition], names: tuple[str, ...]) -> np.ndarray:
    return np.array([[name in c.reports for name in names] for c in conditions], bool).reshape(-1, len(names))
