"""Batches as nested tuples of tensors with the samples first: cut into parts, moved to a
device, drawn ahead of time."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor


def mapped(batch: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same batch with `change` applied to every tensor; tuples, named or not, stay what
    they are, None stays None."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, tuple):
        parts = [mapped(part, change) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    if batch is None:
        return None
    raise TypeError(f"a batch holds a {type(batch).__name__}: expected tensors, None, and tuples of them")


def cut(batch: Any, part: int, parts: int) -> Any:
    """One of equal parts along the first axis, which all tensors share."""

    def one(x: Tensor) -> Tensor:
        if len(x) % parts:
            raise ValueError(
                f"{len(x)} samples do not go into {parts} equal parts: choose a batch that is a multiple of it"
            )
        size = len(x) // parts
        return x[part * size : (part + 1) * size]

    return mapped(batch, one)


def joined(first: Any, second: Any) -> Any:
    """Two batches of one form, one behind the other."""
    if isinstance(first, Tensor):
        return torch.cat([first, second])
    if first is None:
        return None
    parts = [joined(a, b) for a, b in zip(first, second, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def to(batch: Any, device: torch.device) -> Any:
    return mapped(batch, lambda x: x.to(device, non_blocking=True))


def tensors(batch: Any) -> list[Tensor]:
    found: list[Tensor] = []
    mapped(batch, lambda x: found.append(x) or x)
    return found


def stream(*key: int) -> torch.Generator:
    """A generator for one key, such as (seed, step): draws depend on the key alone, so resuming needs no state."""
    return torch.Generator().manual_seed(key_seed(*key))


def key_seed(*key: int) -> int:
    seed = 0
    for k in key:
        seed = (seed * 1_000_003 + int(k) + 0x9E3779B9) % (2**63)
    return seed


class Drawn(NamedTuple):
    whole: Any
    """Everything random of the whole batch; equal in all processes."""
    own: Any
    """What this process works on, read from disk."""
    waited: float
    """Seconds that the training stood still for it."""


def ahead(steps: Iterator[int], draw: Callable[[int], tuple[Any, Any]], depth: int = 2) -> Iterator[Drawn]:
    """Batches of the given steps, drawn on a thread of their own while the training works on the ones before."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting: deque[Future] = deque()
        try:
            for step in steps:
                waiting.append(pool.submit(draw, step))
                if len(waiting) > depth:
                    yield taken(waiting.popleft())
            while waiting:
                yield taken(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()


def taken(future: Future) -> Drawn:
    start = time.perf_counter()
    whole, own = future.result()
    return Drawn(whole, own, time.perf_counter() - start)
