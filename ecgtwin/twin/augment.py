"""Another day's electrodes: changes of an ECG that do not change the heart.

Signals are (B, 8, samples) in mV or any linear unit, leads I, II, V1-V6.
"""

import math

import torch
from torch import Tensor


def electrodes(
    x: Tensor, generator: torch.Generator, *, angle: float = 9.0, shift: float = 0.33, gain: float = 0.15
) -> Tensor:
    """Turn the frontal plane, move the precordial leads along the chest and scale each lead, at random per sample.

    `angle`: degrees (sd) of rotation of the frontal plane. `shift`: precordial shift in electrode spacings (sd), by
    linear interpolation between neighbours. `gain`: relative (sd) of each lead; the same gain for all is drawn too.
    """
    b = len(x)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, device="cpu").to(x)

    # I is the x axis and II lies at +60 degrees (Einthoven's triangle), so y, which points down, is (2 II - I) / sqrt 3.
    one, two = x[:, 0], x[:, 1]
    across, down = one, (2 * two - one) / math.sqrt(3)
    turn = normal(b, 1) * math.radians(angle)
    cos, sin = turn.cos(), turn.sin()
    across, down = cos * across - sin * down, sin * across + cos * down
    limb = torch.stack([across, (math.sqrt(3) * down + across) / 2], 1)

    place = (torch.arange(6.0).to(x)[None] + normal(b, 1) * shift + normal(b, 6) * shift / 3).clamp(0, 5)
    low = place.floor().clamp(max=4)
    part = (place - low)[..., None]
    index = low.long()[..., None].expand(-1, -1, x.shape[-1])
    chest = x[:, 2:].gather(1, index) * (1 - part) + x[:, 2:].gather(1, index + 1) * part

    scale = (normal(b, 1, 1) * gain).exp() * (normal(b, 8, 1) * gain / 2).exp()
    return torch.cat([limb, chest], 1) * scale


def disturb(x: Tensor, generator: torch.Generator, rate: float) -> Tensor:
    """Add baseline wander (0.05-0.5 Hz, up to about 0.1 mV) and white noise (up to about 15 uV); x in mV."""
    b, leads, samples = x.shape
    t = torch.arange(samples) / rate

    def uniform(*shape):
        return torch.rand(*shape, generator=generator)

    frequency, phase = 0.05 + 0.45 * uniform(b, leads, 1), 2 * math.pi * uniform(b, leads, 1)
    wander = 0.1 * uniform(b, 1, 1) * uniform(b, leads, 1) * torch.sin(2 * math.pi * frequency * t + phase)
    white = 0.015 * uniform(b, 1, 1) * torch.randn(b, leads, samples, generator=generator)
    return x + wander.to(x) + white.to(x)
