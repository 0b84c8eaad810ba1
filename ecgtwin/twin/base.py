"""The individual base extractor (IBE): who a patient is, apart from the state the heart is in.

Shapes: B batch · Z latent channels · T latent samples · N tokens · M statements · D width · E base width.
"""

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..nets.layers import CrossAttention, Rotary, SelfAttention, mlp
from ..nets.tokens import null, with_unknown, without
from .condition import Conditions
from .person_layer import PersonLayer


class Tokens(nn.Module):
    """Condition tokens (B, M, 3 + text) -> (B, M, D), with learned vectors for what is not given.

    A number that is not known adds its own learned vector, so that unknown differs from zero; a whole condition that is
    dropped becomes one learned null token. `positions` > 0 adds a learned code of each statement's place.
    """

    def __init__(self, text: int, width: int, table: Tensor | None = None):
        super().__init__()
        self.linear = nn.Linear(3 + text, width)
        # Three numbers stand beside hundreds of text coordinates: they start as heavy as the text as a whole.
        with torch.no_grad():
            self.linear.weight[:, :3] *= (text / 3) ** 0.5
        self.unknown = nn.Parameter(torch.zeros(3, width))
        self.null = null(width)
        self.positions = None if table is None else nn.Parameter(table.clone())

    def forward(self, c: Conditions) -> tuple[Tensor, Tensor]:
        """Tokens (B, M, D) and mask (B, M); a dropped condition attends to its null token alone."""
        h = with_unknown(self.linear(c.tokens), c.known, self.unknown)
        if self.positions is not None:
            h = h + self.positions[: h.shape[1]]
        return without(h, c.mask, c.keep_condition, self.null)


class Layer(nn.Module):
    """Self-attention, subtraction of what the condition explains, feed-forward; pre-norm."""

    def __init__(self, width: int, heads: int, hidden: int, condition: str):
        super().__init__()
        self.norm1, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = SelfAttention(width, heads), mlp(width, hidden, activation=nn.GELU)
        self.sign = {"subtract": -1.0, "add": 1.0, "none": 0.0}[condition]
        if self.sign:
            self.norm2, self.cross = nn.LayerNorm(width), CrossAttention(width, heads)

    def forward(self, x: Tensor, angles, tokens: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), angles)
        if self.sign < 0:
            # Rectified, so that the condition can only take away (arXiv 2508.02720: x <- x - ReLU(attention)).
            x = x - F.relu(self.cross(self.norm2(x), self.cross.keys(tokens), mask))
        elif self.sign > 0:
            x = x + self.cross(self.norm2(x), self.cross.keys(tokens), mask)
        return x + self.mlp(self.norm3(x))


class BaseExtractor(nn.Module):
    """Latent (B, Z, T) and its own condition -> individual base vector (B, E): the mean over tokens.

    beat, curvature: how many components of the median beat, and of the curvature of its QRS, the output layer reads as
    well; then `forward` takes the median beats (B, P) of `beats_of` too.
    """

    def __init__(
        self,
        latent: int,
        text: int,
        *,
        width: int = 256,
        depth: int = 3,
        heads: int = 8,
        patch: int = 1,
        hidden: int = 1024,
        base: int = 256,
        condition: str = "subtract",
        beat: int = 0,
        curvature: int = 0,
    ):
        super().__init__()
        self.patch, self.width = patch, base
        self.embed, self.rotary = nn.Linear(latent * patch, width), Rotary(width // heads)
        self.tokens = Tokens(text, width) if condition != "none" else None
        self.layers = nn.ModuleList(Layer(width, heads, hidden, condition) for _ in range(depth))
        self.reads_beats = beat > 0
        if self.reads_beats:
            self.out = PersonLayer(width, base, beat, curvature)
        else:
            self.out = nn.Identity() if base == width else nn.Linear(width, base)

    def forward(self, z: Tensor, c: Conditions, beats: Tensor | None = None) -> Tensor:
        h = self.mean(z, c)
        if not self.reads_beats:
            return self.out(h)
        if beats is None:
            raise ValueError("this base extractor also reads median beats: give those of `beats_of`")
        return self.out(h, beats)

    def beats_of(self, signals: np.ndarray, rate: float) -> Tensor | None:
        """Median beats (B, P) of signals (B, 8, L) in mV as `forward` takes them; None where it takes none."""
        return self.out.beats_of(signals, rate) if self.reads_beats else None

    def mean(self, z: Tensor, c: Conditions) -> Tensor:
        """What the output layer reads, (B, D)."""
        x = self.embed(rearrange(z, "b c (n p) -> b n (c p)", p=self.patch))  # (B, N, D)
        tokens, mask = self.tokens(c) if self.tokens is not None else (None, None)
        angles = self.rotary.angles((x.shape[1],))
        for layer in self.layers:
            x = layer(x, angles, tokens, mask)
        return x.mean(1)
