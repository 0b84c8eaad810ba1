"""Configuration of an image model and of its training."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ..train.diffusion import DiffusionConfig
from ..train.limits import Count, Levels, Size, Widths
from ..train.plan import AdapterPlan, ControlPlan, Fraction, Plan
from ..train.strict import Strict, parse, read_yaml

Side = Annotated[int, Field(ge=1, le=8192)]


class PictureConfig(Strict):
    size: Side = 64
    """Pixels along each side; of pictures that are not square, from top to bottom."""
    width: Side | None = None
    """Pixels from left to right; null: as many as from top to bottom."""
    channels: Literal[1, 3] = 3
    """1: grey, 3: RGB."""
    buckets: tuple[tuple[Side, Side], ...] = ()
    """More heights and widths: each picture is trained in the shape nearest to its own, batches are of one shape, and
    the network is told which (SDXL's aspect buckets, arXiv 2307.01952, section 2.3)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, unless another bucket is asked for."""
        return self.size, self.width or self.size

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """All that the model knows."""
        return tuple(dict.fromkeys((self.shape, *self.buckets)))

    @property
    def alone(self) -> "PictureConfig":
        """The same without other buckets."""
        return self.model_copy(update={"buckets": ()})


class PixelConfig(Strict):
    """Diffusion on the pixels themselves."""

    kind: Literal["pixels"]
    clamp: bool = True
    """Hold every estimate of x0 inside [-1, 1] while sampling."""


class LatentConfig(Strict):
    """Diffusion in the latent space of an auto-encoder; each entry of `widths` halves both sides."""

    kind: Literal["vae"]
    latent: Size = 4
    widths: Widths = (64, 128)
    blocks: Count = 1
    middle: Count = 1
    stem: Size = 1
    groups: Size = 32


class VocabularyConfig(Strict):
    """Embeddings trained from scratch: of each word, or of each whole caption (class labels). Needs no download."""

    kind: Literal["words", "labels"]
    tokens: Size = 16
    """Most words of a caption."""


class PretrainedTextConfig(Strict):
    """Token states of a frozen text model: CLIP's, or any that sentence-transformers reads."""

    kind: Literal["clip", "sentence"]
    path: str
    """Folder of the model, with safetensors weights."""
    tokens: Size = 77
    """Longer captions are cut, as these models do themselves."""
    layer: Annotated[int, Field(ge=-1000, le=-1)] = -1
    """CLIP only: which hidden states; -1 the last after its norm (Stable Diffusion), -2 the one before (SDXL)."""


class PairTextConfig(Strict):
    """Token states of two frozen models side by side (SDXL); the mean of both joins the timestep, as of one."""

    kind: Literal["pair"]
    first: PretrainedTextConfig
    second: PretrainedTextConfig


class UNetConfig(Strict):
    kind: Literal["unet"]
    width: Size = 256
    """Width of conditions: timestep, caption tokens, frame."""
    widths: Widths = (64, 128, 256)
    """Channels of each level; each level has half the resolution of the one before."""
    attention: Levels = (1, 2)
    """Levels that attend to themselves and to the caption; the middle always does."""
    blocks: Count = 2
    heads: Size = 4
    groups: Size = 32
    dropout: Fraction = 0.0


class DiTConfig(Strict):
    kind: Literal["dit"]
    width: Size = 256
    depth: Count = 6
    heads: Size = 8
    patch: Size = 2
    mlp: Size = 4
    context: bool = False
    """Caption tokens join the sequence in the place of cross-attention (DiT's in-context variant)."""
    last_norm: Literal["plain", "modulated"] = "plain"
    """Whether timestep and caption also shift and scale the norm before the head (DiT, arXiv 2212.09748)."""


Backbone = Annotated[UNetConfig | DiTConfig, Field(discriminator="kind")]


class RefinerConfig(Strict):
    """A second denoiser for the last, nearly clean part of a run (SDXL, arXiv 2307.01952, section 2.5)."""

    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """The part of the noise levels, counted from the clean end, on which it is trained and used."""
    denoiser: Backbone


class ModelConfig(Strict):
    """Everything that decides the networks' shapes and what their numbers mean. Stored with the weights."""

    picture: PictureConfig = PictureConfig()
    codec: Annotated[PixelConfig | LatentConfig, Field(discriminator="kind")] = PixelConfig(kind="pixels")
    text: Annotated[VocabularyConfig | PretrainedTextConfig | PairTextConfig, Field(discriminator="kind")]
    denoiser: Backbone
    refiner: RefinerConfig | None = None
    diffusion: DiffusionConfig = DiffusionConfig()


class DataConfig(Strict):
    zoom: Annotated[float, Field(ge=1.0)] = 1.0
    """The shorter side is scaled to zoom x size, then a random size x size corner is cut out."""
    shrunk: Fraction = 0.0
    """Fraction of training draws that are first shrunk to half, so that the model learns what original size means."""
    held: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Fraction of the pictures that training never sees: for validation and evaluation."""


class TrainConfig(Plan):
    adapter: AdapterPlan | None = None
    """Of the denoiser: null: all weights are trained. Else an adapter alone, of the model in --start."""
    control: ControlPlan | None = None
    """Of the denoiser: null: none. Else a control alone that reads edges, of the model in --start."""
    drop_caption: Fraction = 0.1
    kl: float = 1.0e-3


class Stages(Strict):
    vae: TrainConfig | None = None
    denoiser: TrainConfig
    refiner: TrainConfig | None = None


class Config(Strict):
    """One YAML file: the model, its data and its training."""

    model: ModelConfig
    data: DataConfig = DataConfig()
    train: Stages


CONFIGS = Path(__file__).parent / "configs"


def read_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read YAML, apply `section.key=value` overrides, and check that each stage the model needs has its training.

    path: a file, or the name of one inside the package: unet, dit, latent, refiner.
    """
    if (CONFIGS / f"{path}.yaml").is_file():
        path = CONFIGS / f"{path}.yaml"
    config = parse(Config, read_yaml(path, overrides), str(path))
    for name, needed in (("vae", config.model.codec.kind == "vae"), ("refiner", config.model.refiner is not None)):
        if needed and getattr(config.train, name) is None:
            raise ValueError(f"{path}: the model has a {name}, so it needs a section train.{name}")
    return config
