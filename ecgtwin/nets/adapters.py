"""Small trainable additions to the weights of a frozen network: LoRA, LoCon and LoHa, in a file of their own.

Shapes: O outputs of a layer · I its inputs (of a convolution: input channels x kernel) · R rank.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..atomic import write_file
from .tokens import Rows

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
FORMAT = 1
TRAINED = "trained"
"""Name of the adapter that a training stage attaches."""


@dataclass(frozen=True)
class AdapterConfig:
    """What is added, and where.

    kind: "lora", W + scale B A (Hu et al. 2021, arXiv 2106.09685, eq. 3), which on a convolution is LoCon (Yeh et al.
        2023, arXiv 2309.14859, section 3.2); "loha", W + scale (B1 A1) * (B2 A2) entry by entry, of rank up to R² for
        the numbers of two LoRAs (Hyeon-Woo et al. 2021, arXiv 2108.06098, proposition 1).
    rank: R. scale: alpha / rank of the paper. targets: patterns of layer names ("*" is any text); linear layers and
        convolutions that match any are adapted.
    """

    kind: Literal["lora", "loha"] = "lora"
    rank: int = 4
    scale: float = 1.0
    targets: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if self.kind not in ("lora", "loha") or self.rank < 1 or not self.scale > 0 or not self.targets:
            raise ValueError(f"{self}: give kind lora or loha, rank 1 or more, a scale above 0 and one target or more")


class Delta(nn.Module):
    """The parametrisation of one weight: weight + strength x scale x what was learned,
    which is nothing at the start."""

    def __init__(self, weight: Tensor, name: str, config: AdapterConfig):
        super().__init__()
        self.name, self.config, self.strength = name, config, 1.0
        rows, columns, rank = len(weight), weight[0].numel(), config.rank
        factors = 1 if config.kind == "lora" else 2
        self.down = nn.ParameterList(weight.new_empty(rank, columns).normal_(std=columns**-0.5) for _ in range(factors))
        self.up = nn.ParameterList(weight.new_empty(rows, rank).normal_(std=rank**-0.5) for _ in range(factors))
        nn.init.zeros_(self.up[-1])

    def change(self) -> Tensor:
        """What is added at strength 1: (O, I)."""
        first, *others = (up @ down for up, down in zip(self.up, self.down, strict=True))
        for other in others:
            first = first * other
        return self.config.scale * first

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.strength * self.change().view_as(weight)


class Merged(NamedTuple):
    """What `merge` took out of a network, for `unmerge`: by layer, its own weight and its adapters."""

    weights: dict[str, Tensor]
    deltas: dict[str, list[Delta]]


def attach(network: nn.Module, config: AdapterConfig, name: str) -> None:
    """Give a network an adapter that changes nothing yet. ValueError: the name is taken, or no layer matches.

    Several may be attached; each adds its own. What is already there is neither frozen nor changed.
    """
    if name in names(network):
        raise ValueError(f"an adapter named {name!r} is attached already: give it another name, or remove it first")
    layers = [(path, layer) for path, layer in network.named_modules() if isinstance(layer, LAYERS)]
    wanted = [layer for path, layer in layers if any(fnmatch(path, target) for target in config.targets)]
    if not wanted:
        known = ", ".join(path for path, _ in layers[:8])
        raise ValueError(f"targets {config.targets} match none of {len(layers)} layers: they are called {known} …")
    for layer in wanted:
        parametrize.register_parametrization(layer, "weight", Delta(own_weight(layer).detach(), name, config))


def names(network: nn.Module) -> tuple[str, ...]:
    """The adapters that a network has."""
    return tuple(dict.fromkeys(delta.name for _, delta in deltas(network)))


def parameters(network: nn.Module, name: str) -> list[nn.Parameter]:
    """What an adapter learns."""
    return [p for _, delta in deltas(network, name) for p in delta.parameters()]


def strengths(network: nn.Module) -> dict[str, float]:
    """How much of each adapter is added."""
    return {delta.name: delta.strength for _, delta in deltas(network)}


def strengthen(network: nn.Module, name: str, strength: float) -> None:
    """How much of an adapter is added: 1 as learned, 0 nothing; beyond and below are allowed."""
    if not isfinite(strength):
        raise ValueError(f"strength {strength}: give a finite number, 1 = as learned")
    for _, delta in deltas(network, name):
        delta.strength = strength


@contextmanager
def without(network: nn.Module, name: str) -> Iterator[None]:
    """While an adapter is not added: what the network answered before it."""
    strength = strengths(network)[name]
    strengthen(network, name, 0.0)
    try:
        yield
    finally:
        strengthen(network, name, strength)


def train_only(network: nn.Module, config: AdapterConfig, name: str) -> None:
    """Give a network an adapter that alone is to be trained: its own weights, and other adapters, are frozen."""
    network.requires_grad_(False)
    attach(network, config, name)


def remove(network: nn.Module, name: str) -> None:
    """Take an adapter away; the network's own weights and its other adapters stay, bit for bit."""
    for path in [path for path, _ in deltas(network, name)]:
        layer = network.get_submodule(path)
        kept = [delta for delta in layer.parametrizations.weight if delta.name != name]
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        for delta in kept:
            parametrize.register_parametrization(layer, "weight", delta)


@torch.no_grad()
def merge(network: nn.Module) -> Merged:
    """Add every adapter into the weights, so that it costs nothing any more: the same
    outputs. `unmerge` takes it back."""
    merged = Merged({}, {})
    for path in dict.fromkeys(path for path, _ in deltas(network)):
        layer = network.get_submodule(path)
        merged.weights[path] = own_weight(layer).detach().clone()
        merged.deltas[path] = list(layer.parametrizations.weight)
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return merged


