"""A store of simulated people, and a configuration in which every stage trains in seconds, for tests of training."""

from pathlib import Path

import numpy as np
import yaml

from ecgtwin.cli import app
from ecgtwin.ecg.store import Store
from ecgtwin.ecg.store.recordings import Recordings

from .twin.tiny import CONFIG

STAGE = {"steps": 4, "batch": 8, "lr": 1.0e-3, "warmup": 1, "validate_every": 2, "precision": "float32"}
PAIRS = {"real": 0.0, "same": 0.5, "simulated": 0.5}


def write_store(folder: Path, people: int = 24, each: int = 3) -> Store:
    arguments = ["data", "simulate", str(folder), "--people", str(people), "--each", str(each), "--no-progress"]
    app(arguments, standalone_mode=False)
    return Store.open(folder)


def as_if_real(folder: Path, people: int, each: int) -> Recordings:
    """Simulated people whose recordings are not marked as simulated."""
    write_store(folder, people, each)
    flags = folder / "columns" / "flags.npy"
    np.save(flags, np.zeros_like(np.load(flags)))
    return Recordings.of([Store.open(folder)])


def tree(**stages: dict) -> dict:
    """The configuration as a tree; `vae`, `base` and `denoiser` change settings of that stage."""
    train = {
        "vae": STAGE | stages.get("vae", {}),
        "base": STAGE | {"pairs": PAIRS} | stages.get("base", {}),
        "denoiser": STAGE | {"pairs": PAIRS} | stages.get("denoiser", {}),
        "bank": {"targets": 2, "views": 3},
    }
    return {"model": CONFIG, "train": train}


def write_config(path: Path, **stages: dict) -> Path:
    path.write_text(yaml.safe_dump(tree(**stages)))
    return path
