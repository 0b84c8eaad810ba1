"""Structure for a frozen denoiser: a small network beside it that reads a structure on the sample's own grid, such as
one lead of an ECG or the edges of a picture, and adds to what the denoiser works out (ControlNet, Zhang et al. 2023,
arXiv 2302.05543). At the start it adds nothing. It is kept in a file of its own, bound to the denoiser that it is for.

Shapes: B batch · C channels · S channels of the structure · F its samples to one of the grid, along each axis · ...
spatial axes · N tokens · D width.
"""

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from einops import rearrange
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .adapters import fingerprint
from .dit import DiT, Keys
from .layers import CrossAttention, conv
from .unet import GridTransformer, Stage, UNet

FORMAT = 1


@dataclass(frozen=True)
class ControlConfig:
    """structure: S. factor: F. copies: how many of a transformer's blocks, the first, are copied; of a U-Net all of the
    way down and the middle are. hidden: width of the structure's own encoder."""

    structure: int
    factor: int = 1
    copies: int = 3
    hidden: int = 64

    def __post_init__(self) -> None:
        if min(self.structure, self.factor, self.copies, self.hidden) < 1:
            raise ValueError(f"{self}: all of these must be 1 or more")


def zero(layer: nn.Module) -> nn.Module:
    """A layer that answers nothing but zeros until it is trained."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


def without_keys(cross: CrossAttention) -> None:
    """Leave out what makes keys and values of the condition: those that the body has made are used."""
    cross.kv = cross.norm_k = cross.norm_v = nn.Identity()


class Encoded(nn.Module):
    """A structure (B, S, F ...) -> (B, D, ...) on the grid of the sample; zeros at the start."""

    def __init__(self, config: ControlConfig, out: int, dims: int, patch: int = 1):
        """patch: samples of the grid to one of what is worked on."""
        super().__init__()
        self.config, self.dims, factor = config, dims, config.factor * patch
        names = "hw"[:dims]
        grid = "b c " + " ".join(f"({n} f{n})" for n in names)
        self.fold = f"{grid} -> b (c {' '.join(f'f{n}' for n in names)}) {' '.join(names)}"
        self.sizes = {f"f{n}": factor for n in names}
        hidden = config.hidden
        self.layers = nn.Sequential(
            conv(dims, config.structure * factor**dims, hidden, 3, padding=1),
            nn.SiLU(),
            conv(dims, hidden, hidden, 5, padding=2),
            nn.SiLU(),
            conv(dims, hidden, hidden, 5, padding=2),
            nn.SiLU(),
            zero(conv(dims, hidden, out, 1)),
        )

    def forward(self, structure: Tensor) -> Tensor:
        s = self.config.structure
        if structure.ndim != self.dims + 2 or structure.shape[1] != s:
            raise ValueError(f"a structure of shape {tuple(structure.shape)}: expected (B, {s}) and {self.dims} axes")
        return self.layers(rearrange(structure, self.fold, **self.sizes))


class DiTControl(nn.Module):
    """Copies of a transformer's first blocks, which read its tokens and the structure's; each adds to what follows."""

    def __init__(self, body: DiT, config: ControlConfig):
        super().__init__()
        width = body.embed.out_features
        self.config, self.body = config, [body]  # in a list: its weights are no part of the control's
        self.structure = Encoded(config, width, body.axes, body.patch)
        self.blocks = nn.ModuleList(copy.deepcopy(block) for block in body.blocks[: config.copies])
        for block in self.blocks:
            block.requires_grad_(True)
            if hasattr(block, "cross"):
                without_keys(block.cross)
        self.outs = nn.ModuleList(zero(nn.Linear(width, width)) for _ in self.blocks)

    def forward(
        self, x: Tensor, r: Tensor, keys: list[Keys] | None, mask: Tensor | None, structure: Tensor
    ) -> list[Tensor]:
        """What is added to the tokens (B, N, D) after each of the first blocks."""
        body = self.body[0]
        if body.context:
            raise ValueError("a control goes with cross-attention; this network has its condition in context")
        h = body.embed(rearrange(x, f"{body.grid} -> {body.tokens}", **body.sizes))
        h = h + self.structure(structure).flatten(2).transpose(1, 2).to(h.dtype)
        angles, added = body.rotary.angles(tuple(n // body.patch for n in x.shape[2:])), []
        for k, (block, out) in enumerate(zip(self.blocks, self.outs, strict=True)):
            h = block(h, r, angles, keys[k] if keys else None, mask)
            added.append(out(h))
        return added


class UNetControl(nn.Module):
    """Copies of a U-Net's way down and its middle, which read the sample and the structure; each adds to a skip."""

    def __init__(self, body: UNet, config: ControlConfig):
        super().__init__()
        self.config = config
        channels = body.stem.out_channels
        self.structure = Encoded(config, channels, body.dims)
        self.stem, self.down, self.middle = (copy.deepcopy(part) for part in (body.stem, body.down, body.middle))
        self.requires_grad_(True)
        for module in self.modules():
            if isinstance(module, GridTransformer) and hasattr(module, "cross"):
                without_keys(module.cross)
                module.enter = nn.Identity()
        widths = [channels]
        for layer in self.down:
            widths.append(layer.residual.conv2.out_channels if isinstance(layer, Stage) else layer.out_channels)
        self.outs = nn.ModuleList(zero(conv(body.dims, w, w, 1)) for w in (*widths, widths[-1]))

    def forward(
        self, x: Tensor, r: Tensor, keys: list[Keys] | None, mask: Tensor | None, structure: Tensor
    ) -> list[Tensor]:
        """What is added to each skip, in the order in which they are made, and to the middle."""
        waiting = iter(keys or ())

        def run(layer: nn.Module, h: Tensor) -> Tensor:
            if not isinstance(layer, Stage):
                return layer(h)
            return layer(h, r, None if layer.transformer is None else next(waiting, None), mask)

        h = self.stem(x) + self.structure(structure).to(x.dtype)
        seen = [h]
        for layer in self.down:
            seen.append(h := run(layer, h))
        for layer in self.middle:
            h = run(layer, h)
        return [out(a) for out, a in zip(self.outs, (*seen, h), strict=True)]


