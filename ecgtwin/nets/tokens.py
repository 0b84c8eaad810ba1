"""Condition tokens of which something is not given: learned vectors stand in, so that unknown differs from zero.

Shapes: B batch · K tokens · D width.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


def null(width: int) -> nn.Parameter:
    """A learned vector (D,) for a condition that is left out, small and random at the start."""
    return nn.Parameter(torch.randn(width) * 0.02)


def without(tokens: Tensor, mask: Tensor, keep: Tensor, null: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, K, D) and mask (B, K) where a condition that is not kept, keep (B,) False, is its null token alone."""
    keep = keep[:, None]
    first = torch.zeros_like(mask)
    first[:, 0] = True
    kept = (mask & keep) | (first & ~keep)  # as torch.where, which other engines have no kernel for in truth values
    return torch.where(keep[..., None], tokens, null.to(tokens.dtype)), kept


def with_unknown(tokens: Tensor, known: Tensor, unknown: Tensor) -> Tensor:
    """Tokens (B, K, D) plus, for each number of a sample that is not known, known (B, N) False, its
    learned vector of (N, D)."""
    return tokens + ((~known).to(unknown.dtype) @ unknown)[:, None]


class Rows(nn.Module):
    """The parametrisation of an embedding (V, D) that has `learned` (K, D) behind its own: K further tokens."""

    def __init__(self, start: Tensor):
        super().__init__()
        self.learned = nn.Parameter(start.detach().clone())

    def forward(self, weight: Tensor) -> Tensor:
        return torch.cat([weight, self.learned.to(weight)])


def rows_of(embedding: nn.Embedding) -> list[Rows]:
    """What was added to an embedding."""
    found = embedding.parametrizations.weight if parametrize.is_parametrized(embedding, "weight") else ()
    return [part for part in found if isinstance(part, Rows)]


def add_rows(embedding: nn.Embedding, start: Tensor) -> Rows:
    """Give an embedding further tokens that begin as `start` (K, D), behind its own, which are not touched."""
    rows = Rows(start)
    parametrize.register_parametrization(embedding, "weight", rows, unsafe=True)  # the shape grows
    return rows


@contextmanager
def rows_written(embedding: nn.Module) -> Iterator[None]:
    """While added tokens are rows of the embedding's own weight, for writing it."""
    rows = rows_of(embedding) if isinstance(embedding, nn.Embedding) else []
    if not rows:
        yield
        return
    own = embedding.parametrizations.weight.original.detach().clone()
    parametrize.remove_parametrizations(embedding, "weight", leave_parametrized=True)
    try:
        yield
    finally:
        embedding.weight = nn.Parameter(own, requires_grad=False)
        for one in rows:
            parametrize.register_parametrization(embedding, "weight", one, unsafe=True)
