"""Signals to latents and back: the auto-encoder with the units on both of its ends.

Shapes: B batch · 8 leads I, II, V1-V6 · L samples · Z latent channels · T = L / factor.
"""

import torch
from torch import Tensor, nn

from ..nets.vae import VAE


class Codec(nn.Module):
    """encode: mV (B, 8, L) -> z (B, Z, T) of mean 0 and variance 1 per channel over the training set; decode: back.

    The published constant 0.18215 belongs to another auto-encoder's latents; here the scale is measured.
    """

    def __init__(self, vae: VAE, scale: float):
        super().__init__()
        self.vae, self.scale = vae, scale
        self.register_buffer("mean", torch.zeros(vae.latent, 1))
        self.register_buffer("std", torch.ones(vae.latent, 1))

    def encode(self, signal: Tensor) -> Tensor:
        return (self.vae.encode(signal / self.scale).mean - self.mean) / self.std

    def encode_beat(self, beat: Tensor) -> Tensor:
        """Canonical beats (B, 8, P) in mV -> z (B, Z, T): of one turn of a strip of such beats, T the even number from P / factor on.

        In float32 everywhere: the beats are few.
        """
        with torch.autocast(beat.device.type, enabled=False):
            strip = beat.float().repeat(1, 1, 4)
            strip = strip - strip.median(-1, keepdim=True).values
            turn = beat.shape[-1] // self.vae.factor
            return self.encode(strip)[..., turn : 2 * turn + turn % 2]

    def decode(self, z: Tensor) -> Tensor:
        return self.vae.decode(z * self.std + self.mean).float() * self.scale

    @torch.no_grad()
    def calibrate(self, signals: Tensor) -> None:
        """Measure mean and standard deviation of the latents of training signals (N, 8, L) in mV."""
        z = torch.cat([self.vae.encode(chunk / self.scale).mean for chunk in signals.split(64)])
        self.mean.copy_(z.mean((0, 2))[:, None])
        self.std.copy_(z.std((0, 2))[:, None])
