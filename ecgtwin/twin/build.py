"""From configuration to networks."""

from ..diffusion import schedule as schedules
from ..diffusion.schedule import Schedule
from ..nets.vae import VAE
from .base import BaseExtractor
from .codec import Codec
from .config import ModelConfig
from .network import TwinNetwork

LEADS = 8
"""The networks see the independent leads I, II, V1-V6; the other four follow by Einthoven's law."""


def build_vae(config: ModelConfig) -> VAE:
    c = config.vae
    return VAE(LEADS, c.latent, c.widths, blocks=c.blocks, middle=c.middle, stem=c.stem, groups=c.groups)


def build_base(config: ModelConfig) -> BaseExtractor:
    c = config.base
    return BaseExtractor(
        config.vae.latent,
        config.text.width,
        width=c.width,
        depth=c.depth,
        heads=c.heads,
        patch=c.patch,
        hidden=c.hidden,
        base=c.base,
        condition=c.condition,
    )


def build_denoiser(config: ModelConfig) -> TwinNetwork:
    c = config.denoiser
    return TwinNetwork(
        config.vae.latent,
        config.text.width,
        config.base.base,
        width=c.width,
        depth=c.depth,
        heads=c.heads,
        patch=c.patch,
        ratio=c.mlp,
        statements=config.text.statements,
        inject=c.inject,
        unet=c.unet if c.network == "unet" else None,
    )


def build_codec(config: ModelConfig) -> Codec:
    return Codec(build_vae(config), config.signal.scale)


def build_schedule(config: ModelConfig) -> Schedule:
    c = config.diffusion
    if c.schedule == "cosine":
        return schedules.cosine(c.steps)
    return {"linear": schedules.linear, "scaled_linear": schedules.scaled_linear}[c.schedule](c.steps, c.start, c.end)
