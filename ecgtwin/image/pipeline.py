"""Images from captions: a trained model, behind one object."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..diffusion.denoiser import Denoiser, clamp_x0, threshold_x0
from ..diffusion.guidance import classify, guide, within
from ..diffusion.levels import Spacing, trailing
from ..diffusion.objective import Objective
from ..diffusion.sample import seeded_noise, trajectory
from ..diffusion.schedule import Flow, Level, Schedule
from ..diffusion.solvers import DpmPP, Solver
from ..nets import adapters, noisy
from ..nets.attention import Control, steered
from ..nets.control import Controlled
from ..nets.noisy import LOWEST, NoisyClassifier
from ..nets.tokens import rows_written
from ..train.device import pick_device
from . import attention, control, filling, model, subject
from .model import Parts
from .network import Conditions, ImageNetwork
from .picture import as_images

GUIDANCE = 1.5


class Request(NamedTuple):
    """One wanted image. size: (height, width) of the original it should look scaled from; crop: (top, left) of the
    corner it should look cut at; None is what is typical of the training set. shape: (height, width) of the image, one
    of the model's; None: the first of them."""

    caption: str
    seed: int
    size: tuple[float, float] | None = None
    crop: tuple[float, float] | None = None
    shape: tuple[int, int] | None = None


class ImagePipeline:
    """A trained image model. Get one by `ImagePipeline.from_pretrained(folder)`."""

    def __init__(self, parts: Parts, device: str | torch.device = "cpu"):
        self.parts, self.config, self.device = parts, parts.config, torch.device(device)
        for module in parts.modules().values():
            module.eval().requires_grad_(False).to(self.device)
        self.text, self.codec, self.network, self.refiner = parts.text, parts.codec, parts.network, parts.refiner
        self.objective = Objective.of(parts.config.diffusion)
        self.schedule = self.objective.schedule
        self.control: Controlled | None = None

    @classmethod
    def from_pretrained(cls, path: str | Path, *, device: str | torch.device = "auto") -> "ImagePipeline":
        """Load a folder that `save_pretrained` wrote; nothing is fetched. FileNotFoundError, ValueError: it is none.

        device: "auto" (CUDA, else Apple's MPS, else the CPU) or a torch device.
        """
        return cls(model.load(Path(path)), pick_device(device))

    def save_pretrained(self, path: str | Path) -> Path:
        """Write configuration, weights (safetensors) and text model into the folder `path`: the exact inverse."""
        with adapters.merged(self.network), rows_written(self.network.caption.read):
            return model.save(replace(self.parts, text=self.text), Path(path))

    def load_adapter(self, path: str | Path, *, weight: float = 1.0, name: str | None = None) -> str:
        """Add an adapter of the denoiser, as a training with --adapter writes it; returns its name, the file's.

        weight: how much of it, 1 as learned; several adapters add up. ValueError: it is none, belongs to another model,
        or its name is taken. `remove_adapter` takes it away, bit for bit; `save_pretrained` writes the sum.
        """
        return adapters.load(self.network, Path(path), name=name, strength=weight, frozen=True)

    def remove_adapter(self, name: str) -> None:
        """Take an adapter away again. ValueError where there is none of that name."""
        adapters.remove(self.network, name)

    def load_word(self, path: str | Path) -> str:
        """Add a word that `scripts/train_subject.py image` learned; returns it, to be used in captions like any other.

        ValueError: it is none, belongs to another model, or the word is known already. `save_pretrained` writes it.
        """
        return subject.load_word(self, Path(path))

    def load_classifier(self, path: str | Path) -> NoisyClassifier:
        """A classifier of noisy pictures that `scripts/train_classifier.py` trained for this model's codec, for
        `generate(classifier=(…, scale))`. ValueError: it is none, or another codec's."""
        return noisy.load(Path(path), adapters.fingerprint(self.codec)).to(self.device)

    @property
    def adapters(self) -> dict[str, float]:
        """Names of the adapters with how much of each is added."""
        return adapters.strengths(self.network)

    @property
    def latent(self) -> tuple[int, int, int]:
        """Shape (C, rows, columns) of what is denoised: pixels, or a latent."""
        return self.latent_of(self.config.picture.shape)

    def latent_of(self, shape: tuple[int, int]) -> tuple[int, int, int]:
        """The same of an image of a height and width."""
        return self.codec.channels, *(n // self.codec.factor for n in shape)

    def shape_of(self, requests: Sequence[Request]) -> tuple[int, int]:
        """Height and width of a batch. ValueError where they are several, or none that the model knows."""
        known = self.config.picture.shapes
        wanted = {tuple(r.shape or known[0]) for r in requests}
        if len(wanted) > 1 or not wanted <= set(known):
            names = [", ".join(f"{height} x {width}" for height, width in some) for some in (sorted(wanted), known)]
            raise ValueError(f"images of {names[0]} pixels: expected one shape in a batch, of {names[1]}")
        return wanted.pop()

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
        shape, usual, picture = self.shape_of(requests), self.parts.frame, self.config.picture
        original = [n * own / first for n, own, first in zip(usual[:2], shape, picture.shape, strict=True)]
        more = shape if picture.buckets else ()
        rows = [[*(r.size or original), *(r.crop or usual[2:]), *more] for r in requests]
        frame = torch.tensor(rows, dtype=torch.float32)
        return Conditions(values, mask, frame, torch.ones(len(requests), dtype=torch.bool)).to(self.device)

    @torch.no_grad()
    def denoiser(
        self,
        requests: Sequence[Request],
        *,
        guidance: float = GUIDANCE,
        refine: bool = True,
        rescale: float = 0.0,
        interval: tuple[float, float] | None = None,
        negative: str | None = None,
        threshold: float | None = None,
        classifier: tuple[NoisyClassifier, float] | None = None,
        steer: Callable[[Level], Control] | None = None,
    ) -> Denoiser:
        """The guided denoiser for requests, for use with anything in `ecgtwin.diffusion`.

        guidance: scale of the caption (arXiv 2207.12598), 1 = as learned. refine: hand over to the refiner, where the
        model has one, at the noise level below which it was trained. rescale: see `guide`. interval: log-SNR within
        which guidance acts (arXiv 2404.07724), None: always. negative: a caption to go away from, in the place of none.
        threshold: the quantile of dynamic thresholding (arXiv 2205.11487), of pixels, in the place of holding them.
        classifier: one of noisy pictures (`load_classifier`) and how strongly it acts, towards the captions that it
        knows (arXiv 2105.05233).
        steer: what the attention to the caption's words is under at a level, see `nets.attention`.
        """
        c = self.conditions(requests)
        away = None if negative is None else self.conditions([r._replace(caption=negative) for r in requests])

        def guided_by(network: ImageNetwork) -> Denoiser:
            return self.guided(network, c, guidance, away, rescale, interval, steer)

        guided = guided_by(self.network)
        if refine and self.refiner is not None:
            start = self.schedule.level(handover(self.schedule, self.config.refiner.share))
            guided = within(guided_by(self.refiner), guided, start.logsnr, math.inf)
        if classifier is not None:
            judge, scale = classifier
            toward = judge.toward([[r.caption] if r.caption in judge.names else [] for r in requests])
            guided = within(classify(guided, toward, scale), guided, LOWEST, math.inf)
        if threshold is not None:
            if self.config.codec.kind != "pixels":
                raise ValueError("threshold is for models of pixels: latents have no limits")
            return threshold_x0(guided, threshold)
        if self.config.codec.kind == "pixels" and self.config.codec.clamp:
            guided = clamp_x0(guided, -1.0, 1.0)
        return guided

    def guided(
        self,
        network: ImageNetwork,
        c: Conditions,
        guidance: float,
        away: Conditions | None = None,
        rescale: float = 0.0,
        interval: tuple[float, float] | None = None,
        steer: Callable[[Level], Control] | None = None,
    ) -> Denoiser:
        def at(c: Conditions) -> Denoiser:
            return self.objective.bind(network, network.prepare(c))

        away = c._replace(keep=torch.zeros_like(c.keep)) if away is None else away
        wanted = at(c) if steer is None else steered(at(c), network, steer)
        guided = guide(wanted, at(away), guidance, rescale=rescale)
        return guided if interval is None else within(guided, wanted, *interval)

    @torch.no_grad()
    def sample(
        self,
        requests: Sequence[Request],
        *,
        steps: int = 20,
        guidance: float = GUIDANCE,
        solver: Solver | None = None,
        levels: Spacing = trailing,
        refine: bool = True,
        progress: bool = False,
        rescale: float = 0.0,
        interval: tuple[float, float] | None = None,
        negative: str | None = None,
        threshold: float | None = None,
        classifier: tuple[NoisyClassifier, float] | None = None,
        steer: Callable[[Level], Control] | None = None,
    ) -> Tensor:
        """Images (B, C, H, W) in [-1, 1], of one shape. Each sample's noise comes from its own seed alone. levels:
        which are visited, of `ecgtwin.diffusion.levels`; the others: see `denoiser`."""
        noise = seeded_noise([r.seed for r in requests])
        latent = self.latent_of(self.shape_of(requests)) if requests else self.latent
        x = noise(torch.empty(len(requests), *latent, device=self.device))
        how = {"rescale": rescale, "interval": interval, "negative": negative, "threshold": threshold}
        how |= {"classifier": classifier, "steer": steer}
        denoise = self.denoiser(requests, guidance=guidance, refine=refine, **how)
        visited = levels(self.schedule, steps)
        walk = trajectory(denoise, x, visited, solver or DpmPP(2), noise)
        for moment in tqdm(walk, total=len(visited) - 1, desc="denoising", disable=not progress):
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
        shape: tuple[int, int] | None = None,
        refine: bool = True,
        batch: int = 64,
        progress: bool = False,
        levels: Spacing = trailing,
        rescale: float = 0.0,
        interval: tuple[float, float] | None = None,
        negative: str | None = None,
        threshold: float | None = None,
        classifier: tuple[NoisyClassifier, float] | None = None,
    ) -> list[Image.Image]:
        """`n` images of each caption, in the captions' order.

        The k-th image of every caption has seed `seed + k`: it is the same alone or among others, and captions can be
        compared on the same noise. solver: any of `ecgtwin.diffusion.solvers`, DPM-Solver++ 2M unless told otherwise.
        size, crop, shape: as in `Request`. batch: how many are made at once. levels: which are visited, of
        `ecgtwin.diffusion.levels`; rescale, interval, negative, threshold, classifier: see
        `denoiser`.
        """
        if n < 1 or batch < 1:
            raise ValueError(f"n {n}, batch {batch}: expected 1 or more images of each caption, and 1 or more at once")
        captions = [captions] if isinstance(captions, str) else list(captions)
        if not captions:
            raise ValueError("no captions: give one or more")
        requests = [Request(caption, seed + k, size, crop, shape) for caption in captions for k in range(n)]
        options = {"steps": steps, "guidance": guidance, "solver": solver, "levels": levels, "refine": refine}
        options |= {"rescale": rescale, "interval": interval, "negative": negative, "threshold": threshold}
        options["classifier"] = classifier
        made = [
            self.sample(requests[i : i + batch], **options, progress=progress) for i in range(0, len(requests), batch)
        ]
        return as_images(torch.cat(made))

    fill, vary = filling.fill, filling.vary
    load_control, follow = control.load_control, control.follow
    attention, rewrite = attention.attention, attention.rewrite


def handover(schedule: Schedule | Flow, share: float) -> float:
    """The index at which a refiner takes over that knows `share` of the levels, counted from the clean end."""
    return schedule.clean + share * (schedule.noisiest - schedule.clean)
