"""Signals to latents and back: the auto-encoder with the units on both of its ends, for ECGs.

Shapes: B batch · 8 leads I, II, V1-V6 · P samples of one beat · Z latent channels · T latent samples.
"""

import torch
from torch import Tensor

from ..nets.latents import Latents


class Codec(Latents):
    """encode: mV (B, 8, L) -> z (B, Z, T) of mean 0 and variance 1 per channel over the training set; decode: back."""

    def encode_beat(self, beat: Tensor) -> Tensor:
        """Canonical beats (B, 8, P) in mV -> z (B, Z, T): of one turn of a strip of such beats, T the
        even number from P / factor on.

        In float32 everywhere: the beats are few.
        """
        with torch.autocast(beat.device.type, enabled=False):
            strip = beat.float().repeat(1, 1, 4)
            strip = strip - strip.median(-1, keepdim=True).values
            turn = beat.shape[-1] // self.vae.factor
            return self.encode(strip)[..., turn : 2 * turn + turn % 2]
