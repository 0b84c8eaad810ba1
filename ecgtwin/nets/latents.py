"""An auto-encoder with its calibration: samples to what a diffusion sees, and back.

Shapes: B batch · C channels · ... one axis or two, of L values · Z latent channels · T = L / factor.
"""

import torch
from torch import Tensor, nn

from .vae import VAE


class Latents(nn.Module):
    """encode: (B, C, L) -> z (B, Z, T) of mean 0 and variance 1 per channel over the
    training set; decode: back, float32.

    The published constant 0.18215 belongs to another auto-encoder's latents; here the scale is measured. scale: what
    the auto-encoder sees as 1, in the units of a sample.
    """

    def __init__(self, vae: VAE, scale: float = 1.0):
        super().__init__()
        self.vae, self.scale = vae, scale
        self.channels, self.factor = vae.latent, vae.factor
        self.register_buffer("mean", torch.zeros(vae.latent, *[1] * vae.dims))
        self.register_buffer("std", torch.ones(vae.latent, *[1] * vae.dims))

    def encode(self, x: Tensor) -> Tensor:
        return (self.vae.encode(x / self.scale).mean - self.mean) / self.std

    def decode(self, z: Tensor) -> Tensor:
        return self.vae.decode(z * self.std + self.mean).float() * self.scale

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Measure mean and deviation of the latents of training samples (N, C, L)."""
        z = torch.cat([self.vae.encode(part.to(self.mean.device) / self.scale).mean for part in x.split(64)])
        other = [axis for axis in range(z.ndim) if axis != 1]
        self.mean.copy_(z.mean(other).view_as(self.mean))
        self.std.copy_(z.std(other).view_as(self.std))
