"""A diffusion on the shipped auto-encoder's latents told the condition alone, in the manner of DiffuSETS (Lai et al.
2025, arXiv 2501.05932): the twin's own denoiser, smaller, without base and without draft."""

import torch
from torch import Tensor, nn

from ...diffusion.guidance import guide
from ...diffusion.levels import trailing
from ...diffusion.objective import Objective
from ...diffusion.sample import sample
from ...diffusion.solvers import DpmPP
from ...twin.condition import Conditions
from ...twin.network import TwinNetwork
from .config import DDPMConfig


class DDPM(nn.Module):
    sees = "latents"

    def __init__(self, shape: tuple[int, int], text: int, c: DDPMConfig):
        super().__init__()
        self.noise_shape, self.steps, self.guidance = shape, c.steps, c.guidance
        d, self.objective = c.denoiser, Objective.of(c.diffusion)
        if d.draft or d.network != "dit":
            raise ValueError("ddpm.denoiser: expected network dit and draft false, for it has no reference")
        sizes = {"width": d.width, "depth": d.depth, "heads": d.heads, "patch": d.patch, "ratio": d.mlp}
        variance = c.diffusion.learned_variance
        self.network = TwinNetwork(shape[0], text, 1, **sizes, inject=d.inject, variance=variance)

    def nobody(self, c: Conditions) -> Conditions:
        """No base: the learned null stands for it, always."""
        return c._replace(base=torch.ones_like(c.base[:, :1]), keep_base=torch.zeros_like(c.keep_base))

    def forward(self, x: Tensor, c: Conditions, noise: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        level = (place * self.objective.schedule.length).long()
        return self.objective.losses(self.network, self.nobody(c), x, level, noise), {}

    def draw(self, c: Conditions, noise: Tensor) -> Tensor:
        told = self.nobody(c)
        nothing = told._replace(keep_condition=torch.zeros_like(c.keep_condition))
        toward, away = (self.objective.bind(self.network, self.network.prepare(x)) for x in (told, nothing))
        levels = trailing(self.objective.schedule, self.steps)
        return sample(guide(toward, away, self.guidance), noise, levels, DpmPP(2))
