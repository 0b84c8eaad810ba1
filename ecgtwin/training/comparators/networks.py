"""Between a vector of noise and a whole ECG: what the GAN and the conditional auto-encoder are made of.

Shapes: B batch · C leads · L samples · P positions at the lowest rate · Z length of the noise · D condition's width.
"""

from collections.abc import Sequence

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ...nets.dit import pooled
from ...nets.layers import GridAttention, mlp
from ...nets.unet import ConditionedResidual
from ...twin.base import Tokens
from ...twin.condition import Conditions


class Told(nn.Module):
    """Conditions -> one vector (B, D): the mean of their tokens, through two layers."""

    def __init__(self, text: int, width: int):
        super().__init__()
        self.tokens, self.mix = Tokens(text, width), mlp(width, 2 * width, out=width)

    def forward(self, c: Conditions) -> Tensor:
        return self.mix(pooled(*self.tokens(c)))


class Grow(nn.Module):
    """Noise (B, Z) under a condition r (B, D) -> signals (B, C, L). widths: from the lowest rate, P = L / fold /
    2^(levels - 1), to the highest; the last step unfolds each position into `fold` samples."""

    def __init__(
        self, channels: int, samples: int, latent: int, told: int, widths: Sequence[int], fold: int, groups: int
    ):
        super().__init__()
        self.fold, self.positions = fold, positions(samples, fold, len(widths))
        self.enter = nn.Linear(latent, widths[0] * self.positions)
        now, self.levels = widths[0], nn.ModuleList()
        for width in widths:
            self.levels.append(ConditionedResidual(now, width, told, dims=1, groups=groups))
            now = width
        self.attention = GridAttention(widths[0], heads=4, groups=groups)
        self.head = nn.Sequential(nn.GroupNorm(groups, now), nn.SiLU(), nn.Conv1d(now, channels * fold, 5, padding=2))

    def forward(self, z: Tensor, r: Tensor) -> Tensor:
        h = self.enter(z).unflatten(1, (-1, self.positions))  # (B, W, P)
        for k, level in enumerate(self.levels):
            h = level(h if k == 0 else F.interpolate(h, scale_factor=2, mode="linear"), r)
            h = self.attention(h) if k == 0 else h
        return rearrange(self.head(h), "b (c f) p -> b c (p f)", f=self.fold)


class Shrink(nn.Module):
    """Signals (B, C, L) under a condition r (B, D) -> a vector (B, out): the way of `Grow` back."""

    def __init__(self, channels: int, samples: int, out: int, told: int, widths: Sequence[int], fold: int, groups: int):
        super().__init__()
        self.fold = fold
        self.enter = nn.Conv1d(channels * fold, widths[-1], 5, padding=2)
        now, self.levels = widths[-1], nn.ModuleList()
        for width in reversed(widths):
            self.levels.append(ConditionedResidual(now, width, told, dims=1, groups=groups))
            now = width
        self.attention = GridAttention(now, heads=4, groups=groups)
        self.out = nn.Linear(now * positions(samples, fold, len(widths)), out)

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        h = self.enter(rearrange(x, "b c (p f) -> b (c f) p", f=self.fold))
        for k, level in enumerate(self.levels):
            h = level(h if k == 0 else F.avg_pool1d(h, 2), r)
        return self.out(F.silu(self.attention(h)).flatten(1))


def positions(samples: int, fold: int, levels: int) -> int:
    """Positions at the lowest rate; ValueError where signals do not divide into them."""
    factor = fold * 2 ** (levels - 1)
    if samples % factor:
        raise ValueError(f"{samples} samples: expected a multiple of fold x 2^(levels - 1) = {factor}")
    return samples // factor
