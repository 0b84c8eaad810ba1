"""Networks that wait for their weights: their shapes, and nothing else of what would be made at random and thrown away.

PyTorch's "meta" device does the same, but what else a network makes when it is built (angles, position tables) would be
lost there, and its arithmetic imports the compiler, which takes a second.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

LARGEST = 2**14
"""The longest side of a table that is made when a network is built: no network here is wider."""


class Hollow(TorchFunctionMode):
    """Under it, `torch.empty`, of which layers make their weights, takes no memory whatever its size.

    Weights come by `load_state_dict(…, assign=True)`. Other tensors are made as ever, so sizes are bounded:
    RuntimeError for a side longer than `LARGEST`.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty:
            return func(*args, **kwargs | {"device": "meta"})
        sizes = [n for arg in args for n in (arg if isinstance(arg, tuple | list) else [arg]) if isinstance(n, int)]
        if max(sizes, default=0) > LARGEST:
            raise RuntimeError(f"{func.__name__} of {max(sizes)}: expected at most {LARGEST}")
        return func(*args, **kwargs)
