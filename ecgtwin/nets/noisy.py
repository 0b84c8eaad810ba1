"""A classifier of noisy samples that is told how noisy they are: what classifier guidance asks (Dhariwal and Nichol
2021, arXiv 2105.05233, section 4).

Shapes: B batch · C channels · ... spatial axes · K classes.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from .encoder import Encoder

FORMAT = 1
LOWEST = -6.0
"""log-SNR below which it is not asked: its gradient is nearly all error there, and is multiplied by sigma²/alpha."""


class NoisyClassifier(nn.Module):
    """(B, C, ...) noisy samples and their log-SNR (B,) -> scores (B, K).

    names: of the classes. exclusive: whether a sample is of one class, or may be of several.
    """

    def __init__(self, channels: int, names: Sequence[str], widths: Sequence[int], *, dims: int, exclusive: bool):
        super().__init__()
        self.names, self.exclusive = tuple(names), exclusive
        self.facts: dict[str, Any] = {
            "format": FORMAT, "channels": channels, "names": list(names), "widths": list(widths), "dims": dims,
            "exclusive": exclusive,
        }  # fmt: skip
        self.encoder = Encoder(channels + 1, widths, len(self.names), dims=dims)

    def forward(self, x: Tensor, logsnr: Tensor) -> Tensor:
        level = (logsnr / 5).clamp(-4, 4).to(x).view(-1, *[1] * (x.ndim - 1)).expand_as(x[:, :1])
        return self.encoder(torch.cat([x, level], 1), dropout=0.1)

    def losses(self, x: Tensor, logsnr: Tensor, target: Tensor) -> Tensor:
        """(B,) cross-entropy of targets (B, K), 1 for the classes that a sample is of."""
        scores = self(x, logsnr)
        if self.exclusive:
            return F.cross_entropy(scores, target, reduction="none")
        return F.binary_cross_entropy_with_logits(scores, target, reduction="none").mean(1)

    def log_prob(self, x: Tensor, logsnr: Tensor, wanted: Tensor) -> Tensor:
        """(B,) log-probability that samples are of all classes that are 1 in wanted (B, K)."""
        scores = self(x, logsnr)
        each = scores.log_softmax(1) if self.exclusive else F.logsigmoid(scores)
        return (each * wanted).sum(1)

    def wanted(self, names: Sequence[Sequence[str]]) -> Tensor:
        """(B, K) of the names of each sample's classes; ValueError for one that is not known."""
        target = torch.zeros(len(names), len(self.names))
        for row, own in enumerate(names):
            for name in own:
                if name not in self.names:
                    raise ValueError(f"class {name!r}: this classifier knows {', '.join(self.names[:12])} …")
                target[row, self.names.index(name)] = 1.0
        return target

    def toward(self, names: Sequence[Sequence[str]]) -> Callable[[Tensor, Any], Tensor]:
        """What `diffusion.guidance.classify` asks of a batch: (x, level) -> log-probability of these names (B,)."""
        with torch.inference_mode(False):  # gradients pass by it, also where none are wanted elsewhere
            target = self.wanted(names).to(next(self.parameters()).device)

        def log_prob(x: Tensor, at: Any) -> Tensor:
            return self.log_prob(x, torch.full((len(x),), max(min(at.logsnr, 100.0), -100.0), device=x.device), target)

        return log_prob


def load(path: Path, space: str) -> NoisyClassifier:
    """What a training of it wrote. space: fingerprint of the auto-encoder in whose latents it is to read. ValueError:
    it is none, or of another space; FileNotFoundError."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no classifier at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            tensors, meta = {k: file.get_tensor(k) for k in file.keys()}, json.loads((file.metadata() or {})["json"])
        said = dict(meta["config"]["classifier"])
        if said.pop("format") != FORMAT:
            raise ValueError("it is of another format")
        read = said.pop("space")
        found = NoisyClassifier(said.pop("channels"), said.pop("names"), said.pop("widths"), **said)
        found.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is no noise-aware classifier of format {FORMAT}: {str(error)[:200]}") from None
    if read != space:
        raise ValueError(f"{path} reads another auto-encoder's latents than this model's: train one for this model")
    return found.eval().requires_grad_(False)
