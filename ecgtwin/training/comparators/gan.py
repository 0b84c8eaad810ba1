"""A generative adversarial network on signals, in the manner of Pulse2Pulse (Thambawita et al. 2021,
doi:10.1038/s41598-021-01295-2), with the condition told to both sides.

Generator and critic learn in the same step, each from its own loss: log losses with the R1 penalty, under which that
converges locally (Mescheder et al. 2018, arXiv 1801.04406), in the place of Pulse2Pulse's Wasserstein loss.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ...twin.condition import Conditions
from .config import GANConfig
from .networks import Grow, Shrink, Told


class Critic(nn.Module):
    """(B, C, L), conditions -> scores (B,), high for real; by projection on the condition (arXiv 1802.05637, eq. 3)."""

    def __init__(self, channels: int, samples: int, text: int, c: GANConfig):
        super().__init__()
        self.told = Told(text, c.told)
        self.features = Shrink(channels, samples, c.told, c.told, c.widths, c.fold, c.groups)
        self.score = nn.Linear(c.told, 1)

    def forward(self, x: Tensor, c: Conditions) -> Tensor:
        r = self.told(c)
        h = self.features(x, r)
        return self.score(h)[:, 0] + (h * r).sum(1) * h.shape[1] ** -0.5


class GAN(nn.Module):
    sees = "signals"

    def __init__(self, shape: tuple[int, int], text: int, c: GANConfig):
        super().__init__()
        self.noise_shape, self.penalty = (c.latent,), c.penalty
        self.told = Told(text, c.told)
        self.grow = Grow(*shape, c.latent, c.told, c.widths, c.fold, c.groups)
        self.critic = Critic(*shape, text, c)

    def forward(self, x: Tensor, c: Conditions, noise: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        made = self.grow(noise, self.told(c))
        slope = torch.zeros(len(x), device=x.device)
        if torch.is_grad_enabled():
            x = x.detach().requires_grad_()
            real = self.critic(x, c)
            (gradient,) = torch.autograd.grad(real.sum(), x, create_graph=True)
            slope = gradient.square().flatten(1).sum(1)
        else:
            real = self.critic(x, c)
        fake = self.critic(made.detach(), c)
        learns = F.softplus(-real) + F.softplus(fake) + self.penalty / 2 * slope
        # The generator's loss goes through the critic as it is: its weights do not learn from it.
        frozen = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        fools = F.softplus(-functional_call(self.critic, frozen, (made, c)))
        return learns + fools, {"critic": learns, "generator": fools, "real": real, "fake": fake}

    def draw(self, c: Conditions, noise: Tensor) -> Tensor:
        return self.grow(noise, self.told(c))
