"""The whole recipe: a store in, a model that generates out. Stages whose result is there and whose inputs
are unchanged are skipped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import write_text
from ..ecg.store.recordings import Recordings
from ..text.table import StatementTable
from ..train.checkpoint import load_tensors
from ..train.device import accelerator_of
from ..train.loop import Training
from ..train.run import Run, complete
from ..train.stage import Stage
from .beat_stage import base_stage
from .config import Config
from .denoiser import DenoiserStage
from .export import export
from .vae import VAEStage
from .weights import digest

if TYPE_CHECKING:
    from accelerate import Accelerator

Report = Callable[[str], None]


def train_all(
    settings: Config,
    recordings: Recordings,
    table: StatementTable,
    output: Path,
    *,
    least: int = 5,
    half: bool = False,
    accelerator: "Accelerator | None" = None,
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """Train what is missing under `output`: vae/, base/, denoiser/, and write model/. Returns what was
    done and each stage's figures.

    A stage that was interrupted goes on from its checkpoint; one whose inputs have changed starts afresh.
    """
    accelerator = accelerator or accelerator_of(cpu=False)
    vae, base, denoiser = (output / name / "weights.safetensors" for name in ("vae", "base", "denoiser"))
    # Each is made when those before it are done, of whose weights it is made.
    stages: list[Callable[[], Stage]] = [
        lambda: VAEStage(settings, recordings, accelerator),
        lambda: base_stage(settings, recordings, vae, table, base.parent, accelerator),
        lambda: DenoiserStage.of(settings, recordings, vae, base, table, denoiser.parent, accelerator),
    ]
    done: dict[str, Any] = {}
    for make in stages:
        stage = make()
        folder = output / stage.name
        if finished(folder, stage.inputs):
            done[stage.name] = {"skipped": True, **load_tensors(folder / "weights.safetensors")[1]["figures"]}
            report(f"{stage.name}: there already, inputs unchanged")
            continue
        report(f"{stage.name}: training")
        done[stage.name] = {"skipped": False, **train(stage, folder, accelerator)}
    if accelerator.is_main_process:
        export(recordings, table, vae, base, denoiser, output / "model", least=least, half=half)
    accelerator.wait_for_everyone()
    report(f"model: {output / 'model'}")
    return done


def train(stage: Stage, folder: Path, accelerator: "Accelerator") -> dict[str, float]:
    """Train a stage to its end, from its checkpoint where there is one of the same inputs. Returns its figures."""
    if accelerator.is_main_process:
        clear(folder, stage.inputs)
    accelerator.wait_for_everyone()
    training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
    figures = complete(Run(folder, resume=True), training, stage)
    if accelerator.is_main_process:
        write_text(folder / "finished.json", json.dumps({"inputs": digested(stage.inputs)}) + "\n")
    accelerator.wait_for_everyone()
    return figures


def finished(folder: Path, inputs: dict[str, Any]) -> bool:
    """Whether a folder holds the result of a training with these inputs."""
    path = folder / "finished.json"
    return (
        (folder / "weights.safetensors").is_file()
        and path.is_file()
        and json.loads(path.read_text()).get("inputs") == digested(inputs)
    )


def digested(inputs: dict[str, Any]) -> str:
    return digest(json.dumps(inputs, sort_keys=True))


def clear(folder: Path, inputs: dict[str, Any]) -> None:
    """Remove what a training with other inputs left, so that this one starts afresh."""
    (folder / "finished.json").unlink(missing_ok=True)
    run = Run(folder, resume=True)
    if run.last.is_file() and load_tensors(run.last)[1].get("inputs") != inputs:
        for path in (run.last, run.weights, run.losses):
            path.unlink(missing_ok=True)
