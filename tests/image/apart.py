"""A stand-in for a GPU: PyTorch's "meta" device, on which every operation checks that all of its tensors are there."""

from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
META = torch.device("meta")
MOVES = {aten._to_copy.default, aten.copy_.default}


class Apart(TorchDispatchMode):
    """Inside, an operation on tensors of both CPU and meta is an error, as with a GPU. Moved to the
    CPU, they run from 1 to 0."""

    def __init__(self):
        super().__init__()
        self.seen = 0
        """Operations done on the meta device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if not any(x.device == META for x in tensors):
            return func(*args, **kwargs)
        self.seen += 1
        if func in MOVES:
            if func is aten.copy_.default and args[0].device != META:
                return args[0].copy_(ramp(args[0].shape))
            if kwargs.get("device") == torch.device("cpu"):
                return ramp(args[0].shape).to(kwargs.get("dtype") or args[0].dtype)
            return func(*args, **kwargs)
        # Single numbers may come from the CPU, except as indices.
        apart = [x for x in tensors if x.device != META and (x.ndim or func is aten.index.Tensor)]
        if apart:
            raise AssertionError(f"{func} got tensors of {[str(x.device) for x in tensors]}")
        if func is aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else 1
        if func is aten.nonzero.default:
            return torch.zeros(0, args[0].ndim, dtype=torch.long, device=META)
        return func(*args, **kwargs)


def ramp(shape: torch.Size) -> torch.Tensor:
    return torch.linspace(1, 0, shape.numel()).view(shape)


def accelerator():
    """As much of an Accelerator as a training needs, on the meta device."""
    return SimpleNamespace(
        device=META, num_processes=1, process_index=0, is_main_process=True, wait_for_everyone=lambda: None
    )
