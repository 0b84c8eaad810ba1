"""Train generators of other kinds on the same store, small, and let them draw: rows beside the twin in an evaluation.

python scripts/train_comparator.py train gan|cvae|flow|ddpm --store STORE --output runs/gan [--resume]
python scripts/train_comparator.py ask --store STORE --split validation --output asked.csv
python scripts/train_comparator.py draw runs/gan/weights.safetensors asked.csv --output gan.npy
python scripts/train_comparator.py draw default asked.csv --store STORE --output twin.npy
ecgtwin evaluate twin.npy --beside gan.npy --real STORE --rate 102.4 --unit mV
    --leads I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6

`ask` writes the conditions that `ecgtwin evaluate` would ask for (each held-out ECG in the state of another patient);
only the twin makes use of the references that stand in it.
"""

import csv
import json
import shutil
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from ecgtwin.atomic import write_file, write_text
from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing, say
from ecgtwin.ecg.leads import INDEPENDENT, LEADS, complete
from ecgtwin.ecg.store.recordings import Recordings, fitting
from ecgtwin.evaluation.files import SEEDS_APART, read_table, task_of
from ecgtwin.evaluation.makers import Twins, drawn
from ecgtwin.evaluation.tasks import Held, exchange
from ecgtwin.text.table import StatementTable
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.dry_run import dry_run
from ecgtwin.train.loop import Training
from ecgtwin.train.run import Run
from ecgtwin.train.run import complete as complete_run
from ecgtwin.training.comparators.config import Kind, read_config
from ecgtwin.training.comparators.generate import Trained
from ecgtwin.training.comparators.stage import ComparatorStage, latents_of
from ecgtwin.training.weights import load_vae
from ecgtwin.twin.model import named
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Store = Annotated[Path, typer.Option(help="made by `ecgtwin data prepare`")]
Model = Annotated[Path, typer.Option(help="whose auto-encoder and statement vectors are used; a folder, or 'default'")]


@app.command()
def train(
    kind: Annotated[Kind, typer.Argument(help="gan, cvae, flow or ddpm")],
    store: o.Stores,
    output: o.Output,
    model: Model = Path("default"),
    config: o.Configuration = Path("configs/comparators/small.yaml"),
    set_: o.Overrides = [],  # noqa: B006 typer reads it
    resume: o.Resume = False,
    dry: o.DryRun = False,
    seed: o.Seed = None,
    as_json: o.Json = False,
) -> None:
    """Train one on the training patients of a store, on the CPU or the first GPU."""
    with refusing():
        settings = read_config(config, [*set_, *([] if seed is None else [f"train.{kind}.seed={seed}"])])
        run, accelerator = Run(output, resume or dry), accelerator_of(cpu=False)
        recordings = Recordings.of([fitting(s, settings.signal.rate, settings.signal.samples) for s in store])
        codec, key = load_vae(model)
        table = StatementTable.load(named(model) / "statements")
        bank = latents_of(settings, recordings, codec, key, output.parent / "recorded", accelerator)
        stage = ComparatorStage(kind, settings, recordings, bank, codec, key, table, accelerator.device)
        training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator)
        if dry:
            return o.needed(dry_run(training, stage), as_json)
        o.told(complete_run(run, training, stage), as_json)


@app.command()
def ask(
    store: Store,
    output: Annotated[Path, typer.Option(help="CSV: reports, sex, age, heart_rate, reference")],
    split: Annotated[str, typer.Option(help="validation or test")] = "validation",
    n: Annotated[int, typer.Option(help="ECGs at most", min=40)] = 480,
    seed: Annotated[int, typer.Option(help="another seed, another draw")] = 0,
) -> None:
    """Write what `ecgtwin evaluate` asks of a twin: held-out ECGs, each in the state of another patient."""
    with refusing():
        held = held_of(store, split)
        task = exchange(Held.of(held), n, seed)
        rows = task.seeds - seed  # an ECG's seed is the evaluation's and its row
        lines = [["reports", "sex", "age", "heart_rate", "reference"]]
        for row, c in zip(rows.tolist(), task.wanted, strict=True):
            name = held.stores[held.which[row]].texts("name")[int(held.rows[row])]
            lines.append(["|".join(c.reports), c.sex or "", number(c.age), number(c.heart_rate), name])

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(lines)

        write_file(output, write)
        say(f"{output}: {len(task)} ECGs asked for")


@app.command()
def draw(
    what: Annotated[Path, typer.Argument(help="weights.safetensors of `train`, a model folder, or 'default'")],
    asked: Annotated[Path, typer.Argument(help="table of conditions, as `ask` writes it")],
    output: Annotated[Path, typer.Option(help="FILE.npy, (N, 12, T) in mV; its table and a sidecar come beside it")],
    store: Annotated[Path | None, typer.Option(help="of the references, for a twin")] = None,
    split: Annotated[str, typer.Option(help="of the references")] = "validation",
    model: Model = Path("default"),
    seed: Annotated[int, typer.Option(help="another seed, another draw")] = 0,
    batch: Annotated[int, typer.Option(help="ECGs at a time", min=1)] = 32,
) -> None:
    """Draw an ECG for each line of a table of conditions; says how long one took."""
    with refusing():
        conditions, references = read_table(asked)
        seeds = [seed * SEEDS_APART + k for k in range(len(conditions))]
        if what.suffix == ".safetensors":
            made = Trained.load(what, *load_vae(model), StatementTable.load(named(model) / "statements"))
            start = time.perf_counter()
            signals, rate = made.generate(conditions, seeds, batch=batch), made.config.signal.rate
        else:
            if store is None:
                raise ValueError("--store is missing: a twin is drawn of a reference, which the table names")
            twin, held = ECGTwin.from_pretrained(named(what)), held_of(store, split)
            names = [held.stores[held.which[k]].texts("name")[int(held.rows[k])] for k in range(len(held))]
            if missing := references.count(""):
                raise ValueError(f"{asked}: {missing} lines name no reference, of which a twin would be drawn")
            task = task_of(conditions, references, Held.of(held), names, seed)
            start = time.perf_counter()
            found, rate = drawn(Twins(twin), task, None, progress=True), twin.config.signal.rate
            signals = np.stack([complete(dict(zip(INDEPENDENT, x, strict=True)), LEADS) for x in found])
        seconds = (time.perf_counter() - start) / len(signals)
        facts = {"seconds_per_ecg": round(seconds, 4), "threads": torch.get_num_threads(), "rate": rate, "seed": seed}
        facts |= {"made_by": str(what), "leads": LEADS, "unit": "mV", "synthetic": True}
        write_file(output, lambda path: save(path, signals))
        write_file(output.with_suffix(".csv"), lambda path: shutil.copy(asked, path))
        write_text(output.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
        say(f"{output}: {len(signals)} ECGs, {1000 * seconds:.0f} ms each")


def save(path: Path, signals: np.ndarray) -> None:
    with path.open("wb") as file:  # np.save would add a suffix to a path without one
        np.save(file, signals.astype(np.float32))


def held_of(store: Path, split: str) -> Recordings:
    """The real ECGs of a split."""
    held = Recordings.of([fitting(store, 102.4, 1024)]).only(split, simulated=False)
    if not len(held):
        raise ValueError(f"{store} holds no real ECG of split {split}: choose another --split, or another store")
    return held


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    app()
