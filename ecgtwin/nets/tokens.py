"""Condition tokens of which something is not given: learned vectors stand in, so that unknown differs from zero.

Shapes: B batch · K tokens · D width.
"""

import torch
from torch import Tensor, nn


def null(width: int) -> nn.Parameter:
    """A learned vector (D,) for a condition that is left out, small and random at the start."""
    return nn.Parameter(torch.randn(width) * 0.02)


def without(tokens: Tensor, mask: Tensor, keep: Tensor, null: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, K, D) and mask (B, K) where a condition that is not kept, keep (B,) False, is its null token alone."""
    keep = keep[:, None]
    first = torch.zeros_like(mask)
    first[:, 0] = True
    return torch.where(keep[..., None], tokens, null.to(tokens.dtype)), torch.where(keep, mask, first)


def with_unknown(tokens: Tensor, known: Tensor, unknown: Tensor) -> Tensor:
    """Tokens (B, K, D) plus, for each number of a sample that is not known, known (B, N) False, its
    learned vector of (N, D)."""
    return tokens + ((~known).to(unknown.dtype) @ unknown)[:, None]
