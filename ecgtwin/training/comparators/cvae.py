"""A conditional variational auto-encoder on signals (Sohn et al. 2015, "Learning structured output representation"),
one vector of latents for a whole ECG."""

import torch
from torch import Tensor, nn

from ...nets.vae import Posterior
from ...twin.condition import Conditions
from .config import CVAEConfig
from .networks import Grow, Shrink, Told


class CVAE(nn.Module):
    """The decoder's noise is a learned number (sigma-VAE, Rybkin et al. 2021, arXiv 2006.13202), so that error and
    divergence need no balance set by hand. What is drawn is the decoder's mean."""

    sees = "signals"

    def __init__(self, shape: tuple[int, int], text: int, c: CVAEConfig):
        super().__init__()
        self.noise_shape, self.weight = (c.latent,), c.kl
        self.told = Told(text, c.told)
        self.shrink = Shrink(*shape, 2 * c.latent, c.told, c.widths, c.fold, c.groups)
        self.grow = Grow(*shape, c.latent, c.told, c.widths, c.fold, c.groups)
        self.log_sigma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, c: Conditions, noise: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the evidence lower bound (arXiv 1312.6114, eq. 3) per value, without the constant log(2 pi) / 2."""
        r = self.told(c)
        mean, logvar = self.shrink(x, r).float().chunk(2, 1)
        posterior = Posterior(mean, logvar.clamp(-12, 6))
        y = self.grow(posterior.sample(noise), r).float()
        squared = (x - y).square().flatten(1).mean(1)
        error = self.log_sigma + squared / (2 * (2 * self.log_sigma).exp())
        kl = posterior.kl().sum(1) / x[0].numel()
        return error + self.weight * kl, {"squared": squared, "kl": kl * x[0].numel(), "log_sigma": self.log_sigma}

    def draw(self, c: Conditions, noise: Tensor) -> Tensor:
        return self.grow(noise, self.told(c))
