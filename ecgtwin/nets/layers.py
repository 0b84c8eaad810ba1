"""Building blocks that more than one network uses.

Shapes: B batch · N tokens · D width · H heads · C channels · K condition tokens · ... any spatial axes.
"""

import math
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


def conv(dims: int, *args, **kwargs) -> nn.Module:
    """A convolution over `dims` axes (1 or 2)."""
    return {1: nn.Conv1d, 2: nn.Conv2d}[dims](*args, **kwargs)


def check_input(x: Tensor, channels: int, axes: int, multiple: int) -> None:
    """ValueError for what is not (B, channels) and so many axes that can be divided by a number."""
    if x.ndim != axes + 2 or x.shape[1] != channels or any(n % multiple for n in x.shape[2:]):
        raise ValueError(
            f"input of shape {tuple(x.shape)}: expected (B, {channels}) and {axes} axes divisible by {multiple}"
        )


class Residual(nn.Module):
    """Two convolutions with group normalisation and SiLU, beside a skip: (B, C, ...) -> (B, out, ...)."""

    def __init__(self, channels: int, out: int, *, dims: int = 1, groups: int = 32):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, channels), conv(dims, channels, out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, out), conv(dims, out, out, 3, padding=1)
        self.skip = conv(dims, channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))  # (B, out, ...)
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v over (B, H, N, d); mask broadcasts to (B, H, N, K), True = attend."""
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # The fused kernel's backward pass takes several times longer than these products on a CPU (short sequences).
    return looked(q, k, mask).to(v.dtype) @ v


def looked(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)): (B, H, N, K)."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1)


class GridAttention(nn.Module):
    """Self-attention over all positions of a feature map, beside a skip: (B, C, ...) -> (B, C, ...)."""

    def __init__(self, channels: int, *, heads: int = 1, groups: int = 32):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, N, C)
        q, k, v = rearrange(self.qkv(tokens), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        h = self.out(rearrange(attend(q, k, v), "b h n d -> b n (h d)"))
        return x + h.transpose(1, 2).reshape(x.shape)


class Rotary(nn.Module):
    """Rotary position code (RoFormer, arXiv 2104.09864, eq. 34) over any number of axes.

    The head dimension is split evenly among the axes; each pair of coordinates is turned by an angle proportional to
    its position, so that attention depends on the distance of two tokens and not on where they are.
    """

    def __init__(self, head: int, axes: int = 1, base: float = 10_000.0):
        super().__init__()
        if head % (2 * axes):
            raise ValueError(f"head width {head} must be divisible by 2 x {axes} axes")
        self.axes = axes
        frequency = base ** (-torch.arange(0, head // axes, 2, dtype=torch.float32) / (head // axes))
        self.register_buffer("frequency", frequency, persistent=False)

    def angles(self, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Cosine and sine (N, head / 2) for a grid of tokens, flattened in C order."""
        if len(grid) != self.axes:
            raise ValueError(f"a grid of {len(grid)} axes was given to a rotary code of {self.axes}")
        places = [torch.arange(n, device=self.frequency.device, dtype=torch.float32) for n in grid]
        mesh = torch.meshgrid(*places, indexing="ij")
        angle = torch.cat([m.flatten()[:, None] * self.frequency for m in mesh], dim=-1)
        return angle.cos(), angle.sin()

    @staticmethod
    def turn(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """Turn queries or keys (B, H, N, head)."""
        cos, sin = (a.to(x.dtype) for a in angles)
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class SelfAttention(nn.Module):
    """Multi-head self-attention with a rotary position code: (B, N, D) -> (B, N, D); mask (B, N), True = attend."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} must be divisible by {heads} heads")
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        mask = None if mask is None else mask[:, None, None, :]
        h = attend(Rotary.turn(q, angles), Rotary.turn(k, angles), v, mask)
        return self.out(rearrange(h, "b h n d -> b n (h d)"))


class CrossAttention(nn.Module):
    """Tokens ask condition tokens: (B, N, D) and (B, K, D) with mask (B, K), True = attend -> (B, N, D).

    A row whose mask is all False would be undefined; callers give at least one token (a learned null).
    `keys` may be called once and its result passed to many forward calls: conditions do not change while sampling.
    control: what sees and may change the probabilities (B, H, N, K) while it is set, see `nets.attention`.
    """

    def __init__(self, width: int, heads: int, *, normalise: bool = False):
        super().__init__()
        self.heads = heads
        self.control: Callable[[Tensor], Tensor] | None = None
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        norm = nn.LayerNorm if normalise else (lambda _: nn.Identity())
        self.norm_q, self.norm_k, self.norm_v = norm(width), norm(width), norm(width)

    def keys(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        k, v = self.kv(condition).chunk(2, dim=-1)
        return tuple(rearrange(a, "b k (h d) -> b h k d", h=self.heads) for a in (self.norm_k(k), self.norm_v(v)))

    def forward(self, x: Tensor, keys: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
        q = rearrange(self.norm_q(self.q(x)), "b n (h d) -> b h n d", h=self.heads)
        mask = None if mask is None else mask[:, None, None, :]
        if self.control is None:
            h = attend(q, *keys, mask)
        else:
            h = self.control(looked(q, keys[0], mask)).to(keys[1].dtype) @ keys[1]
        return self.out(rearrange(h, "b h n d -> b n (h d)"))


def sinusoid(t: Tensor, width: int, period: float = 10_000.0) -> Tensor:
    """Sine and cosine code (B,) -> (B, width) of a timestep or a place (arXiv 1706.03762, section 3.5)."""
    half = width // 2
    frequency = torch.exp(-math.log(period) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angle = t.float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def mlp(width: int, hidden: int, *, out: int | None = None, activation: type[nn.Module] = nn.SiLU) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), activation(), nn.Linear(hidden, out or width))
