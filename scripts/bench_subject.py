"""Who is it? Patients as learned statements, beside the base vector: does a twin look like the patient's held-out ECG?

python scripts/bench_subject.py records --store STORE --output subjects
python scripts/train_subject.py ecg --store STORE $(cat subjects/options.txt) --output runs/subjects
python scripts/bench_subject.py compare --store STORE --subjects subjects --learned runs/subjects

Twins are asked for in the state of the held-out ECG, and compared with it and with ECGs of other patients by the
independent identity reader. rank-1: the held-out ECG is the nearest of all; place: its mean rank among them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, Output, as_table, tell
from ecgtwin.ecg.store import Store
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.evaluation.makers import Twins, drawn
from ecgtwin.evaluation.reading import Judges, Reading
from ecgtwin.evaluation.tasks import Held, Task
from ecgtwin.twin.condition import Condition
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
StoreFolder = Annotated[Path, typer.Option("--store", help="made by `ecgtwin data prepare`")]


@app.command()
def records(
    store: StoreFolder,
    output: Annotated[Path, typer.Option(help="folder of lists of recordings")],
    least: Annotated[int, typer.Option(help="ECGs of a patient", min=2)] = 4,
    as_json: Json = False,
) -> None:
    """Write a list of each such patient's recordings but the last, and the options of train_subject.py."""
    with refusing():
        found, options = Recordings.of([Store.open(store)]), []
        output.mkdir(parents=True, exist_ok=True)
        for patient, rows in patients(found, least).items():
            names = [found.name(int(row)).split(" (")[0] for row in rows[:-1]]
            (output / f"{patient}.txt").write_text("\n".join(names) + "\n")
            options += ["--subject", f"p{patient}={output}/{patient}.txt"]
        (output / "options.txt").write_text(" ".join(options) + "\n")
        tell({"patients": len(options) // 2}, f"{len(options) // 2} patients in {output}", as_json)


def patients(found: Recordings, least: int) -> dict[int, np.ndarray]:
    names, counts = np.unique(found.patient[found.patient >= 0], return_counts=True)
    return {int(p): np.flatnonzero(found.patient == p) for p in names[counts >= least]}


@app.command()
def compare(
    store: StoreFolder,
    subjects: Annotated[Path, typer.Option(help="folder that `records` wrote")],
    learned: Annotated[list[Path], typer.Option(help="OUTPUT of train_subject.py; repeat for several rows")],
    model: Annotated[str, typer.Option(help='a model folder, or "default"')] = "default",
    n: Annotated[int, typer.Option("-n", help="twins of each patient", min=1)] = 4,
    others: Annotated[int, typer.Option(help="ECGs of other patients", min=10)] = 300,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Print a table: how often a twin's nearest ECG is the patient's own held-out one."""
    with refusing():
        found, judges = Recordings.of([Store.open(store)]), Judges.load()
        names = [int(path.stem) for path in sorted(subjects.glob("*.txt")) if path.stem.isdigit()]
        rows = [np.flatnonzero(found.patient == p) for p in names]
        first, last = np.array([r[0] for r in rows]), np.array([r[-1] for r in rows])
        strangers = np.flatnonzero(~np.isin(found.patient, names))
        strangers = np.sort(np.random.default_rng(0).permutation(strangers)[:others])
        gallery = np.concatenate([last, strangers])
        seen = Reading(found.millivolts(gallery), found.rate, found.patient[gallery], judges).who
        plain = ECGTwin.from_pretrained(model, device="cpu")
        held = Held.of(found.where(last)), Held.of(found.where(first))
        task = asked(held[0], held[1], n, None)
        rows_of: dict[str, np.ndarray] = {
            "another real ECG of the patient": held[1].signals,
            "nobody (state, age and sex alone)": made(plain, task, alone=True),
            "base vector alone": made(plain, task, draft=False),
            "base vector and own beats (the default)": made(plain, task),
        }
        for folder in learned:
            model_of = ECGTwin.from_pretrained(model, device="cpu")
            for p in names:
                model_of.load_statement(folder / f"p{p}.safetensors")
            if (folder / "adapter.safetensors").is_file():
                model_of.load_adapter(folder / "adapter.safetensors")
            told = asked(held[0], held[1], n, [f"p{p}" for p in names])
            say(str(folder))
            rows_of[f"{folder.name}: statement alone"] = made(model_of, told, alone=True)
            rows_of[f"{folder.name}: statement and base vector"] = made(model_of, told, draft=False)
        lines = [line(name, x, len(names), seen, found.rate, judges) for name, x in rows_of.items()]
        tell(lines, as_table(lines), as_json, output)


def asked(held: Held, reference: Held, n: int, names: Sequence[str] | None) -> Task:
    """`n` ECGs of each patient in the state of the held-out ECG, with the patient's own statement."""
    wanted = list(held.conditions)
    if names is not None:
        wanted = [replace(c, reports=(*c.reports, name)) for c, name in zip(wanted, names, strict=True)]
    tile = np.repeat(np.arange(len(held)), n)
    seeds = 1000 + np.arange(len(tile))
    return Task(
        "subject", reference.signals[tile], tuple(reference.conditions[k] for k in tile),
        tuple(wanted[k] for k in tile), held.patients[tile], seeds,
    )  # fmt: skip


def made(model: ECGTwin, task: Task, *, alone: bool = False, draft: bool = True) -> np.ndarray:
    if alone or draft:
        return drawn(Twins(model, "twin", alone), task, None)
    requests = []
    for x, own, wanted, seed in zip(task.references, task.own, task.wanted, task.seeds, strict=True):
        now, was = (
            Condition(tuple(r for r in c.reports if r in model.statements), c.sex, c.age, c.heart_rate)
            for c in (wanted, own)
        )
        (one,) = model.requests_of(x, now, [int(seed)], was)
        requests.append(one._replace(heartbeat=None))
    return model.sample_in_parts(requests).cpu().numpy()


def line(name: str, signals: np.ndarray, count: int, seen: np.ndarray, rate: float, judges: Judges) -> dict[str, Any]:
    """A row: rank-1 and mean rank of the held-out ECGs, which are the first of the gallery `seen`."""
    n = len(signals) // count
    who = np.repeat(np.arange(count), n)
    close = Reading(signals, rate, who, judges).who @ seen.T  # (twins, gallery)
    own = close[np.arange(len(who)), who]
    place = 1 + (close > own[:, None]).sum(1)
    return {"drawn from": name, "rank-1 %": 100 * float((place == 1).mean()), "place": float(place.mean()),
            "median place": float(np.median(place)), "cosine": float(own.mean()), "of": close.shape[1]}  # fmt: skip


if __name__ == "__main__":
    app()
