"""Features of whole ECGs that no trained network has a part in: for distances between real and generated sets."""

from collections.abc import Callable, Sequence

import numpy as np

from ..ecg.rhythm import r_peaks
from .identity import median_beats, whitening

BANDS = np.geomspace(0.5, 45.0, 17)
"""Edges in Hz of the spectrum's bands."""


def ecg_features(signals: np.ndarray, rate: float) -> np.ndarray:
    """What an ECG looks like, (N, D): its median beat in every lead (mV), log power of every lead in 16 bands from 0.5
    to 45 Hz, and mean and variation of its RR intervals.

    signals (N, leads, samples) in mV; rate in Hz. The beat shows morphology, the spectrum what lies between the beats
    (fibrillatory waves, noise), the intervals the rhythm. Each of the three is scaled to weigh about the same.
    """
    beats = median_beats(signals, rate)
    power = np.abs(np.fft.rfft(signals * np.hanning(signals.shape[-1]), axis=-1)) ** 2
    place = np.digitize(np.fft.rfftfreq(signals.shape[-1], 1 / rate), BANDS) - 1
    bands = np.stack([power[..., place == k].mean(-1) for k in range(len(BANDS) - 1)], -1)
    spectrum = np.log10(bands + 1e-6).reshape(len(signals), -1)
    rhythm = np.array([intervals(x, rate) for x in signals])
    parts = [beats, spectrum, rhythm]
    return np.concatenate([part / np.sqrt(part.shape[1]) for part in parts], 1)


def band_power(
    signals: np.ndarray, rate: float, floor: float = 0.005, edges: Sequence[float] | np.ndarray = BANDS
) -> np.ndarray:
    """(N, leads * bands): log10 of the mean power in mV² of every lead between `edges` (Hz), as of a sine of that
    amplitude.

    floor: in mV, added to every band as if it held so much noise: what is below (5 uV) nobody sees,
        and must not tell sets apart.
    """
    n = signals.shape[-1]
    window = np.hanning(n)
    power = 2 * np.abs(np.fft.rfft(signals * window, axis=-1)) ** 2 / (n * (window**2).sum())
    place = np.digitize(np.fft.rfftfreq(n, 1 / rate), edges) - 1
    bands = np.stack([power[..., place == k].sum(-1) for k in range(len(edges) - 1)], -1)
    return np.log10(bands + floor**2).reshape(len(signals), -1)


def intervals(x: np.ndarray, rate: float) -> tuple[float, float]:
    """Mean RR interval in s and its coefficient of variation; (0, 0) where there are fewer than 3 beats."""
    gaps = np.diff(r_peaks(x, rate)) / rate
    return (float(gaps.mean()), float(gaps.std() / gaps.mean())) if len(gaps) >= 2 else (0.0, 0.0)


def standardised(real: np.ndarray, components: int = 48, limit: float = 3.0) -> Callable[[np.ndarray], np.ndarray]:
    """A map of features to their first principal components over the real set, each of unit
    variance there, within +-limit.

    Without the limit a few odd recordings, cubed by the kernel, would decide the distance.
    """
    white = whitening(real, components=min(components, len(real) - 1))
    return lambda x: np.clip(white(x), -limit, limit)
