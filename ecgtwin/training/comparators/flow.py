"""A normalising flow on the shipped auto-encoder's latents: affine couplings (RealNVP, Dinh et al. 2017, arXiv
1605.08803) between fixed rotations of the channels, each coupling's scale and shift by a small diffusion transformer.

Shapes: B batch · Z latent channels · T latent samples · F fold · C = Z F channels · N = T / F positions.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from ...nets.dit import DiT
from ...twin.condition import Conditions
from .config import FlowConfig
from .networks import Told


class Coupling(nn.Module):
    """x -> y: the channels are rotated, and one half is scaled and shifted by what the other half and the condition
    say. The network starts at zero, so a new coupling is its rotation alone."""

    def __init__(self, channels: int, c: FlowConfig, seed: int):
        super().__init__()
        if channels % 2:
            raise ValueError(f"{channels} channels: expected an even number, to split them in two")
        self.half, self.limit = channels // 2, c.limit
        self.network = DiT(self.half, c.width, c.depth, c.heads, out=channels, cross=False)
        turn = torch.randn(channels, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("turn", torch.linalg.qr(turn)[0].float())  # orthogonal: its log determinant is 0

    def scale_and_shift(self, a: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.network(a, r).float().chunk(2, 1)
        return self.limit * torch.tanh(log_scale / self.limit), shift

    def forward(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        """y (B, C, N), and the logarithm of the volume's change (B,)."""
        a, b = torch.einsum("dc,bcn->bdn", self.turn, x).chunk(2, 1)
        log_scale, shift = self.scale_and_shift(a, r)
        return torch.cat([a, b * log_scale.exp() + shift], 1), log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor, r: Tensor) -> Tensor:
        a, b = y.chunk(2, 1)
        log_scale, shift = self.scale_and_shift(a, r)
        return torch.einsum("dc,bdn->bcn", self.turn, torch.cat([a, (b - shift) * (-log_scale).exp()], 1))


class Flow(nn.Module):
    """Latents (B, Z, T) <-> standard normal noise of the same shape, under a condition."""

    sees = "latents"

    def __init__(self, shape: tuple[int, int], text: int, c: FlowConfig):
        super().__init__()
        if shape[1] % c.fold:
            raise ValueError(f"{shape[1]} latent samples: expected a multiple of fold {c.fold}")
        self.noise_shape, self.fold, self.blur = shape, c.fold, c.noise
        self.told = Told(text, c.width)
        self.couplings = nn.ModuleList(Coupling(shape[0] * c.fold, c, seed) for seed in range(c.couplings))

    def to_noise(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (B, Z, T) and the logarithm of the volume's change (B,)."""
        h = rearrange(x, "b z (n f) -> b (z f) n", f=self.fold)
        volume = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        for coupling in self.couplings:
            h, more = coupling(h, r)
            volume = volume + more
        return rearrange(h, "b (z f) n -> b z (n f)", f=self.fold), volume

    def from_noise(self, noise: Tensor, r: Tensor) -> Tensor:
        """The exact inverse of `to_noise`."""
        h = rearrange(noise, "b z (n f) -> b (z f) n", f=self.fold)
        for coupling in reversed(self.couplings):
            h = coupling.inverse(h, r)
        return rearrange(h, "b (z f) n -> b z (n f)", f=self.fold)

    def log_density(self, x: Tensor, c: Conditions) -> Tensor:
        """log p(x | c) of latents, (B,), nats: log N(f(x); 0, 1) + log |det df/dx| (arXiv 1605.08803, eq. 3)."""
        noise, volume = self.to_noise(x, self.told(c))
        return volume - 0.5 * (noise.square() + math.log(2 * math.pi)).flatten(1).sum(1)

    def forward(self, x: Tensor, c: Conditions, noise: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus log density per value, in nats, of latents with a little noise."""
        return -self.log_density(x + self.blur * noise, c) / x[0].numel(), {}

    def draw(self, c: Conditions, noise: Tensor) -> Tensor:
        return self.from_noise(noise, self.told(c))
