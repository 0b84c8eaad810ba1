"""One training run's folder: checkpoint, averaged weights, losses, progress; and the loop that fills it."""

import csv
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..atomic import write_file
from .checkpoint import load_tensors, save_tensors
from .loop import Contrast, Objective, Step, Training, fit

STOPPED = 143
"""Exit code of a training that was asked to stop: 128 + SIGTERM."""


class Run:
    """Holds `last.safetensors` (to resume), `weights.safetensors` (averaged, to use), `losses.csv` and TensorBoard's files."""

    def __init__(self, folder: Path, resume: bool = False):
        self.folder, self.resume = Path(folder), resume
        self.last, self.weights = self.folder / "last.safetensors", self.folder / "weights.safetensors"
        self.losses = self.folder / "losses.csv"
        if self.last.exists() and not resume:
            raise FileExistsError(f"{self.last} exists: pass --resume to go on, or another --output to start afresh")

    def start(self, training: Training, facts: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        """Load the last checkpoint where there is one to go on from. Returns what was saved with it.

        inputs: what the training depends on, such as its configuration and the text encoder's fingerprint; ValueError where they
        differ from the checkpoint's.
        """
        self.inputs, meta = inputs, {}
        if self.resume and self.last.exists():
            same(load_tensors(self.last)[1].get("inputs", {}), inputs, self.last)
            meta = training.load(self.last)
        if training.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._forget(training.done)
        self.bar = tqdm(total=training.plan.steps, initial=training.done, mininterval=2.0, disable=not training.main)
        self.say(" ".join(f"{k}={v}" for k, v in facts.items()))
        self.shown: dict[str, float] = {}
        self.board = board(self.folder / "tensorboard", training.done) if training.main else None
        if training.main and self.board is None:
            self.say("no TensorBoard files: the package tensorboard is not installed")
        return meta

    def say(self, text: str) -> None:
        """A line on the console, from one process, beside the reports on standard output."""
        if not self.bar.disable:
            tqdm.write(text, file=sys.stderr)

    def _forget(self, done: int) -> None:
        """Rows of steps that were done after the last checkpoint will be written again."""
        if not self.losses.exists():
            return
        with self.losses.open(newline="") as file:
            head, *rows = list(csv.reader(file)) or [[]]
        rows = [row for row in rows if len(row) == 3 and int(row[0]) <= done]

        def write(path: Path) -> None:
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([head, *rows])

        write_file(self.losses, write)

    def log(self, step: Step, figures: dict[str, float] | None = None, every: int = 10) -> None:
        """Progress on the console; every tenth step, and with validation figures, rows of the losses file and TensorBoard."""
        self.bar.update()
        self.shown |= step.figures | (figures or {})
        self.bar.set_postfix({k: f"{v:.4g}" for k, v in self.shown.items() if k != "norm"}, refresh=False)
        if self.board is None and self.bar.disable:
            return
        rows = dict(figures or {})
        if step.number % every == 0 or figures:
            rows = step.figures | {"steps_per_second": 1 / max(step.seconds, 1e-9), "waiting": step.waited / max(step.seconds, 1e-9)} | rows
        if not rows:
            return
        with self.losses.open("a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(["step", "figure", "value"])
            writer.writerows([step.number, k, f"{v:.9g}"] for k, v in rows.items())
        if self.board is not None:
            for name, value in rows.items():
                self.board.add_scalar(name, value, step.number)

    def show(self, name: str, figure, number: int) -> None:
        """A matplotlib figure on TensorBoard."""
        if self.board is not None:
            self.board.add_figure(name, figure, number)

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

    def save(self, training: Training, meta: dict[str, Any]) -> None:
        """Write the checkpoint, whole or not at all."""
        if training.main:
            try:
                training.save(self.last, {**meta, "inputs": self.inputs})
            except OSError as error:
                left = f"that of step {load_tensors(self.last)[1]['step']} is intact" if self.last.exists() else "there is none yet"
                raise OSError(
                    f"checkpoint of step {training.done} could not be written to {self.last} ({error}); {left}. Make room, then --resume"
                ) from error

    def keep(self, tensors: dict[str, Tensor], config: dict[str, Any], figures: dict[str, float]) -> None:
        """Write the run's result so far."""
        save_tensors(self.weights, tensors, {"config": config, "figures": figures, "inputs": self.inputs})

    def close(self) -> None:
        self.bar.close()
        if self.board is not None:
            self.board.close()


def same(before: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    """ValueError naming what differs between a checkpoint's inputs and the present ones."""
    different = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if different:
        told = "; ".join(f"{name}: {short(before.get(name))} in the checkpoint, {short(now.get(name))} given" for name in different)
        raise ValueError(f"{path} was made from other inputs ({told}): give the same ones, or another --output to start afresh")


def short(value: Any, longest: int = 200) -> str:
    text = str(value)
    return text if len(text) <= longest else text[:longest] + "…"


def board(folder: Path, done: int):
    """A writer of TensorBoard files, or None where the package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=done + 1)


@contextmanager
def stopping(training: Training) -> Iterator[None]:
    """SIGTERM asks the training to stop after the step that it is in, so that it can be saved."""

    def ask(number, frame):
        training.stop = True

    try:
        before = signal.signal(signal.SIGTERM, ask)
    except ValueError:  # not the main thread: whoever owns that one decides
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def carry_out(
    run: Run,
    training: Training,
    objective: Objective | Contrast,
    *,
    config: dict[str, Any],
    inputs: dict[str, Any],
    facts: dict[str, Any],
    validate: Callable[[nn.Module], dict[str, float]],
    score: Callable[[dict[str, float]], float] | None = None,
    picture: Callable[[nn.Module], Any] | None = None,
    deliver: Callable[[nn.Module], dict[str, Tensor]] | None = None,
) -> dict[str, float]:
    """Train a stage to its end: log, validate, save, keep. Returns the figures of the kept weights.

    config: stored with the weights. inputs: see `Run.start`. facts: shown at the start. score: of the validation figures, the best
    ones' weights are kept; None keeps the last. picture: a matplotlib figure for TensorBoard. deliver: what is kept of the averaged
    network; None: its weights. On SIGTERM the checkpoint is written and SystemExit raised with code 143.
    """
    meta = run.start(training, facts, inputs)
    best, kept = meta.get("best", -float("inf")), meta.get("figures", {})
    plan = training.plan
    with stopping(training):
        for step in fit(training, objective):
            figures: dict[str, float] = {}
            if plan.due(step.number):
                if training.main:
                    with run.averaged(training) as network:
                        figures = validate(network)
                        if picture is not None and run.board is not None:
                            run.show("example", picture(network), step.number)
                        found = best if score is None else score(figures)
                        if score is None or found > best:
                            best, kept = found, figures
                            run.keep(deliver(network) if deliver else network.state_dict(), config, figures)
                training.accelerator.wait_for_everyone()
            run.log(step, figures)
            if plan.saves(step.number) or step.stopping:
                run.save(training, {"best": best, "figures": kept})
            if step.stopping:
                run.say(f"stopped after step {step.number}; go on with --resume")
                run.close()
                raise SystemExit(STOPPED)
    run.close()
    training.accelerator.wait_for_everyone()
    return kept
