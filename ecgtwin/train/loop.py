"""The training loop as a generator: the caller logs, validates and saves between its steps."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .checkpoint import load_tensors, pack_training, save_tensors, unpack_training
from .ema import EMA


@dataclass(frozen=True)
class Plan:
    """How to train. `floor` is the share of the learning rate left at the end of its cosine."""

    steps: int
    batch: int
    rate: float
    warmup: int = 100
    floor: float = 0.05
    decay: float = 0.01
    clip: float = 1.0
    average: float = 0.999
    bf16: bool = True
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then a cosine from `rate` to `floor * rate`."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.rate * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress)))


class Step(NamedTuple):
    number: int  # steps done, 1-based
    figures: dict[str, float]
    training: "Training"


class Training:
    """Network, optimiser, average and step count: what a checkpoint holds."""

    def __init__(self, network: nn.Module, plan: Plan):
        self.network, self.plan, self.done = network, plan, 0
        self.ema = EMA(network, plan.average)
        # Norms, biases and learned tokens are not shrunk: decay acts on matrices and kernels only.
        weights = [p for p in network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim >= 2], "weight_decay": plan.decay},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.99), fused=True)

    def save(self, path: Path, meta: dict[str, Any] | None = None) -> None:
        tensors = pack_training(self.network, self.optimiser, self.ema.shadow)
        save_tensors(path, tensors, {**(meta or {}), "step": self.done, "updates": self.ema.updates})

    def load(self, path: Path) -> dict[str, Any]:
        tensors, meta = load_tensors(path)
        unpack_training(tensors, self.network, self.optimiser, self.ema.shadow)
        self.done, self.ema.updates = meta["step"], meta["updates"]
        return meta


def stream(*key: int) -> torch.Generator:
    """A generator for one key, such as (seed, step): draws depend on the key alone, so resuming needs no state."""
    seed = 0
    for k in key:
        seed = (seed * 1_000_003 + int(k) + 0x9E3779B9) % (2**63)
    return torch.Generator().manual_seed(seed)


def fit(
    training: Training,
    batches: Callable[[torch.Generator], Any],
    loss: Callable[[nn.Module, Any, torch.Generator], tuple[Tensor, dict[str, Tensor]]],
) -> Iterator[Step]:
    """Train from `training.done` to the plan's end, yielding after each step.

    `batches(generator)` draws a batch, `loss(network, batch, generator)` a scalar and figures to log. Both get a
    generator that depends on seed and step only: a resumed run repeats the uninterrupted one. A loss that is not
    finite raises FloatingPointError before the weights are touched.
    """
    plan, network, optimiser = training.plan, training.network, training.optimiser
    weights = [p for g in optimiser.param_groups for p in g["params"]]
    network.train()
    while training.done < plan.steps:
        generator = stream(plan.seed, training.done)
        for group in optimiser.param_groups:
            group["lr"] = plan.rate_at(training.done)
        batch = batches(generator)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=plan.bf16):
            value, figures = loss(network, batch, generator)
        if not torch.isfinite(value):
            raise FloatingPointError(f"loss is {value.item()} at step {training.done}: the last checkpoint is intact")
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, plan.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        training.ema.update(network)
        training.done += 1
        yield Step(training.done, {"loss": value.item(), "norm": norm.item()} | {
            k: float(v.detach()) for k, v in figures.items()
        }, training)
        network.train()
