"""What the trainings of all independent readers share: another day's electrodes, the loop, and the file."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import typer
from safetensors.torch import save
from torch import Tensor, nn

from ecgtwin.atomic import write_file
from ecgtwin.metrics.evaluators import restore


def electrodes(x: Tensor, turn: float, move: float, gain: float) -> Tensor:
    """ECGs (B, 8, L) as another day's electrodes would see them. turn: degrees (sd) of the frontal plane; move:
    spacings (sd) along the chest; gain: relative (sd)."""
    b = len(x)
    angle = torch.randn(b, 1) * math.radians(turn)
    across, down = x[:, 0], (2 * x[:, 1] - x[:, 0]) / 3**0.5  # of Einthoven's triangle: I at 0, II at 60 degrees
    across, down = angle.cos() * across - angle.sin() * down, angle.sin() * across + angle.cos() * down
    place = (torch.arange(6.0) + move * torch.randn(b, 1) + move / 2 * torch.randn(b, 6)).clamp(0, 4.999)
    low = place.long()
    part = (place - low)[..., None]
    rows = torch.arange(b)[:, None]
    chest = x[:, 2:]
    chest = chest[rows, low] * (1 - part) + chest[rows, low + 1] * part
    x = torch.cat([across[:, None], ((across + 3**0.5 * down) / 2)[:, None], chest], 1)
    return x * (gain * torch.randn(b, 1, 1) + gain / 2 * torch.randn(b, 8, 1)).exp()


def trained(
    networks: list[nn.Module], steps: int, lr: float, decay: float, loss_of: Callable[[], Tensor], name: str
) -> None:
    """AdamW with a one-cycle rate, bfloat16; ends with the weights' running average."""
    weights = [p for net in networks for p in net.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=lr, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, steps, pct_start=0.15)
    average = [{k: v.detach().clone() for k, v in net.state_dict().items()} for net in networks]
    for net in networks:
        net.train()
    start, total = time.time(), 0.0
    for step in range(1, steps + 1):
        loss = loss_of()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        keep = min(0.998, step / (step + 10))
        for net, mean in zip(networks, average, strict=True):
            for k, v in net.state_dict().items():
                mean[k].lerp_(v, 1 - keep) if v.is_floating_point() else mean[k].copy_(v)
        total += loss.item()
        if step % 50 == 0:
            typer.echo(f"{name} {step}/{steps} loss {total / 50:.4f} {time.time() - start:.0f} s", err=True)
            total = 0.0
    for net, mean in zip(networks, average, strict=True):
        restore(net, mean)


def written(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
    content = save(half, metadata={"json": json.dumps(facts, sort_keys=True)})
    write_file(path, lambda p: p.write_bytes(content))
    typer.echo(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")
