"""U-Net with cross-attention over one axis (signals) or two (images), under the same conditions as `DiT`.

Shapes: B batch · C channels · ... spatial axes · N positions · D width of conditions · K condition tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dit import Extra, Keys
from .layers import CrossAttention, Residual, Rotary, SelfAttention, check_input, conv, mlp


class ConditionedResidual(Residual):
    """A residual block whose second normalisation is scaled and shifted by a vector r (B, D).

    Adaptive group normalisation (Dhariwal and Nichol, arXiv 2105.05233, section 3.1). The last convolution starts at
    zero, so the block starts as its skip.
    """

    def __init__(self, channels: int, out: int, width: int, *, dims: int, groups: int, dropout: float = 0.0):
        super().__init__(channels, out, dims=dims, groups=groups)
        self.modulation, self.dropout = nn.Linear(width, 2 * out), dropout
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))  # (B, out, ...)
        modulation = self.modulation(F.silu(r)).view(len(r), -1, *[1] * (x.ndim - 2))  # (B, 2 out, 1, ...)
        scale, shift = modulation.chunk(2, dim=1)
        h = F.dropout(F.silu(h * (1 + scale) + shift), self.dropout, self.training)
        return self.skip(x) + self.conv2(h)


class GridTransformer(nn.Module):
    """Self-attention, cross-attention to condition tokens (B, K, D) and an MLP over all positions of a feature map.

    The block of latent diffusion (Rombach et al., arXiv 2112.10752, appendix E.2.1), with a rotary position code.
    """

    def __init__(self, channels: int, width: int, heads: int, *, dims: int, cross: bool):
        super().__init__()
        self.norm1, self.norm3 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention, self.rotary = SelfAttention(channels, heads), Rotary(channels // heads, dims)
        self.mlp = mlp(channels, 4 * channels, activation=nn.GELU)
        if cross:
            self.norm2, self.cross = nn.LayerNorm(channels), CrossAttention(channels, heads)
            # Condition tokens have the same width at every level; the levels have not.
            self.enter = nn.Linear(width, channels)

    def keys(self, condition: Tensor) -> Keys:
        return self.cross.keys(self.enter(condition))

    def forward(self, x: Tensor, keys: Keys | None, mask: Tensor | None) -> Tensor:
        h = x.flatten(2).transpose(1, 2)  # (B, N, C)
        h = h + self.attention(self.norm1(h), self.rotary.angles(tuple(x.shape[2:])))
        if keys is not None:
            h = h + self.cross(self.norm2(h), keys, mask)
        h = h + self.mlp(self.norm3(h))
        return h.transpose(1, 2).reshape(x.shape)


class Stage(nn.Module):
    """A residual block and, where the level attends, a transformer after it."""

    def __init__(self, residual: ConditionedResidual, transformer: GridTransformer | None):
        super().__init__()
        self.residual, self.transformer = residual, transformer

    def forward(self, x: Tensor, r: Tensor, keys: Keys | None, mask: Tensor | None) -> Tensor:
        x = self.residual(x, r)
        return x if self.transformer is None else self.transformer(x, keys, mask)


class UNet(nn.Module):
    """(B, C, ...) -> (B, out, ...), conditioned on a vector r (B, D) and, if `cross`, on tokens (B, K, D).

    Called exactly as `DiT` is, so that the two can stand for each other: r drives every residual block, tokens come by
    cross-attention. width: D. widths: channels of each level; each further level has half the resolution, so all axes
    must be divisible by 2 ** (levels - 1). attention: which levels attend, 0 = full resolution; the middle always does.
    dims: 1 or 2 spatial axes. The head starts at zero, so an untrained network returns zeros.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        widths: Sequence[int],
        heads: int,
        *,
        attention: Sequence[int] = (),
        out: int | None = None,
        dims: int = 1,
        blocks: int = 2,
        groups: int = 32,
        dropout: float = 0.0,
        cross: bool = True,
    ):
        super().__init__()
        if not set(attention) <= set(range(len(widths))):
            raise ValueError(f"attention at levels {tuple(attention)}: this U-Net has levels 0 to {len(widths) - 1}")
        self.dims, self.channels, self.out = dims, channels, out or channels
        self.factor = 2 ** (len(widths) - 1)

        def stage(a: int, b: int, attends: bool) -> Stage:
            residual = ConditionedResidual(a, b, width, dims=dims, groups=groups, dropout=dropout)
            return Stage(residual, GridTransformer(b, width, heads, dims=dims, cross=cross) if attends else None)

        now = widths[0]
        skips, down = [now], []
        for level, w in enumerate(widths):
            if level:
                down.append(conv(dims, now, now, 3, stride=2, padding=1))
                skips.append(now)
            for _ in range(blocks):
                down.append(stage(now, w, level in attention))
                now = w
                skips.append(now)
        up: list[nn.Module] = []
        for level, w in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                up.append(stage(now + skips.pop(), w, level in attention))
                now = w
            if level:
                up.append(nn.Sequential(nn.Upsample(scale_factor=2), conv(dims, now, now, 3, padding=1)))
        self.stem = conv(dims, channels, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.middle = nn.ModuleList([stage(widths[-1], widths[-1], True), stage(widths[-1], widths[-1], False)])
        self.norm, self.head = nn.GroupNorm(groups, now), conv(dims, now, self.out, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def keys(self, condition: Tensor) -> list[Keys]:
        """Keys and values of the condition tokens for every transformer: once for a whole sampling run."""
        layers = [*self.down, *self.middle, *self.up]
        return [s.transformer.keys(condition) for s in layers if isinstance(s, Stage) and s.transformer is not None]

    def forward(
        self,
        x: Tensor,
        r: Tensor,
        keys: list[Keys] | None = None,
        mask: Tensor | None = None,
        extra: Extra | None = None,
    ) -> Tensor:
        """extra: what is added to each skip, in the order in which they are made, and to the middle."""
        check_input(x, self.channels, self.dims, self.factor)
        waiting = iter(keys or ())

        def run(layer: nn.Module, h: Tensor) -> Tensor:
            if not isinstance(layer, Stage):
                return layer(h)
            return layer(h, r, None if layer.transformer is None else next(waiting, None), mask)

        h = self.stem(x)
        skips = [h]
        for layer in self.down:
            h = run(layer, h)
            skips.append(h)
        for layer in self.middle:
            h = run(layer, h)
        if extra is not None:
            *more, last = extra(x, r, keys, mask)
            skips, h = [a + b for a, b in zip(skips, more, strict=True)], h + last
        for layer in self.up:
            h = run(layer, torch.cat([h, skips.pop()], 1) if isinstance(layer, Stage) else h)
        return self.head(F.silu(self.norm(h)))