@torch.no_grad()
def unmerge(network: nn.Module, merged: Merged) -> None:
    """The inverse of `merge`, bit for bit."""
    for path, weight in merged.weights.items():
        layer = network.get_submodule(path)
        layer.weight.copy_(weight)
        for delta in merged.deltas[path]:
            parametrize.register_parametrization(layer, "weight", delta)


def tensors(network: nn.Module, name: str) -> dict[str, Tensor]:
    """What an adapter learned, by layer: the content of its file."""
    return {
        f"{at}.{key}": p.detach().cpu().contiguous()
        for at, delta in deltas(network, name)
        for key, p in delta.named_parameters()
    }


def facts(network: nn.Module, name: str) -> dict[str, Any]:
    """What its file says of an adapter: how it is built, and which base it belongs to."""
    _, delta = next(deltas(network, name))
    return {"format": FORMAT, **asdict(delta.config), "base": fingerprint(network)}


def save(network: nn.Module, path: Path, name: str) -> Path:
    """Write one adapter to a safetensors file: what it learned, its configuration, and which base it belongs to.

    The layout is that of the training's weights: their JSON text, with the `facts` under config.adapter.
    """
    learned, meta = (
        tensors(network, name),
        {"json": json.dumps({"config": {"adapter": facts(network, name)}}, sort_keys=True)},
    )
    return write_file(Path(path), lambda part: save_file(learned, part, metadata=meta))


@contextmanager
def merged(network: nn.Module) -> Iterator[None]:
    """While every adapter is in the weights, for writing them."""
    found = merge(network)
    try:
        yield
    finally:
        unmerge(network, found)


def load(
    network: nn.Module, path: Path, *, name: str | None = None, strength: float = 1.0, frozen: bool = False
) -> str:
    """Attach what `save` wrote and return its name, the file's unless told otherwise. frozen: for use, not training.

    FileNotFoundError: there is no such file. ValueError: it is no adapter, or one of another
        base; nothing is attached then.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no adapter at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            learned, meta = {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
        said = dict(json.loads(meta["json"])["config"]["adapter"])
        if said.pop("format") != FORMAT:
            raise ValueError("it is of another format")
        base = said.pop("base")
        config = AdapterConfig(**{k: tuple(v) if k == "targets" else v for k, v in said.items()})
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not an adapter of format {FORMAT}: {str(error)[:200]}") from None
    if base != fingerprint(network):
        raise ValueError(
            f"{path} was trained on another base than this model: its changes mean nothing here; load the "
            "model it belongs to"
        )
    name = name or path.stem
    attach(network, config, name)
    try:
        found = {f"{at}.{key}": p for at, delta in deltas(network, name) for key, p in delta.named_parameters()}
        wrong = found.keys() ^ learned.keys() or {k for k, p in found.items() if p.shape != learned[k].shape}
        if wrong:
            raise ValueError(f"{path} does not fit its own configuration, among others at {min(wrong)}: it is damaged")
        strengthen(network, name, strength)
    except ValueError:
        remove(network, name)
        raise
    with torch.no_grad():
        for key, p in found.items():
            p.copy_(learned[key]).requires_grad_(not frozen)
    return name


def fingerprint(network: nn.Module) -> str:
    """Which base this is: a digest of the names and values of all its parameters, whatever adapters and learned tokens
    it has."""
    own = {id(p) for _, delta in deltas(network) for p in delta.parameters()}
    own |= {id(p) for module in network.modules() if isinstance(module, Rows) for p in module.parameters()}
    plain = {
        k.replace("parametrizations.weight.original", "weight"): p
        for k, p in network.named_parameters()
        if id(p) not in own
    }
    return digest_of(plain)


def digest_of(parameters: dict[str, nn.Parameter | torch.Tensor]) -> str:
    """The fingerprint of a network with these parameters, no adapters among them."""
    digest = hashlib.sha256()
    for key, p in sorted(parameters.items()):
        digest.update(key.encode())
        digest.update(p.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def fingerprint_with(network: nn.Module, base: str) -> str:
    """A digest of a base's own and of the adapters on it with their strengths; the base's own where there are none."""
    found = list(deltas(network))
    if not found:
        return base
    digest = hashlib.sha256(base.encode())
    for path, delta in found:
        digest.update(f"{path} {delta.strength}".encode())
        for p in delta.parameters():
            digest.update((delta.config.scale * p.detach().cpu().float()).contiguous().numpy().tobytes())
    return digest.hexdigest()


def deltas(network: nn.Module, name: str | None = None) -> Iterator[tuple[str, Delta]]:
    """(layer, adapter) for every adapted weight, of one adapter or of all; ValueError where
    there is none of that name."""
    found = [
        (path, delta)
        for path, layer in network.named_modules()
        if isinstance(layer, LAYERS) and parametrize.is_parametrized(layer, "weight")
        for delta in layer.parametrizations.weight
        if isinstance(delta, Delta)
    ]
    if name is not None and all(delta.name != name for _, delta in found):
        raise ValueError(
            f"no adapter named {name!r}: attached are {', '.join(sorted({d.name for _, d in found})) or 'none'}"
        )
    return ((path, delta) for path, delta in found if name in (None, delta.name))


def own_weight(layer: nn.Module) -> Tensor:
    """A layer's weight without adapters."""
    return layer.parametrizations.weight.original if parametrize.is_parametrized(layer, "weight") else layer.weight
