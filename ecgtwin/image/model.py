"""An image model's parts, from configuration, and as a folder: config.json, weights.safetensors and text/."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..atomic import write_text
from ..nets.dit import DiT
from ..nets.latents import Latents
from ..nets.unet import UNet
from ..nets.vae import VAE
from ..text.captions import ClipText, SentenceText, TextModel, Vocabulary
from ..train.checkpoint import load_tensors, part, save_tensors
from ..train.strict import parse
from .config import DiTConfig, ModelConfig, UNetConfig
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
    if config.picture.size % step:
        raise ValueError(f"pictures of {config.picture.size} pixels: this {c.kind} needs a multiple of {step}")
    names = len(text.names) if isinstance(text, Vocabulary) else 0
    return ImageNetwork(network, Caption(names, text.width, text.length, c.width), c.width)


def build_text(config: ModelConfig, captions: tuple[str, ...]) -> TextModel:
    """The text model that the configuration names; a vocabulary is read off the captions of the training set."""
    c = config.text
    if c.kind in ("words", "labels"):
        return Vocabulary.of(captions, c.tokens, whole=c.kind == "labels")
    return load_text(config, Path(c.path))


def load_text(config: ModelConfig, folder: Path) -> TextModel:
    """A text model from its folder."""
    c = config.text
    match c.kind:
        case "clip":
            return ClipText(folder, c.tokens, layer=c.layer)
        case "sentence":
            return SentenceText(folder, c.tokens)
    path = folder / "vocabulary.json"
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the model folder is incomplete")
    return Vocabulary(json.loads(path.read_text(encoding="utf-8")), c.tokens, whole=c.kind == "labels")


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
    try:
        tree = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if tree.get("format") != FORMAT or not {"model", "frame"} <= set(tree):
        raise ValueError(f"{path} is not an image model of format {FORMAT}: it holds {sorted(tree)}")
    config = parse(ModelConfig, tree["model"], str(path))
    parts = build(config, load_text(config, folder / "text"), tuple(tree["frame"]), tree.get("facts"))
    tensors, _ = load_tensors(weights)
    for name, module in parts.modules().items():
        try:
            module.load_state_dict(part(tensors, name))
        except RuntimeError as error:
            raise ValueError(f"{weights} does not fit {path}: {error}") from None
    return parts
