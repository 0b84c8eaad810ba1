"""Tiny models, pictures and text models for the tests of images."""

import json
from pathlib import Path

import torch

from ecgtwin.image.config import Config, DataConfig, ModelConfig, PictureConfig
from ecgtwin.image.dataset import DIGITS, Pictures, gather
from ecgtwin.image.model import build, build_text
from ecgtwin.image.pipeline import ImagePipeline
from ecgtwin.train.strict import parse

UNET = {"kind": "unet", "width": 16, "widths": [8, 8], "attention": [1], "blocks": 1, "heads": 2, "groups": 4}
DIT = {"kind": "dit", "width": 16, "depth": 1, "heads": 2, "patch": 2, "mlp": 2}
VAE = {"kind": "vae", "latent": 2, "widths": [8], "groups": 4}
CAPTIONS = tuple(f"a handwritten {digit}" for digit in DIGITS)


def model_config(denoiser=UNET, **more) -> ModelConfig:
    tree = {"picture": {"size": 8, "channels": 1}, "text": {"kind": "words", "tokens": 6}, "denoiser": denoiser}
    return parse(ModelConfig, tree | more, "test")


def config(denoiser=UNET, data=None, **more) -> Config:
    stage = {"steps": 2, "batch": 4, "lr": 1.0e-3, "warmup": 1, "validate_every": 1}
    stages = {"denoiser": stage} | {
        name: stage for name, key in (("vae", "codec"), ("refiner", "refiner")) if key in more
    }
    tree = {"model": model_config(denoiser, **more).model_dump(), "data": data or {"held": 0.25}, "train": stages}
    return parse(Config, tree, "test")


def pictures(n: int = 40, size: int = 8, channels: int = 1, data: DataConfig | None = None) -> Pictures:
    """Noise with a bright row whose place is the digit of the caption."""
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    images = []
    for k in range(n):
        x = torch.randint(100, (10, 10, 3), generator=generator, dtype=torch.uint8)
        x[k % 10] = 255
        images.append(Image.fromarray(x.numpy()))
    picture = PictureConfig(size=size, channels=channels)
    return gather(images, [CAPTIONS[k % 10] for k in range(n)], picture, data or DataConfig())


def write_pictures(place: Path, n: int) -> Path:
    """These pictures in a folder, captioned by a table."""
    from PIL import Image

    found = pictures(n)
    rows = ["file,caption"]
    for k, (x, caption) in enumerate(zip(found.images, found.captions, strict=True)):
        Image.fromarray(x[0].numpy()).save(place / f"{k}.png")
        rows.append(f"{k}.png,{caption}")
    (place / "captions.csv").write_text("\n".join(rows) + "\n")
    return place


def wake(module):
    """Move zero-initialised layers off zero, so that every path shows."""
    torch.manual_seed(1)
    for p in module.parameters():
        if not p.abs().sum():
            torch.nn.init.normal_(p, std=0.1)
    return module


def pipeline(denoiser=UNET, captions=CAPTIONS, **more) -> ImagePipeline:
    """An untrained pipeline whose every path shows."""
    settings = model_config(denoiser, **more)
    torch.manual_seed(0)
    parts = build(settings, build_text(settings, captions), (10.0, 10.0, 1.0, 1.0), {"data": {"held": 0.25}})
    for module in parts.modules().values():
        wake(module)
    return ImagePipeline(parts)


def write_clip(folder):
    """A random CLIP with its tokenizer, in the form in which they are published."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    side = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    names = [
        "<|startoftext|>",
        "<|endoftext|>",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    vocabulary = {name: k for k, name in enumerate(names)}
    torch.manual_seed(0)
    settings = CLIPConfig(
        text_config=side
        | {"vocab_size": len(names), "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 1},
        vision_config=side | {"image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = CLIPModel(settings)
    for p in model.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.3)  # far enough from each other that features differ
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    return folder
