"""Signals to latents and back: the auto-encoder with the units on both of its ends, for ECGs.

Shapes: B batch · 8 leads I, II, V1-V6 · L samples · P samples of one beat · Z latent channels · T latent samples.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..nets.latents import Latents
from ..nets.vae import VAE
from .config import EqualiserConfig

TAPS = 129
"""Of the equaliser: 1.26 s at 102.4 Hz, of which all but a few ms hold next to nothing."""


class Codec(Latents):
    """encode: mV (B, 8, L) -> z (B, Z, T) of mean 0 and variance 1 per channel over the training set; decode: back.

    equaliser: what sets right the spectrum of what is decoded; None: as the decoder draws it.
    """

    def __init__(self, vae: VAE, scale: float, rate: float, equaliser: EqualiserConfig | None = None):
        super().__init__(vae, scale)
        if equaliser is not None and len(equaliser.db) != vae.channels:
            raise ValueError(
                f"equaliser of {len(equaliser.db)} leads: expected a row of gains for each of {vae.channels}"
            )
        taps = None if equaliser is None else torch.from_numpy(impulse(equaliser, rate))
        self.register_buffer("taps", taps, persistent=False)  # follows from the configuration

    def decode(self, z: Tensor) -> Tensor:
        x = super().decode(z)  # (B, 8, L)
        if self.taps is None:
            return x
        return filtered(x, self.taps)

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


def filtered(x: Tensor, taps: Tensor) -> Tensor:
    """Signals (B, 8, L) through taps (8, 1, TAPS) of an equaliser, as long as they were; their ends are continued."""
    half = min(TAPS // 2, x.shape[-1] - 1)
    middle = slice(TAPS // 2 - half, TAPS // 2 + half + 1)
    padded = F.pad(x, (half, half), mode="replicate")
    with torch.autocast(x.device.type, enabled=False):
        return F.conv1d(padded, taps[..., middle].float(), groups=len(taps))


def impulse(equaliser: EqualiserConfig, rate: float) -> np.ndarray:
    """Taps (leads, 1, TAPS) of the filter without delay that has an equaliser's gains (frequency sampling, under a
    Hann window); float32."""
    f = np.fft.rfftfreq(4096, 1 / rate)
    gain = 10 ** (np.stack([np.interp(f, equaliser.hz, row, left=0.0) for row in equaliser.db]) / 20)
    response = np.roll(np.fft.irfft(gain), TAPS // 2, axis=-1)[:, :TAPS]
    return (response * np.hanning(TAPS + 2)[1:-1])[:, None].astype(np.float32)
