"""Parts of a picture drawn anew, and variations of a whole one. Each function is a method of `ImagePipeline`.

Shapes: C channels · S side · Z latent channels · T side of the latent.
"""

from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..diffusion.inpaint import inpaint, partway, renoise
from ..diffusion.levels import trailing
from ..diffusion.sample import sample, seeded_noise
from ..diffusion.solvers import DDIM, DpmPP
from .config import DataConfig
from .dataset import gather
from .picture import as_images

if TYPE_CHECKING:
    from .pipeline import ImagePipeline


def fill(
    pipeline: "ImagePipeline",
    picture: Image.Image,
    known: Tensor,
    caption: str,
    n: int = 1,
    *,
    steps: int = 20,
    resample: int = 8,
    guidance: float = 1.5,
    seed: int = 0,
    refine: bool = True,
) -> list[Image.Image]:
    """n pictures that are `picture` where `known` (S, S) is True, drawn as `caption` says elsewhere (arXiv 2201.09865).

    The picture is scaled and cut to the model's size first. resample: times that each step is made, for what is drawn
    to fit what is known. In a latent model a latent counts as known where all of its pixels are; known pixels come back
    as they were. ValueError: a mask of another shape or type, or one that leaves nothing to draw.
    """
    size = pipeline.config.picture.shape
    if known.shape != size or known.dtype != torch.bool or bool(known.all()):
        raise ValueError(
            f"known: {tuple(known.shape)} of {known.dtype}: expected {size} bool, True where the picture is "
            "kept, and False somewhere"
        )
    pixels, requests = start(pipeline, picture, caption, n, seed)
    known = known.to(pipeline.device)
    with torch.no_grad():
        z = pipeline.codec.encode(pixels)
        held = ~F.max_pool2d((~known)[None, None].float(), pipeline.codec.factor).bool()
        noise = seeded_noise([r.seed for r in requests])
        x = noise(torch.empty(n, *pipeline.latent, device=pipeline.device))
        denoise = pipeline.denoiser(requests, guidance=guidance, refine=refine)
        levels = trailing(pipeline.schedule, steps)
        for moment in inpaint(denoise, z, held, x, levels, DDIM(eta=1.0), noise, resample=resample):
            x = moment.x
        made = pipeline.codec.decode(x).clamp(-1, 1)
    return as_images(torch.where(known, pixels, made))


def vary(
    pipeline: "ImagePipeline",
    picture: Image.Image,
    caption: str,
    n: int = 1,
    *,
    strength: float = 0.5,
    steps: int = 20,
    guidance: float = 1.5,
    seed: int = 0,
    refine: bool = True,
) -> list[Image.Image]:
    """n variations of a picture: noise is added, and taken away again under `caption` (SDEdit, arXiv 2108.01073).

    strength: more than 0 (the picture itself) to 1 (drawn anew).
    """
    pixels, requests = start(pipeline, picture, caption, n, seed)
    levels = partway(trailing(pipeline.schedule, steps), strength)
    noise = seeded_noise([r.seed for r in requests])
    with torch.no_grad():
        z = pipeline.codec.encode(pixels).expand(n, -1, -1, -1)
        denoise = pipeline.denoiser(requests, guidance=guidance, refine=refine)
        clean = pipeline.schedule.level(pipeline.schedule.clean)
        x = sample(denoise, renoise(z, clean, levels[0], noise), levels, DpmPP(2), noise)
        made = pipeline.codec.decode(x).clamp(-1, 1)
    return as_images(made)


def start(pipeline: "ImagePipeline", picture: Image.Image, caption: str, n: int, seed: int):
    """The picture as the model sees it (1, C, S, S), and one request for each of n seeds."""
    from .pipeline import Request

    if n < 1:
        raise ValueError(f"n {n}: expected 1 or more pictures")
    pixels = gather([picture], [caption], pipeline.config.picture.alone, DataConfig()).centred().pixels
    return pixels.to(pipeline.device), [Request(caption, seed + k) for k in range(n)]
