"""An image model's parts, from configuration, and as a folder: config.json, weights.safetensors and text/."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import torch
from torch import Tensor, nn

from ..atomic import write_text
from ..nets.dit import DiT
from ..nets.hollow import Hollow
from ..nets.latents import Latents
from ..nets.unet import UNet
from ..nets.vae import VAE
from ..text.captions import PAIR, ClipText, PairText, SentenceText, TextModel, Vocabulary
from ..train.checkpoint import json_of, load_tensors, part, refuse_misfit, save_tensors
from ..train.strict import parse
from .config import DataConfig, DiTConfig, ModelConfig, PretrainedTextConfig, UNetConfig
from .network import Caption, ImageNetwork

FORMAT = 1
Frame = tuple[float, float, float, float]


class Pixels(nn.Module):
    """In the place of `Latents` where the diffusion is on the pixels, in [-1, 1], themselves."""

    factor = 1

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode(self, z: Tensor) -> Tensor:
        return z


@dataclass(frozen=True)
class Parts:
    """frame: original height and width, top and left of the crop, of a typical training picture. facts: free text."""

    config: ModelConfig
    text: TextModel
    codec: Pixels | Latents
    network: ImageNetwork
    refiner: ImageNetwork | None
    frame: Frame
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> DataConfig:
        """How its training pictures were read and divided; ValueError where the folder does not say."""
        if not isinstance(self.facts.get("data"), dict):
            raise ValueError("this model does not say how its training pictures were read (facts.data in config.json)")
        return parse(DataConfig, self.facts["data"], "facts.data of the model")

    def modules(self) -> dict[str, nn.Module]:
        named = {"codec": self.codec, "denoiser": self.network, "refiner": self.refiner}
        return {name: module for name, module in named.items() if module is not None}

    def tensors(self) -> dict[str, Tensor]:
        return {f"{name}.{k}": v for name, module in self.modules().items() for k, v in module.state_dict().items()}


def build(config: ModelConfig, text: TextModel, frame: Frame, facts: dict[str, Any] | None = None) -> Parts:
    """Parts with untrained weights."""
    codec = build_codec(config)
    refiner = config.refiner and build_network(config, text, codec, config.refiner.denoiser)
    return Parts(config, text, codec, build_network(config, text, codec, config.denoiser), refiner, frame, facts or {})


def build_codec(config: ModelConfig) -> Pixels | Latents:
    c, channels = config.codec, config.picture.channels
    if c.kind == "pixels":
        return Pixels(channels)
    return Latents(
        VAE(channels, c.latent, c.widths, dims=2, blocks=c.blocks, middle=c.middle, stem=c.stem, groups=c.groups)
    )


def build_network(
    config: ModelConfig, text: TextModel, codec: Pixels | Latents, backbone: UNetConfig | DiTConfig
) -> ImageNetwork:
    c, out = backbone, (2 if config.diffusion.learned_variance else 1) * codec.channels
    if c.kind == "unet":
        blocks = {"attention": c.attention, "blocks": c.blocks, "groups": c.groups, "dropout": c.dropout}
        network = UNet(codec.channels, c.width, c.widths, c.heads, out=out, dims=2, **blocks)
        step = codec.factor * network.factor
    else:
        blocks = {"patch": c.patch, "ratio": c.mlp, "context": c.context, "last": c.last_norm == "modulated"}
        network = DiT(codec.channels, c.width, c.depth, c.heads, out=out, axes=2, **blocks)
        step = codec.factor * c.patch
    if wrong := [shape for shape in config.picture.shapes if any(n % step for n in shape)]:
        height, width = wrong[0]
        raise ValueError(
            f"pictures of {height} x {width} pixels: each side must be a multiple of {step} for this {c.kind}"
        )
    names = len(text.names) if isinstance(text, Vocabulary) else 0
    frame = 6 if config.picture.buckets else 4
    return ImageNetwork(network, Caption(names, text.width, text.length, c.width), c.width, frame)


def build_text(config: ModelConfig, captions: tuple[str, ...]) -> TextModel:
    """The text model that the configuration names; a vocabulary is read off the captions of the training set."""
    c = config.text
    match c.kind:
        case "words" | "labels":
            return Vocabulary.of(captions, c.tokens, whole=c.kind == "labels")
        case "pair":
            return PairText(pretrained(c.first, Path(c.first.path)), pretrained(c.second, Path(c.second.path)))
    return pretrained(c, Path(c.path))


def load_text(config: ModelConfig, folder: Path) -> TextModel:
    """A text model from the folder that it was saved in."""
    c = config.text
    match c.kind:
        case "clip" | "sentence":
            return pretrained(c, folder)
        case "pair":
            first, second = (folder / name for name in PAIR)
            return PairText(pretrained(c.first, first), pretrained(c.second, second))
    path = folder / "vocabulary.json"
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the model folder is incomplete")
    return Vocabulary(words_of(path), c.tokens, whole=c.kind == "labels")


def pretrained(c: PretrainedTextConfig, folder: Path) -> ClipText | SentenceText:
    """A frozen text model from its folder."""
    return ClipText(folder, c.tokens, layer=c.layer) if c.kind == "clip" else SentenceText(folder, c.tokens)


def words_of(path: Path) -> list[str]:
    """The names in a vocabulary's file; ValueError for what is none."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {str(error)[:200]}") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} is damaged: expected a list of words")
    if len(set(names)) < len(names):
        raise ValueError(f"{path} is damaged: it holds a word twice")
    return names


