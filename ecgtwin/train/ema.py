"""Averages of weights: an exponential one, and those of which any width can be made after the training."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn


class EMA:
    """Average of a network's parameters over its training: shadow <- d shadow + (1 - d) weight.

    The decay warms up as min(decay, (1 + n) / (10 + n)) at update n, so that the random start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA decay {decay}: expected a number in [0, 1)")
        self.decay, self.updates = decay, 0
        self.shadow: dict[str, Tensor] = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, weight in network.state_dict().items():
            if weight.is_floating_point():
                self.shadow[name].lerp_(weight, 1 - decay)
            else:
                self.shadow[name].copy_(weight)


class PowerEMA:
    """An average whose memory grows with the training: weights of step i count as i^gamma (Karras et al. 2024, arXiv
    2312.02696, eq. 127-129): shadow <- beta shadow + (1 - beta) weight, beta = (1 - 1/t)^(gamma + 1) after t steps.

    std: its width as a fraction of the training, for instance 0.05 and 0.10; two of them, kept as snapshots along the
    way, are enough to make the average of any other width afterwards: `reconstruct`.
    """

    def __init__(self, network: nn.Module, std: float):
        self.std, self.gamma, self.updates = std, gamma_of(std), 0
        self.shadow: dict[str, Tensor] = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self.updates += 1
        beta = (1 - 1 / self.updates) ** (self.gamma + 1)
        for name, weight in network.state_dict().items():
            if weight.is_floating_point():
                self.shadow[name].lerp_(weight, 1 - beta)
            else:
                self.shadow[name].copy_(weight)


def gamma_of(std: float) -> float:
    """The exponent of a profile of relative width `std` (arXiv 2312.02696, algorithm 2): the largest real root of
    gamma³ + 7 gamma² + (16 - std^-2) gamma + (12 - std^-2)."""
    if not 0 < std < 12**-0.5:
        raise ValueError(f"std {std}: give more than 0 and less than 0.288, the width of an even average")
    found = np.roots([1.0, 7.0, 16.0 - std**-2, 12.0 - std**-2])
    return float(found[np.isreal(found)].real.max())


def overlap(t_a: np.ndarray, gamma_a: np.ndarray, t_b: np.ndarray, gamma_b: np.ndarray) -> np.ndarray:
    """The scalar product of two profiles, i^gamma up to step t, each of sum 1 (arXiv 2312.02696, algorithm 3)."""
    low, high = np.minimum(t_a, t_b), np.maximum(t_a, t_b)
    gamma_high = np.where(t_a > t_b, gamma_a, gamma_b)
    return (gamma_a + 1) * (gamma_b + 1) * (low / high) ** gamma_high / ((gamma_a + gamma_b + 1) * high)


def reconstruction(snapshots: Sequence[tuple[int, float]], step: int, std: float) -> np.ndarray:
    """The weight of each snapshot (step, std) in the average of width `std` at `step`: least squares between profiles
    (arXiv 2312.02696, eq. 19). Only snapshots up to that step help. ValueError where there are none."""
    if not snapshots:
        raise ValueError("no snapshots: train with ema_stds, which keeps averages along the way")
    t = np.array([s for s, _ in snapshots], float)
    gamma = np.array([gamma_of(width) for _, width in snapshots])
    matrix = overlap(t[:, None], gamma[:, None], t[None], gamma[None])
    wanted = overlap(t, gamma, np.array(float(step)), np.array(gamma_of(std)))
    return np.linalg.lstsq(matrix, wanted, rcond=1e-12)[0]


def reconstruct(snapshots: Mapping[tuple[int, float], dict[str, Tensor]], step: int, std: float) -> dict[str, Tensor]:
    """The average of width `std` at `step`, after the training: a sum of snapshots (step, std) -> their tensors."""
    weights = reconstruction(list(snapshots), step, std)
    out: dict[str, Tensor] = {}
    for weight, tensors in zip(weights.tolist(), snapshots.values(), strict=True):
        for name, value in tensors.items():
            if value.is_floating_point():
                out[name] = out.get(name, 0.0) + weight * value.double()
            else:
                out[name] = value
    kinds = next(iter(snapshots.values()))
    return {name: value.to(kinds[name].dtype) for name, value in out.items()}
