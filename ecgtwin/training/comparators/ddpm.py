"""A diffusion on the shipped auto-encoder's latents told the condition alone, in the manner of DiffuSETS (Lai et al.
2025, arXiv 2501.05932): the twin's own denoiser, smaller, without base and without draft."""

import torch
from torch import Tensor, nn

from ...diffusion.denoiser import bind
from ...diffusion.guidance import guide
from ...diffusion.levels import trailing
from ...diffusion.loss import min_snr, simple
from ...diffusion.sample import sample
from ...diffusion.schedule import build_schedule
from ...diffusion.solvers import DpmPP
from ...twin.condition import Conditions
from ...twin.network import TwinNetwork
from .config import DDPMConfig


class DDPM(nn.Module):
    sees = "latents"

    def __init__(self, shape: tuple[int, int], text: int, c: DDPMConfig):
        super().__init__()
        self.noise_shape, self.steps, self.guidance = shape, c.steps, c.guidance
        d, self.prediction = c.denoiser, c.diffusion.prediction
        if d.draft or d.network != "dit":
            raise ValueError("ddpm.denoiser: expected network dit and draft false, for it has no reference")
        of = c.diffusion
        self.schedule, self.weight = build_schedule(of), None if of.min_snr is None else min_snr(of.min_snr)
        self.network = TwinNetwork(
            shape[0], text, 1, width=d.width, depth=d.depth, heads=d.heads, patch=d.patch, ratio=d.mlp, inject=d.inject
        )

    def nobody(self, c: Conditions) -> Conditions:
        """No base: the learned null stands for it, always."""
        return c._replace(base=torch.ones_like(c.base[:, :1]), keep_base=torch.zeros_like(c.keep_base))

    def forward(self, x: Tensor, c: Conditions, noise: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        level = (place * self.schedule.length).long()
        return simple(self.network, self.nobody(c), x, level, noise, self.schedule, self.prediction, self.weight), {}

    def draw(self, c: Conditions, noise: Tensor) -> Tensor:
        told = self.nobody(c)
        nothing = told._replace(keep_condition=torch.zeros_like(c.keep_condition))
        toward, away = (bind(self.network, self.network.prepare(x), self.prediction) for x in (told, nothing))
        return sample(guide(toward, away, self.guidance), noise, trailing(self.schedule, self.steps), DpmPP(2))