Control = DiTControl | UNetControl


def control_of(body: DiT | UNet, config: ControlConfig) -> Control:
    """A control of a denoiser's body that changes nothing yet."""
    return DiTControl(body, config) if isinstance(body, DiT) else UNetControl(body, config)


class Controlled(nn.Module):
    """A frozen network with a control: x, t and (condition, structure) -> as the network answers.

    network: called as network(x, t, condition, extra), with `prepare(condition)`.
    """

    def __init__(self, network: nn.Module, control: Control):
        super().__init__()
        self.network, self.control = [network], control  # in a list: what is trained and kept is the control alone

    def prepare(self, condition: Any) -> Any:
        return self.network[0].prepare(condition)

    def forward(self, x: Tensor, t: Tensor, wanted: tuple[Any, Tensor]) -> Tensor:
        condition, structure = wanted

        def extra(x: Tensor, r: Tensor, keys: list[Keys] | None, mask: Tensor | None) -> list[Tensor]:
            return self.control(x, r, keys, mask, structure)

        return self.network[0](x, t, condition, extra)


def facts(network: nn.Module, control: Control, kind: str) -> dict[str, Any]:
    """What a control's file says of it: how it is built, what it reads, and which base it belongs to."""
    return {"format": FORMAT, "kind": kind, **asdict(control.config), "base": fingerprint(network)}


def load(network: nn.Module, body: DiT | UNet, path: Path, kind: str) -> Controlled:
    """What a training kept as weights.safetensors, on its network. kind: what the structure has to be.

    FileNotFoundError: there is no such file. ValueError: it is no control, one of another base or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no control at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            learned, meta = {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
        said = dict(json.loads(meta["json"])["config"]["control"])
        form, own_kind, base = said.pop("format"), said.pop("kind"), said.pop("base")
        if form != FORMAT:
            raise ValueError(f"format {form}")
        config = ControlConfig(**said)
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no control of format {FORMAT}: {str(error)[:200]}") from None
    if own_kind != kind:
        raise ValueError(f"{path} reads {own_kind}, and {kind} are given here: load the control that reads these")
    if base != fingerprint(network):
        raise ValueError(f"{path} was trained beside another base than this model: load the model it belongs to")
    control = control_of(body, config)
    try:
        control.load_state_dict({k: v.float() for k, v in learned.items()})
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit its own configuration: {str(error)[:200]}") from None
    device = next(network.parameters()).device
    return Controlled(network, control).eval().requires_grad_(False).to(device)
