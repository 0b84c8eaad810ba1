"""Where networks run: the device of a training, and that of a finished model."""

import os
from reprlib import repr as brief

import torch


def accelerator_of(cpu: bool):
    """What decides the devices and processes of a training: Hugging Face's accelerate. cpu: leave GPUs alone."""
    if cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        from accelerate import Accelerator
    except ImportError:
        raise ValueError(
            'training needs the package accelerate: in a clone of the project, pip install -e ".[train]"'
        ) from None
    return Accelerator(cpu=cpu)


def pick_device(name: str | torch.device) -> torch.device:
    """A torch device; "auto" is CUDA, else Apple's MPS, else the CPU. ValueError for an unknown name."""
    if name != "auto":
        try:
            device = torch.device(name)
        except (RuntimeError, TypeError):
            raise ValueError(f"device {brief(name)}: expected auto, cpu, cuda, cuda:1 or mps") from None
        refuse_absent(device)
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def refuse_absent(device: torch.device) -> None:
    """ValueError where this machine, or this build of PyTorch, has no such device."""
    here = {"cpu": 1, "meta": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) < here.get(device.type, 0):
        return
    built = "" if device.type != "cuda" or torch.backends.cuda.is_built() else "; this PyTorch is built for CPUs alone"
    raise ValueError(
        f"device '{device}': there is none here{built}. Use cpu (on the command line --device cpu), or auto"
    )
