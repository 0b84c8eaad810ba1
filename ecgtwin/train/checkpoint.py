"""Checkpoints: named tensors and a small JSON text in one safetensors file, written whole or not at all."""

import json
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..atomic import write_file


def save_tensors(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any] | None = None) -> Path:
    tensors = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
    text = {"json": json.dumps(meta or {}, sort_keys=True)}
    return write_file(path, lambda p: save_file(tensors, p, metadata=text))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {}).get("json", "{}"))
            tensors = {k: file.get_tensor(k) for k in file.keys()}
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, or no safetensors file ({str(error)[:200]}): copy it again") from None
    if not isinstance(meta, dict):
        raise ValueError(f"{path} is damaged: its JSON is a {type(meta).__name__}, expected an object")
    return tensors, meta


def pack_training(network: nn.Module, optimiser: torch.optim.Optimizer, ema: dict[str, Tensor]) -> dict[str, Tensor]:
    """Everything needed to go on exactly: weights, their average and the optimiser's moments."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    return tensors


def unpack_training(tensors: dict[str, Tensor], network: nn.Module, optimiser, ema: dict[str, Tensor]) -> None:
    """The inverse of `pack_training`, in place."""
    network.load_state_dict(part(tensors, "network"))
    for k, v in part(tensors, "ema").items():
        ema[k].copy_(v)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in part(tensors, "optimiser").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under one prefix, without it."""
    return {k.removeprefix(prefix + "."): v for k, v in tensors.items() if k.startswith(prefix + ".")}


def refuse_misfit(tensors: dict[str, Tensor], expected: dict[str, tuple[int, ...]], what: str) -> None:
    """ValueError that names the first tensor which is missing, too many, of another shape or
    not of finite real numbers."""
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            raise ValueError(f"{what}: {brief(name)} is {'missing' if name in expected else 'not part of the model'}")
        if tuple(tensors[name].shape) != expected[name]:
            raise ValueError(f"{what}: {name} has shape {tuple(tensors[name].shape)}, expected {expected[name]}")
        if tensors[name].is_complex() or not torch.isfinite(tensors[name].float()).all():
            raise ValueError(f"{what}: {name} holds numbers that are not finite: the file is damaged")


def json_of(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ValueError for anything else."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {str(error)[:200]}") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{path} holds a {type(tree).__name__}: expected sections with keys")
    return tree
