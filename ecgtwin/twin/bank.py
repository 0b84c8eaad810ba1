"""Views of every recording, as latents: made once by the frozen auto-encoder, then training touches no signal.

A *target* is the recording itself or the same beats at another heart rate; a *view* is that, with another day's
electrodes and noise, from the first or the second half of the recording only or from all of it. Two views of one
recording therefore share no beat, no noise and no electrode position: what they share is the heart.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..ecg.rhythm import r_peaks
from ..ecg.warp import change_rate
from .augment import disturb, electrodes
from .data import Recordings

SINUS = {"SR", "SBRAD", "STACH"}


@dataclass(frozen=True)
class Bank:
    """latents (N, V, Z, T) float16; heart_rate (N, V) in beats/min, NaN where no rate could be measured."""

    latents: Tensor
    heart_rate: Tensor


def codes_at(codes: Iterable[str], heart_rate: float) -> tuple[str, ...]:
    """The SCP codes that stay true at another heart rate: sinus rhythm is renamed by its rate (60 and 100 beats/min),
    and an ECG outside 50-110 beats/min is no longer called normal."""
    codes = tuple(codes)
    if not np.isfinite(heart_rate):
        return codes
    sinus = "SBRAD" if heart_rate < 60 else "STACH" if heart_rate > 100 else "SR"
    kept = [sinus if c in SINUS else c for c in codes]
    if not 50 <= heart_rate <= 110:
        kept = [c for c in kept if c != "NORM"]
    return tuple(dict.fromkeys(kept))


def at_rate(x: np.ndarray, rate: float, peaks: np.ndarray, now: float, wanted: float, start: float) -> np.ndarray | None:
    """The recording at a wanted heart rate, or None where its beats do not allow it."""
    try:
        return change_rate(x, rate, peaks, now / wanted, start=start)
    except ValueError:
        return None


def draw_rate(generator: np.random.Generator, now: float) -> float:
    """A heart rate within a factor of 1.8 of the recording's, 40-170 beats/min, spread evenly on a log scale."""
    low, high = max(40.0, now / 1.8), min(170.0, now * 1.8)
    return float(np.exp(generator.uniform(np.log(low), np.log(high)))) if low < high else now


@torch.no_grad()
def build(
    recordings: Recordings, encode, rate: float, *, targets: int = 6, views: int = 16, seed: int = 0
) -> tuple[Bank, Bank]:
    """Targets and views of all recordings. `encode(signals (B, 8, samples) in mV) -> latents (B, Z, T)`.

    Target 0 is the recording itself. Views come in three equal parts: first half, second half, all of the beats.
    """
    kinds = targets + views
    latents, rates = [], np.full((len(recordings), kinds), np.nan, np.float32)
    generator = np.random.default_rng(seed)
    noise = torch.Generator().manual_seed(seed)
    for row in tqdm(range(len(recordings)), desc="views", mininterval=5):
        x = recordings.millivolts(row)
        peaks = r_peaks(x, rate)
        now = 60 * rate / np.diff(peaks).mean() if len(peaks) >= 3 else np.nan
        signals = np.repeat(x[None], kinds, 0)
        rates[row] = now
        for kind in range(1, kinds) if len(peaks) >= 4 else ():
            part, middle = max(0, kind - targets) * 3 // views, len(peaks) // 2
            chosen = peaks
            if kind >= targets and part < 2 and len(peaks) >= 7:
                chosen = peaks[: middle + 1] if part == 0 else peaks[middle:]
            local = 60 * rate / np.diff(chosen).mean()
            wanted = draw_rate(generator, local)
            changed = at_rate(x, rate, chosen, local, wanted, generator.uniform())
            if changed is not None:
                signals[kind], rates[row, kind] = changed, wanted
        batch = torch.from_numpy(signals)
        batch[targets:] = disturb(electrodes(batch[targets:], noise), noise, rate)
        latents.append(encode(batch - batch.median(-1, keepdim=True).values).half())
    z, hr = torch.stack(latents), torch.from_numpy(rates)
    return Bank(z[:, :targets], hr[:, :targets]), Bank(z[:, targets:], hr[:, targets:])
