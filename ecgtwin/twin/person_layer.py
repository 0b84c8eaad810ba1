"""The output layer of a base extractor that also reads the median beat, since network and beat know different things
of a person.

Shapes: B batch · D width of the extractor · E base width · P = 8 x 48 numbers of a median beat · C of its components.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..ecg.beats import r_aligned
from ..ecg.leads import INDEPENDENT

GRID = np.linspace(-0.30, 0.45, 48)
"""Where the median beat is looked at, s around R."""
POINTS = len(INDEPENDENT) * len(GRID)


def beats_of(signals: np.ndarray, rate: float) -> Tensor:
    """Median beats (B, P) in mV of signals (B, 8, L) in mV; zeros where none can be measured."""
    found = [r_aligned(x, rate, GRID) for x in signals]
    rows = [np.zeros(POINTS) if beat is None else beat.ravel() for beat in found]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def compressed(beats: Tensor) -> Tensor:
    """Square roots of voltages with their sign: small waves count beside QRS."""
    return beats.sign() * beats.abs().sqrt()


class PersonLayer(nn.Module):
    """Mean of an extractor's tokens (B, D) and median beats (B, P) in mV -> base vectors (B, E).

    A linear map of two directions: that of the mean, and that of the beat's components. Its weights
    are a closed form, `training.person_layer`.
    """

    def __init__(self, width: int, base: int, components: int):
        super().__init__()
        self.beat, self.joined = nn.Linear(POINTS, components), nn.Linear(width + components, base)

    def forward(self, h: Tensor, beats: Tensor) -> Tensor:
        return self.joined(self.directions(h, beats))

    def directions(self, h: Tensor, beats: Tensor) -> Tensor:
        """What the linear map is of, (B, D + C); where no beat was measured its part is zero, a mean beat's."""
        beats = beats.to(h)
        measured = beats.abs().sum(-1, keepdim=True) > 0
        parts = F.normalize(h, dim=-1), F.normalize(self.beat(compressed(beats)), dim=-1) * measured
        return torch.cat(parts, -1)
