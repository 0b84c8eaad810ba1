"""Another day's electrodes: changes of an ECG that do not change the heart.

Signals are (B, 8, samples) in mV or any linear unit, leads I, II, V1-V6.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Electrodes(NamedTuple):
    """How electrodes differ from where they should be: `draw` it, then `apply` it where the signals are."""

    turn: Tensor
    """(B,) rotation of the frontal plane in radians."""
    place: Tensor
    """(B, 6) where each precordial electrode lies, in electrode spacings from V1."""
    gain: Tensor
    """(B, 8) factor of each lead."""

    @staticmethod
    def draw(n: int, generator: torch.Generator, *, angle: float, shift: float, gain: float) -> "Electrodes":
        """Standard deviations. angle: degrees. shift: of all precordial leads along the chest in spacings, of each a
        third as much. gain: relative, of all leads together, of each half as much."""

        def normal(*shape: int) -> Tensor:
            return torch.randn(n, *shape, generator=generator)

        turn = normal() * math.radians(angle)
        place = (torch.arange(6.0)[None] + normal(1) * shift + normal(6) * shift / 3).clamp(0, 5)
        return Electrodes(turn, place, (normal(1) * gain).exp() * (normal(8) * gain / 2).exp())

    def apply(self, x: Tensor) -> Tensor:
        """The ECGs x as these electrodes see them; precordial leads by linear interpolation between neighbours."""
        # I is the x axis and II lies at +60 degrees (Einthoven's triangle), so y, which points
        # down, is (2 II - I) / sqrt 3.
        across, down = x[:, 0], (2 * x[:, 1] - x[:, 0]) / math.sqrt(3)
        cos, sin = self.turn.cos()[:, None], self.turn.sin()[:, None]
        across, down = cos * across - sin * down, sin * across + cos * down
        limb = torch.stack([across, (math.sqrt(3) * down + across) / 2], 1)
        low = self.place.floor().clamp(max=4)
        part = (self.place - low)[..., None]
        index = low.long()[..., None].expand(-1, -1, x.shape[-1])
        chest = x[:, 2:].gather(1, index) * (1 - part) + x[:, 2:].gather(1, index + 1) * part
        return torch.cat([limb, chest], 1) * self.gain[..., None]


def disturb(x: Tensor, generator: torch.Generator, rate: float, *, wander: float, noise: float) -> Tensor:
    """Add baseline wander (0.05-0.5 Hz, up to `wander`) and white noise (standard deviation
    up to `noise`); all in mV."""
    b, leads, samples = x.shape
    t = torch.arange(samples) / rate

    def uniform(*shape):
        return torch.rand(*shape, generator=generator)

    frequency, phase = 0.05 + 0.45 * uniform(b, leads, 1), 2 * math.pi * uniform(b, leads, 1)
    slow = wander * uniform(b, 1, 1) * uniform(b, leads, 1) * torch.sin(2 * math.pi * frequency * t + phase)
    white = noise * uniform(b, 1, 1) * torch.randn(b, leads, samples, generator=generator)
    return x + slow.to(x) + white.to(x)
