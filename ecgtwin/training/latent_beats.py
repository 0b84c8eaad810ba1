"""Median beats of a bank's latents, for an extractor that reads both."""

import numpy as np
import torch
from torch import Tensor

from ..twin.base import BaseExtractor
from ..twin.codec import Codec


class LatentBeats:
    """Each is measured on the decoded latent when it is first drawn, and kept as float16 (1 kB)."""

    def __init__(self, codec: Codec, base: BaseExtractor, rate: float):
        self.codec, self.base, self.rate = codec, base, rate
        self.found: dict[tuple[int, ...], np.ndarray] = {}

    @torch.no_grad()
    def of(self, places: list[tuple[int, ...]], latents: Tensor) -> Tensor:
        """Median beats (B, P) in mV of latents (B, Z, T), each of a place of its own in the bank."""
        new = [k for k, place in enumerate(places) if place not in self.found]
        if new:
            decoded = self.codec.decode(latents[new].float().to(self.codec.mean.device)).float().cpu().numpy()
            beats = self.base.out.beats_of(decoded, self.rate).half().numpy()
            self.found |= {places[k]: beat for k, beat in zip(new, beats, strict=True)}
        return torch.from_numpy(np.stack([self.found[place] for place in places])).float()
