"""A noise-aware classifier as a stage: it names the classes of samples at all noise levels that a model is for.

Shapes: N samples · B in a batch · K classes.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from .batch import Drawn, stream
from .loop import Training, by_sample
from .plan import Plan
from .stage import Backward, Figures

if TYPE_CHECKING:
    from collections.abc import Sequence


class Noised(NamedTuple):
    rows: Tensor
    level: Tensor
    noise: Tensor
    x0: Tensor | None = None
    target: Tensor | None = None


class NoisyStage:
    """samples (N, ...) as the denoiser sees them, target (N, K); the last `held` of them are for validation. objective:
    the denoiser's `diffusion.objective.Objective`, whose levels and schedule these are."""

    name, blocks = "classifier", ()

    def __init__(
        self,
        network: nn.Module,
        plan: Plan,
        objective: Any,
        samples: Tensor,
        target: Tensor,
        held: int,
        *,
        config: dict[str, Any],
        inputs: dict[str, Any],
    ):
        self.network, self.plan, self.objective, self.config, self.inputs = network, plan, objective, config, inputs
        self.samples, self.target = samples, target
        self.epoch = len(samples) - held
        self.facts = {"train": self.epoch, "held": held, "classes": target.shape[1]}

    def draw(self, generator: torch.Generator) -> Noised:
        n = self.plan.batch
        noise = torch.randn(n, *self.samples.shape[1:], generator=generator)
        return Noised(torch.randint(self.epoch, (n,), generator=generator), self.objective.draw(n, generator), noise)

    def load(self, batch: Noised) -> Noised:
        return batch._replace(x0=self.samples[batch.rows], target=self.target[batch.rows])

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, network: nn.Module, batch: Noised) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.x0 is not None and batch.target is not None
        x, logsnr = self.noised(batch.x0, batch.level, batch.noise)
        return network.losses(x, logsnr, batch.target), {}

    def noised(self, x0: Tensor, level: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = (a.to(x0).view(-1, *[1] * (x0.ndim - 1)) for a in self.objective.schedule.alpha_sigma(level))
        logsnr = 2 * (alpha.clamp_min(1e-6) / sigma.clamp_min(1e-6)).log().flatten()
        return alpha * x0 + sigma * noise, logsnr

    def names(self, batch: Noised) -> "Sequence[str]":
        return [f"sample {k}" for k in batch.rows.tolist()]

    def validate(self, network: nn.Module) -> Figures:
        """Of held-out samples, with fixed noise: the loss over all levels, and over the cleaner half of them."""
        rows = torch.arange(self.epoch, len(self.samples))
        if not len(rows):
            return {}
        generator = stream(1, 2, 3)
        level = self.objective.schedule.even(len(rows))
        noise = torch.randn(len(rows), *self.samples.shape[1:], generator=generator)
        device = next(network.parameters()).device
        x, logsnr = self.noised(self.samples[rows].to(device), level.to(device), noise.to(device))
        found = network.losses(x, logsnr, self.target[rows].to(device)).detach()
        return {"held": float(found.mean()), "held_clean": float(found[: len(found) // 2].mean())}

    def score(self, figures: Figures) -> None:
        return None

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        return network.state_dict()

    def figure(self, network: nn.Module) -> None:
        return None
