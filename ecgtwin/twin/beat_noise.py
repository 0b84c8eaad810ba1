"""The noise that a sample starts from, split into what all its beats share and the rest.

Noise at the same distance from each R peak decides what the usual beat of a sample looks like; the rest decides how its
beats differ from each other, its wander and its noise. Without the first, each sample shows the beat that the model
holds most typical of this person in this state, and looks no less like a recording.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..ecg.beats import AFTER, BEFORE, Beats
from .request import Request

FEWEST = 4
"""Beats, below which the shared part of a strip would be most of it."""
STEP = 0.5
"""Distance of two points of the shared beat, in places of the latent."""


def shared(beats: Beats, places: int, seconds: float) -> np.ndarray:
    """Orthonormal columns (places, K) of what repeats with the beats on a latent's grid over `seconds`: at the same
    distance from every R the same, straight between points `STEP` places apart."""
    place = seconds / places
    rr = float(np.median(np.diff(beats.times)))
    step = STEP * place
    points = np.arange(-min(BEFORE, 0.42 * rr), min(AFTER, 0.70 * rr), step)
    away = (np.arange(places) + 0.5)[:, None] * place - beats.times[None]
    hats = np.maximum(0, 1 - np.abs(away[..., None] - points) / step).sum(1)
    columns, sizes, _ = np.linalg.svd(hats, full_matrices=False)
    return columns[:, sizes > 0.05 * sizes[0]]


def steadied(noise: Tensor, requests: Sequence[Request], rate: float, samples: int, variety: float) -> Tensor:
    """Noise (B, Z, T) of requests with `variety` times what the beats of each share of it, as long a vector as before
    (shorter noise draws less wander); the same where no beats are told, and for nobody's ECG: who it is, too, is chance
    then. rate in Hz and samples: of the signal."""
    if variety == 1:
        return noise
    out = noise.clone()
    for row, request in zip(out, requests, strict=True):
        if request.base is None or request.beats is None or len(request.beats) < FEWEST:
            continue
        columns = shared(request.beats, row.shape[-1], samples / rate)
        columns = torch.from_numpy(columns).to(row)
        length = row.norm()
        row -= (1 - variety) * (row @ columns) @ columns.T
        row *= length / row.norm().clamp_min(1e-6)
    return out