def save(parts: Parts, folder: Path) -> Path:
    """Write a model folder; config.json comes last, so that a folder with one is whole."""
    save_tensors(folder / "weights.safetensors", parts.tensors())
    parts.text.save(folder / "text")
    tree = {"format": FORMAT, "model": parts.config.model_dump(), "frame": parts.frame, "facts": parts.facts}
    write_text(folder / "config.json", json.dumps(tree, indent=2) + "\n")
    return folder


def load(folder: Path) -> Parts:
    """Read what `save` wrote. FileNotFoundError: no model there; ValueError: it is of another format or damaged."""
    path, weights = folder / "config.json", folder / "weights.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"no image model at {folder}: expected config.json, weights.safetensors and text/")
    tree = json_of(path)
    if tree.get("format") != FORMAT or not {"model", "frame"} <= set(tree):
        raise ValueError(f"{path} is not an image model of format {FORMAT}: it holds {brief(sorted(tree))}")
    if not isinstance(tree["model"], dict) or not isinstance(tree.get("facts") or {}, dict):
        raise ValueError(f"{path} is damaged: expected sections 'model' and 'facts'")
    tensors, _ = load_tensors(weights)
    config = parse(ModelConfig, tree["model"], str(path))
    text, frame = load_text(config, folder / "text"), frame_of(tree["frame"], path)
    try:
        with Hollow():  # takes no memory and no time, whatever sizes a damaged configuration asks for
            parts = build(config, text, frame, tree.get("facts"))
    except (RuntimeError, AssertionError, ZeroDivisionError, IndexError, TypeError) as error:
        raise ValueError(f"{path}: these sizes make no network: {str(error)[:200]}") from None
    expected = {name: tuple(tensor.shape) for name, tensor in parts.tensors().items()}
    refuse_misfit(tensors, expected, f"{weights} does not fit {path}")
    for name, module in parts.modules().items():
        # Copies: what is read from a file may be lost with it.
        own = {k: v.to(torch.float32, copy=True) for k, v in part(tensors, name).items()}
        module.load_state_dict(own, assign=True)
    return parts


def frame_of(numbers: Any, path: Path) -> Frame:
    """ValueError for what is no height, width, top and left."""
    if not isinstance(numbers, list) or len(numbers) != 4:
        raise ValueError(f"{path}: frame {brief(numbers)}: expected height, width, top and left")
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < 1e9 for n in numbers):
        raise ValueError(f"{path}: frame {brief(numbers)}: expected four numbers of pixels")
    height, width, top, left = map(float, numbers)
    return height, width, top, left
