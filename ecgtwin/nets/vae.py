"""Variational auto-encoder, convolutional, over one axis (signals) or two (images).

Shapes: B batch · C channels (leads) · L samples, or H W · Z latent channels · F total down-sampling factor.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import GridAttention, Residual, conv


class Posterior(NamedTuple):
    """A diagonal Gaussian over latents; both tensors are (B, Z, L / F)."""

    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mean + exp(logvar / 2) noise (Kingma and Welling, arXiv 1312.6114, eq. 4)."""
        return self.mean + (0.5 * self.logvar).exp() * noise

    def kl(self) -> Tensor:
        """KL(q || N(0, 1)) element by element (arXiv 1312.6114, appendix B), same shape as the mean."""
        return 0.5 * (self.mean**2 + self.logvar.exp() - 1 - self.logvar)


class VAE(nn.Module):
    """Auto-encoder in the manner of Stable Diffusion's, 1-D as in ECGTwin (METHOD: stage 0), 2-D for images.

    `widths` names one level per stride-2 stage. `stem` > 1 replaces full-rate convolutions, which dominate the cost,
    by one strided convolution in and one sub-pixel convolution out. F = stem x 2 ** len(widths).
    `blocks` residual blocks per level in the encoder and one more in the decoder; `middle` sets those around the
    attention at the lowest rate. widths (128, 256, 512), blocks 2, middle 3 and stem 1 is the published network.
    """

    def __init__(
        self,
        channels: int,
        latent: int,
        widths: tuple[int, ...],
        *,
        dims: int = 1,
        blocks: int = 2,
        middle: int = 3,
        stem: int = 1,
        groups: int = 32,
    ):
        super().__init__()
        self.dims, self.channels, self.latent, self.stem = dims, channels, latent, stem
        self.factor = stem * 2 ** len(widths)
        low, kernel = widths[-1], 3 if stem == 1 else 2 * stem

        def residual(a: int, b: int) -> Residual:
            return Residual(a, b, dims=dims, groups=groups)

        down: list[nn.Module] = [conv(dims, channels, widths[0], kernel, stride=stem, padding=(kernel - stem + 1) // 2)]
        width = widths[0]
        for w in widths:
            for _ in range(blocks):
                down.append(residual(width, w))
                width = w
            down.append(conv(dims, w, w, 3, stride=2, padding=1))
        down += [residual(low, low) for _ in range(middle)]
        down += [GridAttention(low, groups=groups), residual(low, low)]
        head = [nn.GroupNorm(groups, low), nn.SiLU(), conv(dims, low, 2 * latent, 3, padding=1)]
        self.encoder = nn.Sequential(*down, *head, conv(dims, 2 * latent, 2 * latent, 1))

        up: list[nn.Module] = [conv(dims, latent, latent, 1), conv(dims, latent, low, 3, padding=1)]
        up += [residual(low, low), GridAttention(low, groups=groups)]
        up += [residual(low, low) for _ in range(middle + 1)]
        width = low
        for w in reversed(widths):
            up += [nn.Upsample(scale_factor=2), conv(dims, width, width, 3, padding=1)]
            for _ in range(blocks + 1):
                up.append(residual(width, w))
                width = w
        head = [nn.GroupNorm(groups, width), nn.SiLU(), conv(dims, width, channels * stem**dims, 3, padding=1)]
        self.decoder = nn.Sequential(*up, *head)

    def encode(self, x: Tensor) -> Posterior:
        """(B, C, L) -> Posterior of (B, Z, L / F). L must be a multiple of F."""
        if x.shape[1] != self.channels or any(n % self.factor for n in x.shape[2:]):
            raise ValueError(
                f"input of shape {tuple(x.shape)}: expected (B, {self.channels}, ...) "
                f"with lengths divisible by {self.factor}"
            )
        stem = self.encoder[0]
        # On CPUs at full precision: those with AMX get this convolution (few channels, long stride) wrong in
        # bfloat16, by most of its size.
        if x.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                x = stem(x.to(stem.weight.dtype))
        else:
            x = stem(x)
        mean, logvar = self.encoder[1:](x).float().chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, z: Tensor) -> Tensor:
        """(B, Z, L / F) -> (B, C, L)."""
        x = self.decoder(z)
        if self.stem == 1:
            return x
        if self.dims == 1:
            return rearrange(x, "b (c s) l -> b c (l s)", s=self.stem)
        return F.pixel_shuffle(x, self.stem)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Posterior]:
        """Reconstruction and posterior; without noise the mean is decoded."""
        posterior = self.encode(x)
        z = posterior.mean if noise is None else posterior.sample(noise)
        return self.decode(z), posterior


def kl_per_sample(posterior: Posterior) -> Tensor:
    """KL summed over channels and averaged over positions, (B,): the published, very weak regulariser."""
    return posterior.kl().sum(1).flatten(1).mean(1)


def parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def reconstruction_error(x: Tensor, y: Tensor, delta: float = 0.0) -> Tensor:
    """Error summed over the signal, (B,): squared (delta = 0), or Huber's, which a rare artefact cannot dominate."""
    error = (x - y) ** 2 if delta == 0 else 2 * F.huber_loss(y, x, reduction="none", delta=delta)
    return torch.sum(error.flatten(1), 1)
