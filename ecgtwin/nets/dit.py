"""Diffusion transformer over any number of axes, with two ways in for conditions.

Shapes: B batch · C channels · ... spatial axes · N tokens · D width · K condition tokens.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import CrossAttention, Rotary, SelfAttention, check_input, mlp

Keys = tuple[Tensor, Tensor]
Extra = Callable[[Tensor, Tensor, list[Keys] | None, Tensor | None], list[Tensor]]
"""(x, r, keys, mask), as a body is called -> what is added to what it works out, in that order (`nets.control`)."""


def patches(axes: int) -> tuple[str, str]:
    """einops patterns of a grid cut into patches, and of the tokens that come of it."""
    names = "hwd"[:axes]
    grid = "b c " + " ".join(f"({n} p{n})" for n in names)
    tokens = "b (" + " ".join(names) + ") (c " + " ".join(f"p{n}" for n in names) + ")"
    return grid, tokens


class Block(nn.Module):
    """Self-attention and MLP under adaptive layer norm, with ungated cross-attention between them.

    AdaLN-Zero (DiT, arXiv 2212.09748, section 3.2): six vectors from SiLU(r), by a linear layer that starts at zero,
    shift, scale and gate the self-attention and the MLP. Cross-attention as in AdaX (arXiv 2508.02720): layer norm on
    the tokens and on queries, keys and values.
    """

    def __init__(self, width: int, heads: int, ratio: int, *, cross: bool = True):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6, elementwise_affine=False) for _ in range(2))
        self.attention = SelfAttention(width, heads)
        self.mlp = mlp(width, ratio * width, activation=lambda: nn.GELU("tanh"))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        if cross:
            self.norm_cross, self.cross = nn.LayerNorm(width), CrossAttention(width, heads, normalise=True)

    def forward(
        self, x: Tensor, r: Tensor, angles: Keys, keys: Keys | None, mask: Tensor | None, seen: Tensor | None = None
    ) -> Tensor:
        """mask: of the condition tokens in `keys`; seen (B, N): of the tokens themselves."""
        modulation = self.modulation(F.silu(r))[:, None]  # (B, 1, 6 D)
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1, angles, seen)
        if keys is not None:
            x = x + self.cross(self.norm_cross(x), keys, mask)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """(B, C, ...) -> (B, out, ...), conditioned on a vector r (B, D) and, if `cross`, on tokens (B, K, D).

    `axes`: number of spatial axes; each must be divisible by `patch`. The head starts at zero, so an untrained network
    returns zeros. context: condition tokens join the sequence in front of the patches and are left out of the answer,
    in the place of cross-attention (DiT, section 3.2, "in-context"). last: whether r also shifts and scales the norm
    before the head, as in DiT; else that norm is plain.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        depth: int,
        heads: int,
        *,
        out: int | None = None,
        patch: int = 1,
        axes: int = 1,
        ratio: int = 4,
        cross: bool = True,
        context: bool = False,
        last: bool = False,
    ):
        super().__init__()
        self.context, cross = context, cross and not context
        self.axes, self.patch, self.channels, self.out = axes, patch, channels, out or channels
        self.grid, self.tokens = patches(axes)
        self.sizes = {f"p{n}": patch for n in "hwd"[:axes]}
        self.embed = nn.Linear(channels * patch**axes, width)
        self.rotary = Rotary(width // heads, axes)
        self.blocks = nn.ModuleList(Block(width, heads, ratio, cross=cross) for _ in range(depth))
        self.head = nn.Linear(width, self.out * patch**axes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.last = nn.Linear(width, 2 * width) if last else None
        if self.last is not None:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def keys(self, condition: Tensor) -> list[Keys]:
        """Keys and values of the condition tokens for every block: computed once for a whole sampling run."""
        if self.context:
            return [(condition, condition)]  # the tokens themselves
        return [block.cross.keys(condition) for block in self.blocks]

    def forward(
        self,
        x: Tensor,
        r: Tensor,
        keys: list[Keys] | None = None,
        mask: Tensor | None = None,
        extra: Extra | None = None,
    ) -> Tensor:
        """extra: what is added to the tokens after each of the first blocks."""
        check_input(x, self.channels, self.axes, self.patch)
        size = [n // self.patch for n in x.shape[2:]]
        h = self.embed(rearrange(x, f"{self.grid} -> {self.tokens}", **self.sizes))  # (B, N, D)
        angles = self.rotary.angles(tuple(size))
        added = [] if extra is None else extra(x, r, keys, mask)
        first, seen = 0, None
        if self.context and keys:
            (tokens, _), keys = keys[0], None
            first = tokens.shape[1]
            h = torch.cat([tokens.to(h.dtype), h], 1)  # (B, K + N, D)
            cos, sin = (
                torch.cat([start.expand(first, -1), a]) for start, a in zip(unturned(angles), angles, strict=True)
            )
            angles = cos, sin
            if mask is not None:
                seen = torch.cat([mask, mask.new_ones(len(h), h.shape[1] - first)], 1)
        for index, block in enumerate(self.blocks):
            h = block(h, r, angles, keys[index] if keys else None, mask, seen)
            if index < len(added):
                h = h + added[index]
        h = F.layer_norm(h[:, first:], h.shape[-1:])
        if self.last is not None:
            shift, scale = self.last(F.silu(r))[:, None].chunk(2, dim=-1)  # (B, 1, D)
            h = h * (1 + scale) + shift
        h = self.head(h)  # (B, N, out * patch ** axes)
        return rearrange(h, f"{self.tokens} -> {self.grid}", **self.sizes, **dict(zip("hwd", size, strict=False)))


def unturned(angles: Keys) -> Keys:
    """Cosine and sine (1, head / 2) of a token that has no place."""
    cos, sin = angles
    return torch.ones_like(cos[:1]), torch.zeros_like(sin[:1])


Inject = Literal["adax", "adaln", "cross", "context"]


def pooled(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of the tokens that count: (B, K, D), (B, K) -> (B, D)."""
    weight = mask.to(tokens.dtype)[..., None]
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


def position_table(length: int, width: int) -> Tensor:
    """Sine and cosine position codes (length, width), the start of a learned table."""
    place = torch.arange(length, dtype=torch.float32)[:, None]
    angle = place * torch.exp(-math.log(10_000.0) * torch.arange(0, width, 2, dtype=torch.float32) / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
