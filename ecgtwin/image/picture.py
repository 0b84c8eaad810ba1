"""Tensors as pictures: single images, and grids of them."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def as_images(pixels: Tensor) -> list[Image.Image]:
    """(B, C, H, W) in [-1, 1] -> B images of 8 bits, grey for C = 1 and RGB for C = 3."""
    bytes_ = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(x.squeeze(-1) if x.shape[-1] == 1 else x) for x in bytes_]


def grid(
    images: Sequence[Image.Image], columns: int, *, scale: int = 1, gap: int = 1, background: int = 128
) -> Image.Image:
    """Images of one size in rows of `columns`, each pixel drawn as scale x scale."""
    if not images or columns < 1:
        raise ValueError(f"{len(images)} images in {columns} columns: a grid needs at least one of each")
    width, height = images[0].width * scale, images[0].height * scale
    rows = -(-len(images) // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), background, np.uint8)
    for k, image in enumerate(images):
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        large = image.convert("RGB").resize((width, height), Image.Resampling.NEAREST)
        canvas[top : top + height, left : left + width] = np.array(large)
    return Image.fromarray(canvas)
