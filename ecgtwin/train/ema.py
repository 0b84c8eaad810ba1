"""Exponential moving average of weights."""

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
