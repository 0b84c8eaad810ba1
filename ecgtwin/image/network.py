"""The image denoiser: a U-Net or a 2-D DiT under caption, timestep, original size and crop.

Shapes: B batch · C channels · H W rows and columns · K caption tokens · E their width · D width of conditions.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..nets import tokens
from ..nets.dit import DiT, Extra, Keys, pooled, position_table
from ..nets.layers import mlp, sinusoid
from ..nets.unet import UNet

CODE = 64
"""Width of the sinusoid code of one number of the frame."""


class Conditions(NamedTuple):
    """What a batch of images is to be. keep: False where the caption is left out, for classifier-free guidance."""

    values: Tensor  # (B, K) integers of a vocabulary, or (B, K, E) states of a text model
    mask: Tensor  # (B, K), True = a token
    frame: Tensor  # (B, 4): original height and width, top and left of the crop, in pixels; (B, 6): and the shape seen
    keep: Tensor  # (B,)

    def to(self, device: torch.device) -> "Conditions":
        return Conditions(*(part.to(device) for part in self))


class Prepared(NamedTuple):
    """Conditions after the work that does not depend on the timestep: do it once for a whole sampling run."""

    vector: Tensor  # (B, D), joins the timestep in r
    keys: list[Keys]
    mask: Tensor  # (B, K)


class Caption(nn.Module):
    """Caption tokens -> (B, K, D) and their mask; a caption left out becomes one learned null token.

    names: size of the vocabulary if tokens are integers, whose order a learned position code tells; else 0, and states
    of width `width_in` are projected.
    """

    def __init__(self, names: int, width_in: int, length: int, width: int):
        super().__init__()
        if names:
            self.read = nn.Embedding(names, width)
            self.positions = nn.Parameter(position_table(length, width))
        else:
            self.read, self.positions = nn.Sequential(nn.LayerNorm(width_in), nn.Linear(width_in, width)), None
        self.null = tokens.null(width)

    def forward(self, c: Conditions) -> tuple[Tensor, Tensor]:
        h = self.read(c.values)  # (B, K, D)
        if self.positions is not None:
            h = h + self.positions[: h.shape[1]]
        return tokens.without(h, c.mask, c.keep, self.null)


class ImageNetwork(nn.Module):
    """x_t (B, C, H, W), timestep (B,), conditions -> prediction (B, C, H, W).

    The caption comes by cross-attention, and its mean joins timestep and frame in the vector r. The frame is SDXL's
    micro-conditioning (arXiv 2307.01952, sections 2.2 and 2.3): the sinusoid codes of original size and crop corner,
    and of the shape where there are several. frame: how many numbers.
    """

    def __init__(self, backbone: DiT | UNet, caption: Caption, width: int, frame: int = 4):
        super().__init__()
        self.backbone, self.caption, self.width = backbone, caption, width
        self.time, self.frame = mlp(width, width), mlp(frame * CODE, width, out=width)
        self.summary = nn.Linear(width, width)

    def prepare(self, c: Conditions) -> Prepared:
        caption, mask = self.caption(c)
        codes = sinusoid(c.frame.flatten(), CODE).view(len(caption), -1).to(caption.dtype)  # (B, frame x CODE)
        vector = self.frame(codes) + self.summary(pooled(caption, mask))
        return Prepared(vector, self.backbone.keys(caption), mask)

    def forward(self, x: Tensor, t: Tensor, condition: Conditions | Prepared, extra: Extra | None = None) -> Tensor:
        """extra: see `nets.control`."""
        c = condition if isinstance(condition, Prepared) else self.prepare(condition)
        r = self.time(sinusoid(t, self.width).to(x.dtype)) + c.vector  # (B, D)
        return self.backbone(x, r, c.keys, c.mask, extra)
