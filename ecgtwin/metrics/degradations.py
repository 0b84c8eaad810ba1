"""Real ECGs made worse by known amounts: the yardstick beside every distance. Worse ones must score worse.

From least to worst: nothing, a round trip through 100 Hz, noise of 0.05 mV, a blur to 8 Hz, time reversed.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
from scipy.signal import butter, sosfiltfilt

from ..ecg.record import resample

Degradation = Callable[[np.ndarray, float], np.ndarray]


def through_100_hz(x: np.ndarray, rate: float) -> np.ndarray:
    """Resampled to 100 Hz and back; signals (N, leads, samples) at `rate`, a multiple of 0.1 Hz."""
    a, b = Fraction(1000, round(rate * 10)).as_integer_ratio()
    out = [resample(resample(one, a, b), b, a)[:, : x.shape[-1]] for one in x]
    return np.stack([np.pad(o, ((0, 0), (0, x.shape[-1] - o.shape[1])), mode="edge") for o in out])


def noisy(x: np.ndarray, rate: float, size: float = 0.05, seed: int = 0) -> np.ndarray:
    """With white noise of `size` mV (standard deviation)."""
    return x + np.random.default_rng(seed).normal(0, size, x.shape).astype(x.dtype)


def blurred(x: np.ndarray, rate: float, edge: float = 8.0) -> np.ndarray:
    """Without what is above `edge` Hz (Butterworth of order 4, forward and backward)."""
    return sosfiltfilt(butter(4, edge, fs=rate, output="sos"), x, axis=-1).astype(x.dtype)


def backwards(x: np.ndarray, rate: float) -> np.ndarray:
    """In reversed time: every spectrum is kept, no heart beats so."""
    return x[..., ::-1].copy()


LADDER: dict[str, Degradation] = {
    "real": lambda x, rate: x,
    "100 Hz round trip": through_100_hz,
    "+0.05 mV noise": noisy,
    "8 Hz blur": blurred,
    "time-reversed": backwards,
}


def misranked(values: Mapping[str, float], *, worse_is_more: bool = True, tie: float = 0.01) -> list[str]:
    """What a metric gets wrong about neighbours on the ladder, in words; [] where it ranks them all. Only the rungs in
    `values` are looked at. tie: values nearer than this share of their whole range are not told apart."""
    rungs = [name for name in LADDER if name in values]
    if len(rungs) < 2:
        return []
    sign = 1 if worse_is_more else -1
    least = tie * (max(values[r] for r in rungs) - min(values[r] for r in rungs))
    found = []
    for a, b in zip(rungs, rungs[1:], strict=False):
        step = sign * (values[b] - values[a])
        if step <= -least:
            found.append(f"ranks {b} before {a}")
        elif step < least:
            found.append(f"does not tell {b} from {a}")
    return found
