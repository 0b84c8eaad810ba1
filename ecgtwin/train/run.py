"""One training run's folder: checkpoint, averaged weights, losses, progress; and the loop that fills it."""

import csv
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from ..atomic import write_file
from .checkpoint import load_tensors, save_tensors
from .loop import Step, Training, fit
from .stage import Figures, Stage

STOPPED = 143
"""Exit code of a training that was asked to stop: 128 + SIGTERM."""


class Run:
    """Holds `last.safetensors` (to resume), `weights.safetensors` (averaged, to use),
    `losses.csv` and TensorBoard's files."""

    def __init__(self, folder: Path, resume: bool = False):
        """FileExistsError where the folder holds a run that is not to be resumed."""
        self.folder, self.resume = Path(folder), resume
        self.last, self.weights = self.folder / "last.safetensors", self.folder / "weights.safetensors"
        self.losses = self.folder / "losses.csv"
        self.best, self.kept = -float("inf"), {}
        if self.last.exists() and not resume:
            raise FileExistsError(f"{self.last} exists: pass --resume to go on, or another --output to start afresh")

    @contextmanager
    def of(self, training: Training, stage: Stage) -> Iterator["Run"]:
        """While a stage is trained: begin where the last checkpoint ended, and let SIGTERM end
        the training after its step.

        Then SystemExit is raised with code 143. ValueError where the checkpoint was made from other inputs.
        """
        self.training, self.stage = training, stage
        if self.resume and self.last.exists():
            same(load_tensors(self.last)[1].get("inputs", {}), stage.inputs, self.last)
            meta = training.load(self.last)
            self.best, self.kept = meta["best"], meta["figures"]
        if training.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._forget(training.done)
        self.bar = tqdm(total=training.plan.steps, initial=training.done, mininterval=2.0, disable=not training.main)
        self.say(f"stage={stage.name} " + " ".join(f"{k}={v}" for k, v in stage.facts.items()))
        self.shown: Figures = {}
        self.board = board(self.folder / "tensorboard", training.done) if training.main else None
        if training.main and self.board is None:
            self.say("no TensorBoard files: the package tensorboard is not installed")
        try:
            with stopping(training):
                yield self
        finally:
            self.bar.close()
            if self.board is not None:
                self.board.close()
        if training.stopped:
            self.say(f"stopped after step {training.done}; go on with --resume")
            raise SystemExit(STOPPED)
        training.accelerator.wait_for_everyone()

    def say(self, text: str) -> None:
        """A line on the console, from one process, beside the reports on standard output."""
        if self.training.main:
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

    def log(self, step: Step, every: int = 10) -> None:
        """Progress on the console; every tenth step, and with each validation, rows of the
        losses file and TensorBoard."""
        self.bar.update()
        if step.number % every == 0 or self.training.plan.due(step.number):
            rates = {"steps_per_second": 1 / max(step.seconds, 1e-9), "waiting": step.waited / max(step.seconds, 1e-9)}
            self.note(step.figures | rates)
        self.show(step.figures)

    def show(self, figures: Figures) -> None:
        self.shown |= figures
        self.bar.set_postfix({k: f"{v:.4g}" for k, v in self.shown.items() if k != "norm"}, refresh=False)

    def note(self, figures: Figures) -> None:
        """Rows of the losses file and of TensorBoard for the present step."""
        if not self.training.main:
            return
        number = self.training.done
        with self.losses.open("a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(["step", "figure", "value"])
            writer.writerows([number, k, f"{v:.9g}"] for k, v in figures.items())
        for name, value in figures.items() if self.board is not None else ():
            self.board.add_scalar(name, value, number)

    def validate(self) -> Figures:
        """The stage's validation figures of the averaged weights, from the process that
        writes; nothing from the others."""
        if not self.training.main:
            return {}
        with self.averaged() as network:
            figures = self.stage.validate(network)
        self.note(figures)
        self.show(figures)
        return figures

    def keep(self, figures: Figures) -> None:
        """Write the averaged weights with their figures, if no others scored higher; and the
        stage's figure for TensorBoard."""
        score = self.stage.score(figures) if self.training.main else None
        if self.training.main and (score is None or score > self.best):
            self.best, self.kept = (self.best if score is None else score), figures
            meta = {"config": self.stage.config, "figures": figures, "inputs": self.stage.inputs}
            with (
                self.averaged() as network
            ):  # its tensors are the network's own, so they are written before the others come back
                save_tensors(self.weights, self.stage.result(network), meta)
        if self.board is not None:
            with self.averaged() as network:
                figure = self.stage.figure(network)
            if figure is not None:
                self.board.add_figure("example", figure, self.training.done)
        self.training.accelerator.wait_for_everyone()

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The network with its averaged weights, for validation; the trained ones come back afterwards."""
        training = self.training
        kept = {k: v.clone() for k, v in training.network.state_dict().items()}
        training.network.load_state_dict(training.ema.shadow)
        training.network.eval()
        try:
            with torch.no_grad():
                yield training.network
        finally:
            training.network.load_state_dict(kept)
            training.network.train()

    def finish(self, step: Step) -> None:
        """All that is due after a step: its figures, validation, the checkpoint."""
        self.log(step)
        if self.stage.plan.due(step.number):
            self.keep(self.validate())
        if self.stage.plan.saves(step.number) or step.stopping:
            self.save()

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        if not self.training.main:
            return
        try:
            self.training.save(self.last, {"best": self.best, "figures": self.kept, "inputs": self.stage.inputs})
            for power in self.training.powers:
                facts = {
                    "step": self.training.done,
                    "std": power.std,
                    "config": self.stage.config,
                    "inputs": self.stage.inputs,
                }
                save_tensors(
                    self.folder / "averages" / f"{self.training.done:08d}_{power.std:g}.safetensors",
                    power.shadow,
                    facts,
                )
        except OSError as error:
            left = (
                f"that of step {load_tensors(self.last)[1]['step']} is intact"
                if self.last.exists()
                else "there is none yet"
            )
            raise OSError(
                f"checkpoint of step {self.training.done} could not be written to {self.last} ({error}); "
                f"{left}. Make room, then --resume"
            ) from error


def same(before: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    """ValueError naming what differs between a checkpoint's inputs and the present ones."""
    different = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if different:
        told = "; ".join(
            f"{name}: {short(before.get(name))} in the checkpoint, {short(now.get(name))} given" for name in different
        )
        raise ValueError(
            f"{path} was made from other inputs ({told}): give the same ones, or another --output to start afresh"
        )


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


def complete(run: Run, training: Training, stage: Stage) -> Figures:
    """Train a stage to its end as the scripts do: log, validate, keep, save. Returns the
    figures of the kept weights."""
    with run.of(training, stage):
        for step in fit(training, stage):
            run.finish(step)
    return run.kept
