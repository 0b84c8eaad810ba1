"""Where networks run: the device of a training, and that of a finished model."""

import os

import torch


def accelerator_of(cpu: bool):
    """What decides the devices and processes of a training: Hugging Face's accelerate. cpu: leave GPUs alone."""
    if cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        from accelerate import Accelerator
    except ImportError:
        raise ValueError('training needs the package accelerate: in a clone of the project, pip install -e ".[train]"') from None
    return Accelerator(cpu=cpu)


def pick_device(name: str | torch.device) -> torch.device:
    """A torch device; "auto" is CUDA, else Apple's MPS, else the CPU. ValueError for an unknown name."""
    if name != "auto":
        try:
            return torch.device(name)
        except RuntimeError:
            raise ValueError(f"device {name!r}: expected auto, cpu, cuda, cuda:1 or mps") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
