"""Pixels to what the diffusion sees, and back: nothing at all, or the latents of an auto-encoder.

Shapes: B batch · C channels · S side in pixels · Z latent channels · T = S / factor.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from ..nets.vae import VAE


class Codec(Protocol):
    channels: int
    factor: int

    def encode(self, pixels: Tensor) -> Tensor: ...

    def decode(self, z: Tensor) -> Tensor: ...


class Pixels(nn.Module):
    """The identity on pixels in [-1, 1]."""

    factor = 1

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode(self, z: Tensor) -> Tensor:
        return z


class Latents(nn.Module):
    """encode: (B, C, S, S) -> z (B, Z, T, T) of mean 0 and variance 1 per channel over the training set; decode: back."""

    def __init__(self, vae: VAE):
        super().__init__()
        self.vae, self.channels, self.factor = vae, vae.latent, vae.factor
        self.register_buffer("mean", torch.zeros(vae.latent, 1, 1))
        self.register_buffer("std", torch.ones(vae.latent, 1, 1))

    def encode(self, pixels: Tensor) -> Tensor:
        return (self.vae.encode(pixels).mean - self.mean) / self.std

    def decode(self, z: Tensor) -> Tensor:
        return self.vae.decode(z * self.std + self.mean).float()

    @torch.no_grad()
    def calibrate(self, pixels: Tensor) -> None:
        """Measure the mean and spread of the latents of training images (N, C, S, S)."""
        z = torch.cat([self.vae.encode(part.to(self.mean.device)).mean for part in pixels.split(256)])
        self.mean.copy_(z.mean((0, 2, 3))[:, None, None])
        self.std.copy_(z.std((0, 2, 3))[:, None, None])
