"""Pictures with more pixels: a diffusion of its own under the small picture, the stage that takes ECGs to 500 Hz.

Shapes: B batch · C channels · S side of the fine picture, s = S / factor of the coarse one.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ..diffusion.cascade import Cascade
from ..diffusion.objective import Objective
from ..diffusion.sample import seeded_noise
from ..nets.cascade import SuperResolution, filled, read, save
from ..nets.unet import Stage
from ..train.cascade import CascadeConfig, CascadeStage, Fine
from ..train.device import pick_device
from ..train.plan import Plan, Positive
from ..train.strict import Strict, parse, read_yaml
from .config import DataConfig, PictureConfig
from .dataset import Pictures, gather
from .picture import as_images

BLOCKS = (Stage,)


class UpsamplerConfig(CascadeConfig):
    picture: PictureConfig = PictureConfig(size=32, channels=1)
    """The fine picture."""
    factor: Positive = 4
    """Times that its side is longer than the coarse one's."""
    limit: float | None = Field(1.0, gt=0.0)
    """Pixels are in [-1, 1]."""
    fraction: float = Field(0.9, gt=0.0, le=1.0)
    """Most pixels of such pictures lie at the limits themselves; a higher quantile follows a few that overshoot."""


class UpsamplerSettings(Strict):
    """One YAML file: the stage and its training."""

    cascade: UpsamplerConfig = UpsamplerConfig()
    held: float = Field(0.1, gt=0.0, lt=1.0)
    """Fraction of the pictures that training never sees."""
    train: Plan


def read_settings(path: Path, overrides: list[str]) -> UpsamplerSettings:
    settings = parse(UpsamplerSettings, read_yaml(path, overrides), str(path))
    (height, width), factor = settings.cascade.picture.shape, settings.cascade.factor
    if settings.cascade.picture.buckets:
        raise ValueError(f"{path}: this stage knows one shape: leave cascade.picture.buckets out")
    if height % factor or width % factor:
        raise ValueError(f"{path}: pictures of {height} x {width} pixels are no multiple of factor {factor}")
    return settings


def shrunk(fine: Tensor, factor: int) -> Tensor:
    """Means of factor x factor pixels: (B, C, S, S) -> (B, C, s, s)."""
    return F.avg_pool2d(fine, factor)


def enlarged(coarse: Tensor, factor: int) -> Tensor:
    """(B, C, s, s) -> (B, C, S, S), bicubic."""
    return F.interpolate(coarse, scale_factor=factor, mode="bicubic", align_corners=False)


def build(config: UpsamplerConfig) -> SuperResolution:
    c, channels = config.network, config.picture.channels
    return SuperResolution(
        channels, channels, width=c.width, widths=c.widths, heads=c.heads, blocks=c.blocks, groups=c.groups, dims=2
    )


class PicturePool:
    """Pictures beside themselves with fewer pixels."""

    def __init__(self, pictures: Pictures, config: UpsamplerConfig):
        self.pictures, self.factor = pictures, config.factor
        self.shape = self.coarse = (config.picture.channels, *config.picture.shape)

    def __len__(self) -> int:
        return len(self.pictures)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randint(len(self), (n,), generator=generator)

    def load(self, chosen: Tensor) -> Fine:
        fine = self.pictures.centred(chosen).pixels
        return Fine(fine, enlarged(shrunk(fine, self.factor), self.factor))

    def name(self, chosen: Tensor) -> str:
        return f"picture {int(chosen)} ({self.pictures.captions[int(chosen)]!r})"


def stage_of(settings: UpsamplerSettings, seen: Pictures, held: Pictures) -> CascadeStage:
    config = settings.cascade
    torch.manual_seed(settings.train.seed)
    return CascadeStage(
        build(config),
        settings.train,
        Cascade(Objective.of(config.diffusion), config.strongest, config.limit, config.fraction),
        PicturePool(seen, config),
        PicturePool(held, config),
        blocks=BLOCKS,
        config=settings.model_dump(),
        inputs={"cascade": config.model_dump_json(), "pictures": len(seen)},
    )


class Upsampler:
    """A trained stage. Get one by `Upsampler.from_pretrained(folder)`."""

    def __init__(self, config: UpsamplerConfig, network: SuperResolution, device: str | torch.device = "cpu"):
        self.config, self.device = config, torch.device(device)
        self.cascade = Cascade(Objective.of(config.diffusion), config.strongest, config.limit, config.fraction)
        self.network = network.eval().requires_grad_(False).to(self.device)

    @classmethod
    def from_pretrained(cls, path: str | Path, *, device: str | torch.device = "auto") -> "Upsampler":
        """Load what `save_pretrained` wrote. FileNotFoundError, ValueError: it is none."""
        tree, tensors = read(Path(path))
        config = parse(UpsamplerConfig, tree, str(Path(path) / "config.json"))
        return cls(config, filled(build(config), tensors, Path(path)), pick_device(device))

    def save_pretrained(self, path: str | Path, *, half: bool = False) -> Path:
        return save(self.network, self.config.model_dump(), Path(path), half=half)

    @torch.inference_mode()
    def sample(self, coarse: Tensor, seeds: Sequence[int], *, steps: int | None = None) -> Tensor:
        """Pictures (B, C, s, s) in [-1, 1] -> (B, C, S, S), each from its own seed."""
        c = self.config
        seen = enlarged(coarse.to(self.device), c.factor)
        made = self.cascade.sample(
            self.network,
            seen,
            c.picture.channels,
            noise=seeded_noise(seeds),
            steps=c.steps if steps is None else steps,
            strength=c.strength,
        )
        return made.clamp(-1, 1)

    def upsample(self, images: Sequence[Image.Image], *, seed: int = 0, steps: int | None = None) -> list[Image.Image]:
        """Pictures with `factor` times as many pixels along each side; they are scaled and cut to the coarse size."""
        height, width = (n // self.config.factor for n in self.config.picture.shape)
        coarse = self.config.picture.model_copy(update={"size": height, "width": width})
        small = gather(list(images), [""] * len(images), coarse, DataConfig()).centred().pixels
        return as_images(self.sample(small, [seed + k for k in range(len(small))], steps=steps))
