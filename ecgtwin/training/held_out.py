"""Which validation ECGs a training is checked on."""

import numpy as np
import torch
from torch import Tensor

from ..ecg.store.recordings import Recordings

HELD = 2048
"""Validation ECGs at most, evenly spread."""


def thinned(places: np.ndarray, most: int = HELD) -> np.ndarray:
    """At most so many of them, evenly spread."""
    return (
        places[np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)] if len(places) else places
    )


def validation(recordings: Recordings) -> Tensor:
    """Validation ECGs: real ones where there are some; whole patients, so that thinning parts no pair."""
    held = recordings.places("validation", simulated=False)
    held = held if len(held) else recordings.places("validation")
    if not len(held):
        raise ValueError("no usable ECG in split validation: prepare a store with such patients")
    if len(held) > HELD:
        people, counts = np.unique(recordings.owner[held], return_counts=True)
        held = held[np.isin(recordings.owner[held], people[np.cumsum(counts) <= HELD])]
    return torch.from_numpy(held)
