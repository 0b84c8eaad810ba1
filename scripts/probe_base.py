"""Extractors compared: who is recognised, and what the base tells of the state that it should not tell.

python scripts/probe_base.py --store STORE --vae runs/vae/weights.safetensors --base
runs/base/weights.safetensors [--base ...]

Rank-1 and equal error rate on the validation patients, beside median beats; AUROC of a linear probe, fitted on
training ECGs, that reads the recording's rhythm, conduction and owner's sex from its base. A probe of the
median beat stands beside it.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Output, tell
from ecgtwin.train.device import accelerator_of

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
STATES = (
    "atrial fibrillation",
    "complete left bundle branch block",
    "complete right bundle branch block",
    "paced rhythm",
    "left ventricular hypertrophy",
)
SEX = "female"


@app.command(help=__doc__)
def main(
    store: o.Stores,
    vae: o.Vae,
    base: Annotated[
        list[Path], typer.Option(help=f"weights.safetensors of train_base.py, {o.MODEL}; repeat to compare")
    ],
    statements: o.Statements = None,
    config: o.Configuration = Path("configs/small.yaml"),
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    cpu: o.Cpu = False,
    output: Output = None,
    as_json: o.Json = False,
) -> None:
    with refusing():
        accelerator = accelerator_of(cpu)
        from ecgtwin.metrics.identity import identity, median_beats, whitening
        from ecgtwin.training.base import bases
        from ecgtwin.training.condition_table import ConditionTable
        from ecgtwin.training.held_out import validation
        from ecgtwin.training.latents import bank_of, views
        from ecgtwin.training.weights import load_base, load_vae

        settings = o.settings_of(config, set_, ())
        recordings, table = o.recordings_of(store, settings), o.table_of(statements, settings)
        codec, key = load_vae(vae)
        spare = tempfile.TemporaryDirectory()
        made = views(settings, recordings, codec, key, bank_of(vae, Path(spare.name)), accelerator)
        labels = ConditionTable.of(recordings, made.target_rates, table, settings.model.condition)
        real = recordings.places("train", simulated=False)
        seen = torch.from_numpy(real if len(real) else recordings.places("train"))
        held = validation(recordings)
        patients = recordings.patient[held.numpy()]

        def row(vectors: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for suffix, (a, b) in vectors.items():
                who = identity(b, patients)
                found |= {f"rank1{suffix}": who.rank1, f"eer{suffix}": who.eer}
                found |= {f"{name}{suffix}": auroc for name, auroc in probes(recordings, a, seen, b, held).items()}
            return found

        rows: dict[str, dict[str, Any]] = {}
        for path in base:
            say(str(path))
            extractor, _ = load_base(path, table, key)
            extractor.to(accelerator.device)

            def beats(rows, extractor=extractor):
                return extractor.beats_of(recordings.millivolts(rows.numpy()), recordings.rate)

            shown = [(k, beats(k)) for k in (seen, held)]

            def both(told: bool, extractor=extractor, shown=shown) -> tuple[np.ndarray, np.ndarray]:
                return tuple(
                    bases(extractor, made, labels, k, accelerator.device, told=told, beats=b).numpy() for k, b in shown
                )

            rows[path.parent.name] = row({"": both(True), "_free": both(False)})
        say("median beats")
        a, b = (median_beats(recordings.millivolts(rows.numpy()), recordings.rate) for rows in (seen, held))
        white = whitening(a)
        rows["median beat"] = row({"": (a, b)})
        rows["median beat, PCA(100) whitened"] = row({"": (white(a), white(b))})
        tell(rows, told_of(rows), as_json, output)


def probes(recordings, a: np.ndarray, seen, b: np.ndarray, held) -> dict[str, float | None]:
    """AUROC of each state and of sex, read from vectors b by a probe fitted on vectors a."""
    from ecgtwin.metrics.probe import probe

    found = {}
    for name in (*STATES, SEX):
        told, truth = (
            np.array(
                [
                    recordings.sexes(k) == SEX if name == SEX else name in recordings.statements(k)
                    for k in rows.tolist()
                ],
                bool,
            )
            for rows in (seen, held)
        )
        found[name] = probe(a, told, b, truth).auroc
    return found


def told_of(rows: dict[str, dict[str, Any]]) -> str:
    names = ("rank1", "eer", *STATES, SEX)
    lines = ["| | condition | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for who, found in rows.items():
        for suffix, told in (("", "own" if "rank1_free" in found else ""), ("_free", "none")):
            if f"rank1{suffix}" in found:
                cells = [found[f"{name}{suffix}"] for name in names]
                shown = " | ".join("" if c is None else f"{c:.3f}" for c in cells)
                lines.append(f"| {who} | {told} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    app()
