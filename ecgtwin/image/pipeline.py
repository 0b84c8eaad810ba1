"""Images from captions: a trained model, behind one object."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..diffusion.denoiser import Denoiser, bind, clamp_x0
from ..diffusion.guidance import guide, within
from ..diffusion.levels import trailing
from ..diffusion.sample import seeded_noise, trajectory
from ..diffusion.schedule import Flow, Schedule, build_schedule
from ..diffusion.solvers import DpmPP, Solver
from ..train.device import pick_device
from . import model
from .model import Parts
from .network import Conditions, ImageNetwork
from .picture import as_images

GUIDANCE = 1.5


class Request(NamedTuple):
    """One wanted image. size: (height, width) of the original it should look scaled from; crop: (top, left) of the
    corner it should look cut at; None is what is typical of the training set."""

    caption: str
    seed: int
    size: tuple[float, float] | None = None
    crop: tuple[float, float] | None = None


class ImagePipeline:
    """A trained image model. Get one by `ImagePipeline.from_pretrained(folder)`."""

    def __init__(self, parts: Parts, device: str | torch.device = "cpu"):
        self.parts, self.config, self.device = parts, parts.config, torch.device(device)
        for module in parts.modules().values():
            module.eval().requires_grad_(False).to(self.device)
        self.text, self.codec, self.network, self.refiner = parts.text, parts.codec, parts.network, parts.refiner
        self.schedule = build_schedule(parts.config.diffusion)

    @classmethod
    def from_pretrained(cls, path: str | Path, *, device: str | torch.device = "auto") -> "ImagePipeline":
        """Load a folder that `save_pretrained` wrote; nothing is fetched. FileNotFoundError, ValueError: it is none.

        device: "auto" (CUDA, else Apple's MPS, else the CPU) or a torch device.
        """
        return cls(model.load(Path(path)), pick_device(device))

    def save_pretrained(self, path: str | Path) -> Path:
        """Write configuration, weights (safetensors) and text model into the folder `path`: the exact inverse."""
        return model.save(self.parts, Path(path))

    def conditions(self, requests: Sequence[Request]) -> Conditions:
        """Requests as tensors; ValueError for a caption that the text model cannot take, a size that is not positive
        and finite, a corner that is negative, and where there is no request."""
        if not requests:
            raise ValueError("no requests: give one caption or more")
        for r in requests:
            if not all(0 < n < math.inf for n in r.size or (1,)) or not all(0 <= n < math.inf for n in r.crop or (0,)):
                raise ValueError(
                    f"size {r.size}, crop {r.crop}: give finite pixels, the size above 0 and the crop not below 0"
                )
        values, mask = self.text.encode([r.caption for r in requests])
        usual = self.parts.frame
        frame = torch.tensor([[*(r.size or usual[:2]), *(r.crop or usual[2:])] for r in requests], dtype=torch.float32)
        return Conditions(values, mask, frame, torch.ones(len(requests), dtype=torch.bool)).to(self.device)

    @torch.no_grad()
    def denoiser(self, requests: Sequence[Request], *, guidance: float = GUIDANCE, refine: bool = True) -> Denoiser:
        """The guided denoiser for requests, for use with anything in `ecgtwin.diffusion`.

        guidance: scale of the caption (arXiv 2207.12598), 1 = as learned. refine: hand over to the refiner, where the
        model has one, at the noise level below which it was trained.
        """
        c = self.conditions(requests)
        guided = self.guided(self.network, c, guidance)
        if refine and self.refiner is not None:
            start = self.schedule.level(handover(self.schedule, self.config.refiner.share))
            guided = within(self.guided(self.refiner, c, guidance), guided, start.logsnr, math.inf)
        if self.config.codec.kind == "pixels" and self.config.codec.clamp:
            guided = clamp_x0(guided, -1.0, 1.0)
        return guided

    def guided(self, network: ImageNetwork, c: Conditions, guidance: float) -> Denoiser:
        def at(c: Conditions) -> Denoiser:
            return bind(network, network.prepare(c), self.config.diffusion.prediction)

        return guide(at(c), at(c._replace(keep=torch.zeros_like(c.keep))), guidance)

    @torch.no_grad()
    def sample(
        self,
        requests: Sequence[Request],
        *,
        steps: int = 20,
        guidance: float = GUIDANCE,
        solver: Solver | None = None,
        refine: bool = True,
        progress: bool = False,
    ) -> Tensor:
        """Images (B, C, S, S) in [-1, 1]. Each sample's noise comes from its own seed alone."""
        noise = seeded_noise([r.seed for r in requests])
        side = self.config.picture.size // self.codec.factor
        x = noise(torch.empty(len(requests), self.codec.channels, side, side, device=self.device))
        denoise = self.denoiser(requests, guidance=guidance, refine=refine)
        walk = trajectory(denoise, x, trailing(self.schedule, steps), solver or DpmPP(2), noise)
        for moment in tqdm(walk, total=steps, desc="denoising", disable=not progress):
            x = moment.x
        return self.codec.decode(x).clamp(-1, 1)

    def generate(
        self,
        captions: str | Sequence[str],
        n: int = 1,
        *,
        steps: int = 20,
        guidance: float = GUIDANCE,
        seed: int = 0,
        solver: Solver | None = None,
        size: tuple[float, float] | None = None,
        crop: tuple[float, float] | None = None,
        refine: bool = True,
        batch: int = 64,
        progress: bool = False,
    ) -> list[Image.Image]:
        """`n` images of each caption, in the captions' order.

        The k-th image of every caption has seed `seed + k`: it is the same alone or among others, and captions can be
        compared on the same noise. solver: any of `ecgtwin.diffusion.solvers`, DPM-Solver++ 2M unless told otherwise.
        size, crop: as in `Request`. batch: how many are made at once.
        """
        if n < 1 or batch < 1:
            raise ValueError(f"n {n}, batch {batch}: expected 1 or more images of each caption, and 1 or more at once")
        captions = [captions] if isinstance(captions, str) else list(captions)
        if not captions:
            raise ValueError("no captions: give one or more")
        requests = [Request(caption, seed + k, size, crop) for caption in captions for k in range(n)]
        made = [
            self.sample(
                requests[i : i + batch], steps=steps, guidance=guidance, solver=solver, refine=refine, progress=progress
            )
            for i in range(0, len(requests), batch)
        ]
        return as_images(torch.cat(made))


def handover(schedule: Schedule | Flow, share: float) -> float:
    """The index at which a refiner takes over that knows `share` of the levels, counted from the clean end."""
    return schedule.clean + share * (schedule.noisiest - schedule.clean)
