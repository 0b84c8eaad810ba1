"""The whole recipe: a store in, a model that generates out. Stages whose output is there and whose inputs are unchanged are skipped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..atomic import write_text
from ..ecg.store.recordings import Recordings
from ..text.table import StatementTable
from ..train.checkpoint import load_tensors
from ..train.run import Run
from .base import train_base
from .config import Config
from .denoiser import train_twin
from .export import export
from .vae import train_vae
from .weights import Where, digest, inputs, load_codec, load_extractor

Report = Callable[[str], None]


def train_all(
    settings: Config, recordings: Recordings, table: StatementTable, output: Path, *, least: int = 5, half: bool = False,
    accelerator: Accelerator | None = None, report: Report = lambda _: None,
) -> dict[str, Any]:
    """Train what is missing under `output`: vae/, base/, twin/, and write model/. Returns what was done and each stage's figures.

    A stage that was interrupted goes on from its checkpoint; one whose inputs have changed starts afresh.
    """
    accelerator = accelerator or Accelerator()
    vae, base, twin = (output / name / "weights.safetensors" for name in ("vae", "base", "twin"))

    def where(stage: Path) -> Where:
        return Where(stage.parent, resume=True, accelerator=accelerator)

    steps: list[tuple[str, Path, Callable[[], dict[str, Any]], Callable[[], dict[str, Any]]]] = [
        ("vae", vae, lambda: inputs(settings, "vae", recordings), lambda: train_vae(settings, recordings, where(vae))),
        (
            "base", base,
            lambda: inputs(settings, "base", recordings, table=table, vae=load_codec(vae)[1]),
            lambda: train_base(settings, recordings, vae, table, where(base)),
        ),
        (
            "twin", twin,
            lambda: inputs(settings, "twin", recordings, table=table, vae=load_codec(vae)[1], base=load_extractor(base)[1]),
            lambda: train_twin(settings, recordings, vae, base, table, where(twin)),
        ),
    ]  # fmt: skip
    done: dict[str, Any] = {}
    for name, weights, needs, train in steps:
        key = digest(json.dumps(needs(), sort_keys=True))
        finished = weights.parent / "finished.json"
        if weights.is_file() and finished.is_file() and json.loads(finished.read_text())["key"] == key:
            done[name] = {"skipped": True, **load_tensors(weights)[1]["figures"]}
            report(f"{name}: there already, inputs unchanged")
            continue
        if accelerator.is_main_process:
            clear(weights.parent, needs())
        accelerator.wait_for_everyone()
        report(f"{name}: training")
        done[name] = {"skipped": False, **train()}
        if accelerator.is_main_process:
            write_text(finished, json.dumps({"key": key}) + "\n")
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        export(recordings, table, vae, base, twin, output / "model", least=least, half=half)
    accelerator.wait_for_everyone()
    report(f"model: {output / 'model'}")
    return done


def clear(folder: Path, needs: dict[str, Any]) -> None:
    """Remove what a training with other inputs left, so that this one starts afresh."""
    (folder / "finished.json").unlink(missing_ok=True)
    run = Run(folder, resume=True)
    if run.last.is_file() and load_tensors(run.last)[1].get("inputs") != needs:
        for path in (run.last, run.weights, run.losses):
            path.unlink(missing_ok=True)
