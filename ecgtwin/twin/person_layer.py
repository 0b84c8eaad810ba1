"""The output layer of a base extractor that also reads the median beat, since network and beat know different things
of a person.

A beat is read where two recordings of one heart are alike: it lies with the middle of its QRS, not with what was taken
for R, at the same place; ST-T as at one heart rate; and how the voltages of QRS bend counts by itself, since it hardly
changes with electrodes, breath and the ST segment.

Shapes: B batch · D width of the extractor · E base width · P numbers of a median beat · C of its components.
"""

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn
from torch.nn import functional as F

from ..ecg.beats import FINE, Heartbeat, take
from ..ecg.leads import INDEPENDENT

LEADS = len(INDEPENDENT)
AHEAD = np.linspace(-0.28, -0.10, 10)
COMPLEX = np.linspace(-0.08, 0.08, 33)
BEHIND = np.linspace(0.10, 0.42, 17)
"""Where the median beat is looked at, s around the middle of QRS; BEHIND at an RR interval of `RR`."""
RR = 0.8
POINTS = LEADS * (len(AHEAD) + len(COMPLEX) + len(BEHIND))
CURVES = LEADS * (len(COMPLEX) - 2)
POWER = 0.7
"""Of voltages, with their sign: small waves count beside QRS."""


class PersonLayer(nn.Module):
    """Mean of an extractor's tokens (B, D) and median beats (B, P) in mV -> base vectors (B, E).

    A linear map of directions: that of the mean, that of the beat's components, and that of the components of its QRS's
    second differences. Its weights are a closed form, `training.person_layer`.
    """

    def __init__(self, width: int, base: int, beat: int, curvature: int):
        super().__init__()
        self.beat = nn.Linear(POINTS, beat)
        self.curvature = nn.Linear(CURVES, curvature)
        self.joined = nn.Linear(width + beat + curvature, base)

    def beats_of(self, signals: np.ndarray, rate: float) -> Tensor:
        """Median beats (B, P) in mV of signals (B, 8, L) in mV, as this layer reads them; zeros where none can be
        measured."""
        found = [aligned(x, rate) for x in signals]
        rows = [np.zeros(POINTS) if beat is None else beat.ravel() for beat in found]
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def forward(self, h: Tensor, beats: Tensor) -> Tensor:
        return self.joined(self.directions(h, beats))

    def directions(self, h: Tensor, beats: Tensor) -> Tensor:
        """What the linear map is of, (B, D + C); where no beat was measured its parts are zero, a mean beat's."""
        beats = beats.to(h)
        measured = beats.abs().sum(-1, keepdim=True) > 0
        parts = [self.beat(compressed(beats)), self.curvature(compressed(curves(beats)))]
        return torch.cat([F.normalize(h, dim=-1)] + [F.normalize(x, dim=-1) * measured for x in parts], -1)


def compressed(x: Tensor) -> Tensor:
    """Voltages to the power `POWER`, with their sign."""
    return x.sign() * x.abs() ** POWER


def curves(beats: Tensor) -> Tensor:
    """Second differences of the QRS complexes of beats (B, P) as `aligned` makes them, (B, 8 x 31)."""
    middle = beats.unflatten(-1, (LEADS, -1))[..., len(AHEAD) : len(AHEAD) + len(COMPLEX)]
    return middle.diff(n=2).flatten(-2)


def aligned(signal: np.ndarray, rate: float) -> np.ndarray | None:
    """The median beat (8, P / 8) in mV of a recording (8, L) at `AHEAD`, `COMPLEX` and `BEHIND`; None with fewer than
    three beats."""
    try:
        _, beat = take(signal, rate)
    except ValueError:
        return None
    # ST-T follows the cube root of the RR interval (Fridericia 1920).
    end = COMPLEX[-1]
    behind = end + (BEHIND - end) * np.clip(np.cbrt(beat.rr / RR), 0.7, 1.3)
    shape = beat.shapes[beat.main]
    times = np.arange(shape.shape[-1]) / FINE - beat.before
    at = middle_of_qrs(beat) + np.concatenate([AHEAD, COMPLEX, behind])
    inside = (at >= times[0]) & (at <= times[-1])  # where a fast heart's beat has ended already it is zero
    return CubicSpline(times, shape, axis=-1)(np.clip(at, times[0], times[-1])) * inside


def middle_of_qrs(beat: Heartbeat, window: float = 0.06) -> float:
    """Seconds after R at which the squared speed of all leads together has its centre, in a
    Gaussian window that moves along. R itself may be any peak of a complex; its centre stays."""
    shape = beat.shapes[beat.main]
    times = np.arange(shape.shape[-1]) / FINE - beat.before
    energy = (np.gradient(shape, axis=-1) ** 2).sum(0) * (np.abs(times) <= 0.13)
    at = 0.0
    for _ in range(4):
        weight = energy * np.exp(-0.5 * ((times - at) / window) ** 2)
        at = float((weight * times).sum() / max(weight.sum(), 1e-12))
    return at
