"""Pictures that follow the edges of another: what they show comes from the caption, where its lines run from the edges.

Shapes: B batch · C channels · S side.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..diffusion.denoiser import clamp_x0
from ..diffusion.guidance import guide
from ..diffusion.levels import trailing
from ..diffusion.sample import sample, seeded_noise
from ..diffusion.solvers import DpmPP
from ..nets import control
from ..nets.control import ControlConfig
from ..train.plan import ControlPlan
from .filling import start
from .picture import as_images

if TYPE_CHECKING:
    from .pipeline import ImagePipeline

KIND = "edges"
"""What these controls read."""


def config_of(plan: ControlPlan, factor: int) -> ControlConfig:
    """factor: pixels to one of the latent, along each side."""
    return ControlConfig(1, factor, plan.copies, plan.hidden)


def edges(pixels: Tensor) -> Tensor:
    """How steep a picture (B, C, S, S) in [-1, 1] is at each pixel: the length of Sobel's gradient of its mean over
    channels, halved so that a step from black to white is 1: (B, 1, S, S)."""
    grey = pixels.mean(1, keepdim=True)
    one = grey.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    both = torch.stack([one, one.T])[:, None]
    slopes = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), both)
    return slopes.square().sum(1, keepdim=True).sqrt()


def load_control(pipeline: "ImagePipeline", path: str | Path) -> None:
    """Give the pipeline a control, as a training with train.denoiser.control writes it, for `follow`; one at a time.

    FileNotFoundError: there is none; ValueError: it is none, or belongs to another model.
    """
    pipeline.control = control.load(pipeline.network, pipeline.network.backbone, Path(path), KIND)


@torch.inference_mode()
def follow(
    pipeline: "ImagePipeline",
    structure: Image.Image,
    caption: str,
    n: int = 1,
    *,
    steps: int = 20,
    guidance: float = 1.5,
    seed: int = 0,
) -> list[Image.Image]:
    """n pictures of `caption` whose edges are those of `structure`, which is scaled and cut to the model's size first.
    Picture k has seed `seed + k`. ValueError where no control is loaded."""
    if pipeline.control is None:
        raise ValueError("no control is loaded: load_control(path) first (on the command line --control FILE)")
    pixels, requests = start(pipeline, structure, caption, n, seed)
    seen, c = edges(pixels).expand(n, -1, -1, -1), pipeline.conditions(requests)
    away = c._replace(keep=torch.zeros_like(c.keep))
    told, nothing = (pipeline.objective.bind(pipeline.control, (pipeline.control.prepare(a), seen)) for a in (c, away))
    denoise = guide(told, nothing, guidance)
    if pipeline.config.codec.kind == "pixels" and pipeline.config.codec.clamp:
        denoise = clamp_x0(denoise, -1.0, 1.0)
    noise = seeded_noise([r.seed for r in requests])
    x = noise(torch.empty(n, *pipeline.latent, device=pipeline.device))
    x = sample(denoise, x, trailing(pipeline.schedule, steps), DpmPP(2), noise)
    return as_images(pipeline.codec.decode(x).clamp(-1, 1))
