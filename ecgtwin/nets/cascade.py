"""The network of a super-resolution stage: a U-Net that sees the coarse sample as channels beside the noisy fine one.

Shapes: B batch · C channels of the fine sample · K of the coarse one · ... spatial axes, the same for both.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..atomic import write_file, write_text
from .layers import mlp, sinusoid
from .unet import UNet

FORMAT = 1
TURNS = 1000.0
"""What a strength in 0 … 1 is multiplied by before its sinusoid code, whose periods are those of timesteps."""


class SuperResolution(nn.Module):
    """x_t (B, C, ...), timestep (B,), (coarse (B, K, ...), strength (B,)) -> prediction (B, C, ...).

    strength: of the noise that lies on the coarse sample (`diffusion.cascade.augment`). The other arguments: `UNet`'s.
    """

    def __init__(
        self,
        channels: int,
        coarse: int,
        *,
        width: int,
        widths: Sequence[int],
        heads: int = 2,
        blocks: int = 1,
        groups: int = 8,
        dims: int = 1,
    ):
        super().__init__()
        self.width = width
        self.time, self.strength = mlp(width, width), mlp(width, width)
        self.unet = UNet(
            channels + coarse, width, widths, heads, out=channels, dims=dims, blocks=blocks, groups=groups, cross=False
        )

    def forward(self, x: Tensor, t: Tensor, condition: tuple[Tensor, Tensor]) -> Tensor:
        coarse, strength = condition
        r = self.time(sinusoid(t, self.width).to(x.dtype))  # (B, width)
        r = r + self.strength(sinusoid(TURNS * strength, self.width).to(x.dtype))
        return self.unet(torch.cat([x, coarse], 1), r)


def save(network: SuperResolution, config: dict[str, Any], folder: Path, *, half: bool = False) -> Path:
    """Write weights.safetensors and config.json, which comes last. half: as float16."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: (v.half() if half else v).cpu().contiguous() for k, v in network.state_dict().items()}
    write_file(folder / "weights.safetensors", lambda part: save_file(tensors, part))
    write_text(folder / "config.json", json.dumps({"format": FORMAT, "cascade": config}, indent=2) + "\n")
    return folder


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and float32 weights that `save` wrote. FileNotFoundError: there is no such folder; ValueError: it
    holds something else, or is damaged."""
    file, weights = folder / "config.json", folder / "weights.safetensors"
    if not file.is_file() or not weights.is_file():
        raise FileNotFoundError(f"no upsampler at {folder}: expected config.json and weights.safetensors")
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        if tree["format"] != FORMAT:
            raise ValueError(f"format {tree['format']}")
        return dict(tree["cascade"]), {k: v.float() for k, v in load_file(weights).items()}
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"{folder} is no upsampler of format {FORMAT}, or damaged: {str(error)[:200]}") from None


def filled(network: SuperResolution, tensors: dict[str, Tensor], folder: Path) -> SuperResolution:
    """A network with the weights of a folder; ValueError where they do not fit its configuration."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"the weights in {folder} do not fit their configuration: {str(error)[:300]}") from None
    return network
