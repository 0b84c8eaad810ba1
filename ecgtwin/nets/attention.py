"""Cross-attention seen and changed while a network runs: where it looks for each token of its condition, and edits
that keep, replace or weigh these maps (prompt-to-prompt, Hertz et al. 2022, arXiv 2208.01626).

Shapes: B samples · R x B rows of a call that asks for several conditions at once · H heads · N places · K tokens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import CrossAttention

Control = Callable[[int, Tensor], Tensor]
"""(number of the layer, probabilities (rows, H, N, K)) -> the probabilities that are used in their place."""


def layers(network: nn.Module) -> list[CrossAttention]:
    """Where a network looks at the tokens of its condition. ValueError where it has no such place."""
    found = [module for module in network.modules() if isinstance(module, CrossAttention)]
    if not found:
        raise ValueError(
            "this network has no cross-attention to its condition: maps need inject adax or cross, or words"
        )
    return found


@contextmanager
def attending(network: nn.Module, control: Control) -> Iterator[None]:
    """While every cross-attention of a network goes through `control`; RuntimeError inside another one."""
    found = layers(network)
    if any(layer.control is not None for layer in found):
        raise RuntimeError("this network's attention is under control already: leave that `with` first")
    for k, layer in enumerate(found):
        layer.control = partial(control, k)
    try:
        yield
    finally:
        for layer in found:
            layer.control = None


def steered(denoise: Callable, network: nn.Module, steer: Callable[[Any], Control]) -> Callable:
    """A denoiser (x, level) of a network whose attention is under steer(level) while it answers."""
    layers(network)

    def answer(x: Tensor, at: Any) -> Any:
        with attending(network, steer(at)):
            return denoise(x, at)

    return answer


class Maps:
    """A control that changes nothing and remembers the mean over heads, layers and calls of the last `count` rows: in a
    guided call the condition's own rows come last. Of layers on grids of several sizes, those on the finest count."""

    def __init__(self, count: int):
        self.count, self.sums, self.calls = count, {}, {}

    def __call__(self, layer: int, p: Tensor) -> Tensor:
        seen = p[-self.count :].detach().float().mean(1)  # (B, N, K)
        places = seen.shape[1]
        self.sums[places] = self.sums.get(places, 0) + seen
        self.calls[places] = self.calls.get(places, 0) + 1
        return p

    @property
    def mean(self) -> Tensor:
        """(B, K, N), for each place a sum of 1 over the tokens that count."""
        if not self.sums:
            raise ValueError("no attention was seen: run the network first")
        places = max(self.sums)
        return (self.sums[places] / self.calls[places]).transpose(1, 2)


@dataclass(frozen=True, eq=False)
class Edit:
    """A control for a batch of B samples: token k of sample b looks where token `token[b, k]` of sample `source[b]`
    looks (-1: where it does by itself), and counts `weights[b, k]` times. Tokens beyond K stay as they are.

    Only the last B rows are changed: in a guided call those of the condition itself.
    """

    weights: Tensor  # (B, K)
    source: Tensor  # (B,)
    token: Tensor  # (B, K)

    def __call__(self, layer: int, p: Tensor) -> Tensor:
        own = p[-len(self.weights) :]  # (B, H, N, tokens)
        more = (0, own.shape[-1] - self.weights.shape[1])
        token, weights = F.pad(self.token, more, value=-1)[:, None, None], F.pad(self.weights, more, value=1.0)
        elsewhere = own[self.source].gather(-1, token.clamp(min=0).expand_as(own))
        looked = torch.where(token >= 0, elsewhere, own) * weights[:, None, None].to(p.dtype)
        return torch.cat([p[: -len(own)], looked])

    @staticmethod
    def of(
        texts: Sequence[Sequence[str]],
        weights: Mapping[str, float],
        *,
        before: Sequence[Sequence[str]] = (),
        kept: bool = True,
    ) -> "Edit":
        """texts: names of the tokens of each wanted sample. before: those of each one's source; the batch is then all
        sources, in that order, and the wanted ones behind them. kept: whether tokens look where those of the source do
        (`aligned`). weights: of names. ValueError for a weight of what nobody asks for, or that is not finite."""
        known = {name for names in texts for name in names}
        for name, weight in weights.items():
            if name not in known:
                raise ValueError(f"weight of {name!r}, which is not asked for; there are: {', '.join(sorted(known))}")
            if not isfinite(weight):
                raise ValueError(f"weight {weight} of {name!r}: give a finite number, 1 = as learned")
        count, longest = len(before), max(len(names) for names in (*before, *texts))
        size = count + len(texts)
        scale, token, source = torch.ones(size, longest), torch.full((size, longest), -1), torch.arange(size)
        for row, names in enumerate(texts, count):
            scale[row, : len(names)] = torch.tensor([float(weights.get(name, 1.0)) for name in names])
            if before:
                source[row] = row - count
                if kept:
                    token[row, : len(names)] = torch.tensor(aligned(before[row - count], names))
        return Edit(scale, source, token)

    def to(self, device: torch.device) -> "Edit":
        return Edit(self.weights.to(device), self.source.to(device), self.token.to(device))


def aligned(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """For each token of `after` its place in `before`, -1 where it is new; where as many went as came, each new one
    stands for the one that went in its turn (prompt-to-prompt's word swap)."""
    free = list(range(len(before)))
    found = []
    for name in after:
        place = next((k for k in free if before[k] == name), -1)
        found.append(place)
        if place >= 0:
            free.remove(place)
    if found.count(-1) == len(free):
        waiting = iter(free)
        found = [next(waiting) if place < 0 else place for place in found]
    return found
