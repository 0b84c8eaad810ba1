"""Noise and wander like a fitted recording's own."""

from fractions import Fraction

import numpy as np

from ..median_beat import RATE
from ..record import resample
from .fitted import Fitted


def noise_like(fitted: Fitted, samples: int, rate: float, rng: np.random.Generator | None) -> np.ndarray:
    """Noise (8, samples) in mV: with the spectra and cross-spectra of the recording's own in phases of
    `rng`, or its own as it is (None).

    Surrogates of Prichard and Theiler, Phys Rev Lett 1994; 73:951: one random phase for each
    frequency, the same in all leads.
    """
    long = fitted.floor.shape[1]
    n = round(rate * long / RATE)
    if rng is None:
        out = resampled(fitted.floor, rate)
    else:
        spectrum = fitted.noise_spectrum
        kept = min(n // 2 + 1, spectrum.shape[1])
        turned = np.zeros((8, n // 2 + 1), complex)
        turned[:, 1:kept] = spectrum[:, 1:kept] * np.exp(2j * np.pi * rng.random(kept - 1))
        out = np.fft.irfft(turned, n, axis=1) * (n / long)
    return np.tile(out, -(-samples // out.shape[1]))[:, :samples]


def resampled(signal: np.ndarray, rate: float) -> np.ndarray:
    """A signal at 500 Hz at another rate."""
    up, down = (Fraction(rate).limit_denominator(10_000) / RATE).limit_denominator(2_000).as_integer_ratio()
    return signal if up == down else resample(signal, up, down)
