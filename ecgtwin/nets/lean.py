"""A DiT's forward pass for sampling: its own answer to rounding, with nothing done twice and nothing done for nothing.

What stays over a run is worked out before its first step: channels beside x as tokens, angles, the modulation at every
timestep, keys and values. A row that sees one condition token alone is told the same whatever it asks: it does not ask.

Shapes: B batch · C channels · N tokens · D width · H heads · K condition tokens · U different vectors r in a batch.
"""

from functools import cache
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from .dit import Block, DiT, Keys


class Modulation(NamedTuple):
    """Of all blocks at one timestep, each (depth, 2, U, D): of both layer norms, and of what follows them."""

    scale: Tensor
    shift: Tensor
    gate: Tensor


class Cross(NamedTuple):
    """What a block's cross-attention adds: `told` (B, 1, D) to every row, and to rows `some`, which have several
    tokens to choose from, the softmax of q @ keys + mask, times values."""

    told: Tensor
    keys: Tensor  # (b, D, K H), block by block: head h of q meets only keys of head h
    mask: Tensor  # (b, 1, K H), 0 or -inf
    values: Tensor  # (b, K H, D), through the output layer already


class LeanDiT:
    """`dit` under conditions that stay. `lean(x, modulation)` is `dit(torch.cat([x, beside], 1), r, keys, mask)`.

    x, beside: (B, C, ...); beside None: nothing is. keys, mask: as for `DiT`, or None. rows (B,): which of U different
    vectors r a row has. dtype: of the matrix products' operands; all else is float32. Not for gradients: it works in
    place. Weights are read when it is made, so make one for each run.
    """

    def __init__(
        self,
        dit: DiT,
        grid: tuple[int, ...],
        rows: Tensor,
        *,
        keys: list[Keys] | None = None,
        mask: Tensor | None = None,
        beside: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        self.dit, self.rows, self.dtype = dit, rows, dtype
        self.heads = dit.blocks[0].attention.heads
        self.runs = runs(rows.tolist())
        self.size = dict(zip("hwd", (n // dit.patch for n in grid), strict=False))
        own = dit.channels - (0 if beside is None else beside.shape[1])
        weight = rearrange(dit.embed.weight, "d (c p) -> d c p", c=dit.channels)
        self.embed, self.fixed = weight[:, :own].flatten(1), dit.embed.bias
        if beside is not None:
            self.fixed = F.linear(self.patched(beside), weight[:, own:].flatten(1), dit.embed.bias)  # (B, N, D)
        cos, sin = dit.rotary.angles(tuple(self.size.values()))
        # One angle for each pair of coordinates, pairs side by side: a turn is the product of two complex numbers.
        self.turn = torch.complex(cos, sin).repeat(1, 2 * self.heads)
        self.blocks = [self.weights(block) for block in dit.blocks]
        self.some, self.cross = slice(0, 0), None
        if keys is not None:
            several = mask.sum(1) > 1 if mask is not None else torch.ones_like(rows, dtype=torch.bool)
            where = several.nonzero().flatten().tolist()
            self.some = slice(where[0], where[-1] + 1) if where else slice(0, 0)
            self.cross = [self.crossed(block, *pair, mask) for block, pair in zip(dit.blocks, keys, strict=True)]

    def weights(self, block: Block) -> tuple[tuple[Tensor, Tensor], ...]:
        """(weight, bias) of qkv, output, and both layers of the MLP."""
        layers = block.attention.qkv, block.attention.out, block.mlp[0], block.mlp[2]
        order = torch.arange(block.attention.qkv.out_features, device=self.rows.device)
        q_k, v = order.chunk(3)[:2], order.chunk(3)[2]
        pairs = [rearrange(part, "(h two d) -> (h d two)", h=self.heads, two=2) for part in q_k]
        order = torch.cat([*pairs, v])
        found = [(layer.weight, layer.bias) for layer in layers]
        found[0] = tuple(tensor[order] for tensor in found[0])
        return tuple((w.to(self.dtype), b.to(self.dtype)) for w, b in found)

    def crossed(self, block: Block, k: Tensor, v: Tensor, mask: Tensor | None) -> Cross:
        """Keys and values (B, H, K, d) of a block as what its cross-attention needs at every step."""
        out = rearrange(block.cross.out.weight, "o (h d) -> h d o", h=self.heads)
        values = torch.einsum("bhkd,hdo->bhko", v, out)  # (B, H, K, D)
        mask = torch.ones(k.shape[0], k.shape[2], dtype=torch.bool, device=k.device) if mask is None else mask
        alone = values.sum(1)[torch.arange(len(mask), device=mask.device), mask.to(torch.uint8).argmax(1)]  # (B, D)
        alone[self.some] = 0
        k, values, mask = k[self.some], values[self.some], mask[self.some]
        apart = torch.einsum("bhkd,hg->bhdgk", k * k.shape[-1] ** -0.5, torch.eye(self.heads, device=k.device))
        hidden = torch.zeros_like(mask, dtype=k.dtype).masked_fill(~mask, float("-inf"))
        return Cross(
            (alone + block.cross.out.bias)[:, None],
            rearrange(apart, "b h d g k -> b (h d) (k g)").to(self.dtype),
            hidden.repeat_interleave(self.heads, 1)[:, None].to(self.dtype),
            rearrange(values, "b h k o -> b (k h) o").to(self.dtype),
        )

    def modulations(self, r: Tensor) -> list[Modulation]:
        """Of timesteps, r (S, U, D): all of a run in one product for each block."""
        made = torch.stack([block.modulation(F.silu(r)) for block in self.dit.blocks], 1)  # (S, depth, U, 6 D)
        shift1, scale1, gate1, shift2, scale2, gate2 = made.float().chunk(6, -1)
        scale, shift = torch.stack([scale1, scale2], 2) + 1, torch.stack([shift1, shift2], 2)
        return [Modulation(*of) for of in zip(scale, shift, torch.stack([gate1, gate2], 2), strict=True)]

    def patched(self, x: Tensor) -> Tensor:
        return rearrange(x, f"{self.dit.grid} -> {self.dit.tokens}", **self.dit.sizes)

    def __call__(self, x: Tensor, modulation: Modulation) -> Tensor:
        h = F.linear(self.patched(x), self.embed).add_(self.fixed)  # (B, N, D)
        gates = modulation.gate[:, :, self.rows, None]  # (depth, 2, B, 1, D)
        for index, (qkv, out, rise, fall) in enumerate(self.blocks):
            scale, shift, gate = modulation.scale[index], modulation.shift[index], gates[index]
            z = F.linear(self.normed(h, scale[0], shift[0]), *qkv)  # (B, N, 3 D)
            z = F.linear(self.attended(z), *out)
            h.addcmul_(gate[0], z.float())
            if self.cross is not None:
                self.ask(h[self.some], index)
                h.add_(self.cross[index].told)
            z = F.linear(bent(self.normed(h, scale[1], shift[1]), *rise), *fall)
            h.addcmul_(gate[1], z.float())
        h = self.dit.head(F.layer_norm(h, h.shape[-1:]))
        return rearrange(h, f"{self.dit.tokens} -> {self.dit.grid}", **self.dit.sizes, **self.size)

    def normed(self, h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Layer norm, times scale plus shift (U, D) of each row."""
        parts = [F.layer_norm(h[a:b], h.shape[-1:], scale[u], shift[u], 1e-6) for a, b, u in self.runs]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(self.dtype)

    def attended(self, z: Tensor) -> Tensor:
        """Self-attention of queries, keys and values (B, N, 3 D) -> (B, N, D)."""
        q_k, v = z.split([2 * z.shape[-1] // 3, z.shape[-1] // 3], -1)
        turned = torch.view_as_complex(q_k.float().unflatten(-1, (-1, 2))).mul_(self.turn)
        q_k = torch.view_as_real(turned).flatten(-2).to(self.dtype)
        q, k, v = (rearrange(part, "b n (h d) -> b h n d", h=self.heads) for part in (*q_k.chunk(2, -1), v))
        return rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)")

    def ask(self, h: Tensor, index: int) -> None:
        """Add to rows h what they choose among their condition tokens, in place."""
        if not len(h):
            return
        block, cross = self.dit.blocks[index], self.cross[index]
        q = block.cross.norm_q(block.cross.q(block.norm_cross(h))).to(self.dtype)
        scores = torch.baddbmm(cross.mask, q, cross.keys)  # (b, N, K H): a softmax over a short last axis is slow
        chosen = scores.unflatten(-1, (-1, self.heads)).softmax(-2).flatten(-2)
        h.add_(chosen @ cross.values)


def runs(rows: list[int]) -> list[tuple[int, int, int]]:
    """(first, end, value) of stretches of equal values."""
    starts = [k for k in range(len(rows)) if k == 0 or rows[k] != rows[k - 1]]
    return [(a, b, rows[a]) for a, b in zip(starts, [*starts[1:], len(rows)], strict=True)]


def bent(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU (tanh form) of a linear layer; on CPUs by oneDNN's fused kernel, where this torch has it: PyTorch's own
    GELU takes as long as a quarter of the product."""
    if x.device.type == "cpu" and fused():
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu", [], "tanh")
    return F.gelu(F.linear(x, weight, bias), approximate="tanh")


@cache
def fused() -> bool:
    """Whether the fused kernel is there and right."""
    if not torch.backends.mkldnn.is_available():
        return False
    x, w, b = (
        torch.linspace(-4, 4, 96).view(2, 3, 16),
        torch.linspace(-1, 1, 512).view(32, 16),
        torch.linspace(-1, 1, 32),
    )
    try:
        found = torch.ops.mkldnn._linear_pointwise(x, w, b, "gelu", [], "tanh")
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(found, F.gelu(F.linear(x, w, b), approximate="tanh"), atol=1e-5)
