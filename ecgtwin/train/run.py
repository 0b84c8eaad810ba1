"""One training run's folder: checkpoint, averaged weights, losses, progress."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .checkpoint import save_tensors
from .loop import Plan, Step, Training


def plan(stage: Any) -> Plan:
    """The part of a stage's configuration that the loop needs."""
    return Plan(**{name: getattr(stage, name) for name in Plan.__dataclass_fields__})


class Run:
    """Holds `last.safetensors` (to resume), `weights.safetensors` (averaged, to use) and `losses.csv`."""

    def __init__(self, folder: Path, resume: bool = False):
        self.folder, self.resume = Path(folder), resume
        self.last, self.weights = self.folder / "last.safetensors", self.folder / "weights.safetensors"
        if self.last.exists() and not resume:
            raise FileExistsError(f"{self.last} exists: pass --resume to go on, or another --output to start afresh")
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self, training: Training, facts: dict[str, Any]) -> None:
        if self.resume and self.last.exists():
            training.load(self.last)
        self.bar = tqdm(total=training.plan.steps, initial=training.done, mininterval=2.0)
        self.bar.write(" ".join(f"{k}={v}" for k, v in facts.items()))
        self.figures: dict[str, float] = {}

    def log(self, step: Step, every: int = 10) -> None:
        """Progress on the console, and every tenth step a row of the losses file."""
        self.bar.update()
        self.figures.update(step.figures)
        self.bar.set_postfix({k: f"{v:.4g}" for k, v in self.figures.items() if k != "norm"}, refresh=False)
        if step.number % every and len(step.figures) < 3:
            return
        path = self.folder / "losses.csv"
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(["step", "figure", "value"])
            writer.writerows([step.number, k, f"{v:.6g}"] for k, v in step.figures.items())

    @contextmanager
    def averaged(self, training: Training) -> Iterator[nn.Module]:
        """The network with its averaged weights, for validation; the trained ones come back afterwards."""
        kept = {k: v.clone() for k, v in training.network.state_dict().items()}
        training.network.load_state_dict(training.ema.shadow)
        training.network.eval()
        try:
            with torch.no_grad():
                yield training.network
        finally:
            training.network.load_state_dict(kept)
            training.network.train()

    def save(self, training: Training, config: dict[str, Any], figures: dict[str, float] | None = None) -> None:
        training.save(self.last, {"config": config, "figures": figures or {}})

    def keep(self, training: Training, config: dict[str, Any], figures: dict[str, float]) -> None:
        """Write the averaged weights, the run's result so far."""
        self.keep_tensors(training.ema.shadow, config, figures)

    def keep_tensors(self, tensors: dict[str, Tensor], config: dict[str, Any], figures: dict[str, float]) -> None:
        save_tensors(self.weights, tensors, {"config": config, "figures": figures})

    def close(self) -> None:
        self.bar.close()
