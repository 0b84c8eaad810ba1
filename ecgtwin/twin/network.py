"""The denoiser: a 1-D DiT or U-Net with the AdaX condition injector.

Shapes: B batch · Z latent channels · T latent samples · D width · M statements · E base width.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..ecg.beats import KINDS
from ..nets.dit import DiT, Extra, Inject, Keys, pooled, position_table
from ..nets.layers import mlp, sinusoid
from ..nets.unet import UNet
from .base import Tokens
from .condition import Conditions
from .config import UNetConfig


class Prepared(NamedTuple):
    """Conditions after the work that does not depend on the timestep: do it once for a whole sampling run."""

    vector: Tensor | None  # (B, D), joins the timestep in r
    keys: list[Keys] | None
    mask: Tensor | None
    beside: Tensor | None = None  # (B, Z + 1 + K F + 1, T), channels beside x


class TwinNetwork(nn.Module):
    """x_t (B, Z, T), timestep (B,), conditions -> prediction (B, Z, T).

    `inject` chooses the pathways (arXiv 2508.02720, ablations): "adax": r = time + base drives adaptive layer
    norm, statements come by cross-attention; "adaln": r = time + base + mean of the statement tokens, no
    cross-attention; "cross": r = time, statements and base come by cross-attention; "context": as cross, but these
    tokens join the sequence (DiT's in-context variant). last: see `DiT`. unet: channels, attending
    levels, blocks, groups and dropout of a U-Net that takes the DiT's place; depth, patch and ratio are the DiT's
    alone. factor: samples of the signal to a sample of the latent, for a network that reads beat tracks and drafts
    as channels beside x; None: one that does not. variance: whether it also answers how much variance a step has,
    as further Z channels.
    """

    def __init__(
        self,
        latent: int,
        text: int,
        base: int,
        *,
        width: int = 256,
        depth: int = 7,
        heads: int = 8,
        patch: int = 1,
        ratio: int = 4,
        statements: int = 18,
        inject: Inject = "adax",
        unet: UNetConfig | None = None,
        factor: int | None = None,
        variance: bool = False,
        last: bool = False,
    ):
        super().__init__()
        self.latent, self.factor = latent, factor
        out = 2 * latent if variance else latent
        seen = latent if factor is None else 2 * latent + len(KINDS) * factor + 2
        self.inject, self.width = inject, width
        self.tokens = Tokens(text, width, position_table(statements, width))
        self.time, self.base = mlp(width, width), nn.Linear(base, width)
        self.null_base = nn.Parameter(torch.randn(width) * 0.02)
        if factor is not None:
            # What does not change need not pass through the body: x and draft, each channel weighed by
            # r, are added to the answer.
            self.skip = nn.Linear(width, 2 * latent)
            nn.init.zeros_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)
        cross, context = inject != "adaln", inject == "context"
        if context and unet is not None:
            raise ValueError(
                "inject context: tokens join the patches of a DiT; a U-Net has none, choose another inject"
            )
        if unet is None:
            self.dit = DiT(
                seen, width, depth, heads, out=out, patch=patch, ratio=ratio, cross=cross, context=context, last=last
            )
            return
        self.unet = UNet(
            seen,
            width,
            unet.widths,
            heads,
            out=out,
            attention=unet.attention,
            blocks=unet.blocks,
            groups=unet.groups,
            dropout=unet.dropout,
            cross=cross,
        )

    @property
    def body(self) -> DiT | UNet:
        """What the conditions go into; both kinds are called alike."""
        return self.unet if hasattr(self, "unet") else self.dit

    def prepare(self, c: Conditions) -> Prepared:
        return self.conditioned(c)._replace(beside=self.beside(c))

    def beside(self, c: Conditions) -> Tensor | None:
        """Draft, beat track and whether they are given, as channels (B, Z + 1 + K F + 1, T) beside x;
        zeros where they are not."""
        if self.factor is None:
            return None
        if c.track is None:
            return c.tokens.new_zeros(len(c.tokens), 1, 1)
        keep, told = (
            flag.to(c.draft.dtype)[:, None, None].expand(-1, 1, c.draft.shape[-1])
            for flag in (c.keep_draft, c.keep_track)
        )
        folded = rearrange(c.track, "b k (t f) -> b (k f) t", f=self.factor)
        return torch.cat([c.draft * keep, keep, folded * told, told], 1)

    def conditioned(self, c: Conditions) -> Prepared:
        tokens, mask = self.tokens(c)
        # The contrast trains directions only, so only the direction is read; its length would be chance.
        base = self.base(F.normalize(c.base, dim=-1) * c.base.shape[-1] ** 0.5)
        base = torch.where(c.keep_base[:, None], base, self.null_base.to(base.dtype))
        if self.inject == "adaln":
            return Prepared(base + pooled(tokens, mask), None, None)
        if self.inject in ("cross", "context"):
            tokens = torch.cat([tokens, base[:, None]], 1)
            return Prepared(None, self.body.keys(tokens), torch.cat([mask, torch.ones_like(mask[:, :1])], 1))
        return Prepared(base, self.body.keys(tokens), mask)

    def forward(self, x: Tensor, t: Tensor, condition: Conditions | Prepared, extra: Extra | None = None) -> Tensor:
        """extra: see `nets.control`."""
        c = condition if isinstance(condition, Prepared) else self.prepare(condition)
        r = self.time(sinusoid(t, self.width).to(x.dtype))  # (B, D)
        r = r if c.vector is None else r + c.vector
        if c.beside is None:
            return self.body(x, r, c.keys, c.mask, extra)
        beside = c.beside.to(x.dtype).expand(-1, 2 + self.latent + len(KINDS) * self.factor, x.shape[-1])
        of_x, of_draft = self.skip(F.silu(r))[..., None].chunk(2, dim=1)  # (B, Z, 1)
        answer = self.body(torch.cat([x, beside], 1), r, c.keys, c.mask, extra)
        moved = of_x * x + of_draft * beside[:, : self.latent]
        return answer + F.pad(moved, (0, 0, 0, answer.shape[1] - self.latent))
