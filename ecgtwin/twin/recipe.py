"""The whole recipe: a store in, a model that generates out. Stages whose output is there and whose inputs are unchanged are skipped."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..atomic import write_text
from ..text.table import StatementTable
from ..train.checkpoint import load_tensors
from ..train.run import Run
from . import files
from .config import Config
from .data import Recordings
from .stages import Left, digest, fingerprint, load_codec, load_extractor, read
from .train import Where, inputs, train_base, train_twin, train_vae

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


def export(
    recordings: Recordings, table: StatementTable, vae: Path, base: Path, twin: Path, output: Path, *, least: int = 5, half: bool = False
) -> files.Parts:
    """Put the three stages together into a folder that `ECGTwin.from_pretrained` loads.

    vae, base: of their stages, or of a model. Statements that such a model knew stay known where the denoiser began from its own.
    least: training ECGs that a statement needs to count as known. half: store float16.
    """
    left = {"vae": read(vae, "vae"), "base": read(base, "base"), "twin": read(twin, "twin")}
    places = recordings.places("train")
    counts = Counter(s for k in places.tolist() for s in recordings.statements(k))
    began = start_of(base, left["twin"]) if left["base"].facts else {}
    counts.update(began.get("statement_counts", {}))
    known = [s for s in table.statements if counts[s] >= least]
    if len(known) < 2:
        raise ValueError(
            f"{len(known)} statement(s) have {least} or more training ECGs: lower --least, or use a table of the store's statements"
        )
    own = recordings.where(places)
    trained = [began["trained_on"]] if "trained_on" in began else []
    for k, store in enumerate(recordings.stores):
        here = own.patient[own.which == k]
        trained.append(f"{store.source}: {len(here)} ECGs of {len(set(here.tolist()))} patients")
    facts = {
        "trained_on": "; ".join(trained),
        "data_digest": recordings.digest,
        "validation": {name: found.figures for name, found in left.items()},
        "statement_counts": {s: counts[s] for s in known},
    }
    codec, codec_key = load_codec(vae)
    extractor, _ = load_extractor(base, table, codec_key)
    rows = [table.statements.index(s) for s in known]
    parts = files.build(left["twin"].config, replace(table, statements=tuple(known), raw=table.raw[rows]), facts)
    parts.codec.load_state_dict(codec.state_dict())
    parts.extractor.load_state_dict(extractor.state_dict())
    parts.network.load_state_dict(left["twin"].tensors)
    files.save(parts, output, half=half)
    return parts


def start_of(model: Path, twin: Left) -> dict[str, Any]:
    """Facts of the model from whose denoiser another was fine-tuned, or nothing."""
    began = read(model, "twin")
    return began.facts if fingerprint(began.tensors) == twin.inputs.get("start") else {}
