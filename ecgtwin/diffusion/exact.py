"""Distributions whose perfect denoiser is known in closed form:
to prove solvers, to teach, to try guidance without training."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .denoiser import Denoised
from .schedule import Level


@dataclass(frozen=True, eq=False)
class Gaussian:
    """x0 ~ N(mean, variance), independent entries; the object itself is the perfect Denoiser.

    mean, variance: numbers, or tensors that broadcast against one sample.
    """

    mean: Tensor | float = 0.0
    variance: Tensor | float = 1.0

    def __call__(self, x: Tensor, at: Level) -> Denoised:
        """E[x0 | x] = mean + alpha variance / (alpha² variance + sigma²) (x - alpha mean)."""
        gain = at.alpha * self.variance / (at.alpha**2 * self.variance + at.sigma**2)
        return Denoised(self.mean + gain * (x - at.alpha * self.mean))

    def at(self, level: Level) -> "Gaussian":
        """The distribution of noisy x at a level."""
        return Gaussian(level.alpha * self.mean, level.alpha**2 * self.variance + level.sigma**2)

    def log_prob(self, x: Tensor, at: Level) -> Tensor:
        """log-density of noisy x, nats: (B,)."""
        noisy = self.at(at)
        return _log_normal(x, noisy.mean, noisy.variance).flatten(1).sum(1)

    def flow(self, x: Tensor, t: Level, s: Level) -> Tensor:
        """Where the probability-flow ODE carries x from t to s: the same quantile of each marginal."""
        old, new = self.at(t), self.at(s)
        return new.mean + (x - old.mean) * (new.variance / old.variance) ** 0.5


@dataclass(frozen=True, eq=False)
class Mixture:
    """x0 ~ sum_k weights_k N(means_k, variance I); the object itself is the perfect Denoiser.

    means: (K, ...) one mean per component, shaped like a sample.
    variance: one number. weights: (K,), any positive numbers.
    """

    means: Tensor
    variance: float
    weights: Tensor

    def __post_init__(self) -> None:
        if len(self.means) != len(self.weights) or not bool((self.weights > 0).all()) or self.variance < 0:
            raise ValueError(
                f"{len(self.means)} means, weights {self.weights.tolist()}, variance {self.variance}: give one "
                "positive weight per mean and a variance that is not negative"
            )

    def __call__(self, x: Tensor, at: Level) -> Denoised:
        """The components' own estimates, weighed by how likely each made x."""
        gain = at.alpha * self.variance / self._variance(at)
        share = torch.softmax(self.component_log_prob(x, at), dim=1)
        mean = (share @ self.means.flatten(1)).view_as(x)
        return Denoised(mean * (1 - gain * at.alpha) + gain * x)

    def component_log_prob(self, x: Tensor, at: Level) -> Tensor:
        """log of weight times density of each component at noisy x: (B, K). Its softmax is the perfect classifier."""
        gap = x.flatten(1)[:, None, :] - at.alpha * self.means.flatten(1)
        dims = gap.shape[-1]
        variance = self._variance(at)
        density = -0.5 * (gap.square().sum(-1) / variance + dims * math.log(2 * math.pi * variance))
        return density + (self.weights / self.weights.sum()).log()

    def log_prob(self, x: Tensor, at: Level) -> Tensor:
        """log-density of noisy x, nats: (B,)."""
        return torch.logsumexp(self.component_log_prob(x, at), dim=1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` clean samples: (count, ...)."""
        which = torch.multinomial(self.weights.double(), count, replacement=True, generator=generator)
        noise = torch.randn((count, *self.means.shape[1:]), generator=generator, dtype=self.means.dtype)
        return self.means[which] + math.sqrt(self.variance) * noise

    def _variance(self, at: Level) -> float:
        return at.alpha**2 * self.variance + at.sigma**2


def _log_normal(x: Tensor, mean: Tensor | float, variance: Tensor | float) -> Tensor:
    variance = torch.as_tensor(variance, dtype=x.dtype)
    return -0.5 * ((x - mean).square() / variance + torch.log(2 * math.pi * variance))
