"""An adapter of one device or hospital: its recordings' names for training, and what it changes there and elsewhere.

python scripts/bench_adapter.py records --store STORE --table ptbxl_database.csv --value "CS-12   E"
--output records.txt --others others.txt
python scripts/bench_adapter.py compare --store STORE --table ptbxl_database.csv
--value "CS-12   E" --records records.txt --adapter runs/site/weights.safetensors

`records` takes recordings of training patients in whose row of the table COLUMN has VALUE, and some of validation
patients for the validation loss. `compare` draws ECGs for held-out patients of that device, and of all others,
with the model alone and with the adapter: from the condition alone, and of the person in another patient's state.
Kernel distances (x 1000, of learned features, hand-made ones and power spectra) are to real ECGs of the same device, or
of all others, that are neither in the records nor of the references' patients; in brackets the 95 % interval, over
patients, of how much an adapter changes each.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, Output, adapted, as_table, tell
from ecgtwin.ecg.store import Store
from ecgtwin.ecg.store.columns import SPLITS
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.evaluation import agreement, tasks
from ecgtwin.evaluation.makers import Twins, drawn
from ecgtwin.evaluation.reading import Judges, Reading
from ecgtwin.evaluation.tasks import Held, Task
from ecgtwin.metrics.bootstrap import draws, interval
from ecgtwin.metrics.features import standardised
from ecgtwin.metrics.frechet import kernel_distance, kernel_distance_drawn
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
StoreFolder = Annotated[Path, typer.Option("--store", help="made by `ecgtwin data prepare`")]
Table = Annotated[Path, typer.Option(help="CSV with a row for each recording")]
Column = Annotated[str, typer.Option(help="of the table: what is adapted to")]
Value = Annotated[str, typer.Option(help="of that column")]
Name = Annotated[str, typer.Option(help="column of the recordings' names in the store")]
COMPONENTS, MOST_REAL = 24, 300
FEATURES = {"learned": lambda r: r.learned, "hand-made": lambda r: r.hand_made, "spectrum": lambda r: r.spectrum}


@dataclass(frozen=True)
class Labelled:
    """Recordings with their names and whether each is of the chosen device."""

    recordings: Recordings
    names: np.ndarray
    inside: np.ndarray

    @staticmethod
    def of(store: Path, table: Path, column: str, value: str, name: str) -> "Labelled":
        recordings = Recordings.of([Store.open(store)])
        texts = recordings.stores[0].texts("name")
        names = np.array([texts[int(row)] for row in recordings.rows])
        rows = pd.read_csv(table, dtype=str)
        for wanted in (column, name):
            if wanted not in rows:
                raise ValueError(f"{table} has no column {wanted!r}: it has {', '.join(rows.columns[:12])} …")
        label = dict(zip(rows[name], rows[column], strict=True))
        inside = np.array([label.get(n) == value for n in names])
        if not inside.any():
            known = ", ".join(map(repr, rows[column].value_counts().index[:8]))
            raise ValueError(f"no recording of the store has {column} {value!r}: there are {known} …")
        return Labelled(recordings, names, inside)

    def places(self, split: str, inside: bool) -> np.ndarray:
        return np.flatnonzero((self.recordings.split == SPLITS.index(split)) & (self.inside == inside))


@app.command()
def records(
    store: StoreFolder,
    table: Table,
    value: Value,
    output: Annotated[Path, typer.Option(help="text file")],
    column: Column = "device",
    name: Name = "filename_lr",
    n: Annotated[int, typer.Option("-n", help="recordings", min=1)] = 200,
    held: Annotated[int, typer.Option(help="of validation patients", min=1)] = 40,
    others: Annotated[Path | None, typer.Option(help="text file for N recordings of other devices")] = None,
    seed: Annotated[int, typer.Option(help="another seed, another draw")] = 0,
) -> None:
    """Write the names of N recordings of one device, and of others."""
    with refusing():
        found = Labelled.of(store, table, column, value, name)
        rng = np.random.default_rng(seed)
        places = [rng.permutation(found.places(s, True))[:k] for s, k in (("train", n), ("validation", held))]
        output.write_text("\n".join(found.names[np.sort(np.concatenate(places))]) + "\n", encoding="utf-8")
        if others is not None:
            chosen = np.sort(rng.permutation(found.places("train", False))[:n])
            others.write_text("\n".join(found.names[chosen]) + "\n", encoding="utf-8")
        say(f"{output}: {len(places[0])} recordings of training patients, {len(places[1])} of validation patients")


@app.command()
def compare(
    store: StoreFolder,
    table: Table,
    value: Value,
    records: Annotated[Path, typer.Option(help="those trained on")],
    adapter: Annotated[list[str], typer.Option(help="FILE or FILE=WEIGHT; repeat for several rows")],
    column: Column = "device",
    name: Name = "filename_lr",
    model: Annotated[str, typer.Option(help='a model folder, or "default"')] = "default",
    n: Annotated[int, typer.Option("-n", help="references of each group", min=20)] = 100,
    seed: Annotated[int, typer.Option(help="another seed, another draw")] = 0,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Print a table: the model alone and with each adapter, on this device and on all others."""
    with refusing():
        found = Labelled.of(store, table, column, value, name)
        judges, trained = Judges.load(), np.isin(found.names, records.read_text(encoding="utf-8").split("\n"))
        makers = {"model alone": Twins(ECGTwin.from_pretrained(model, device="cpu"))}
        for text in adapter:
            makers[text] = Twins(adapted(ECGTwin.from_pretrained(model, device="cpu"), [text]))
        rows: list[dict[str, Any]] = []
        for inside in (True, False):
            held = found.places("validation", inside)
            held = np.sort(np.random.default_rng(seed).permutation(held[~trained[held]])[:n])
            rows += group(found, held, inside, trained, makers, judges, seed)
        tell(rows, markdown(rows), as_json, output)


def group(
    found: Labelled,
    held: np.ndarray,
    inside: bool,
    trained: np.ndarray,
    makers: dict[str, Twins],
    judges: Judges,
    seed: int,
) -> list[dict[str, Any]]:
    """The rows of one group of recordings."""
    recordings = found.recordings
    chosen = recordings.where(held)
    task = tasks.exchange(Held.of(chosen), len(held), seed)
    real = np.flatnonzero((found.inside == inside) & ~trained & ~np.isin(recordings.patient, chosen.patient))
    real = np.sort(np.random.default_rng([seed, 1]).permutation(real)[:MOST_REAL])

    def read(signals: np.ndarray, patients: np.ndarray) -> Reading:
        return Reading(signals, recordings.rate, patients, judges)

    truth = read(recordings.millivolts(real), recordings.patient[real])
    places = {key: standardised(of(truth), COMPONENTS) for key, of in FEATURES.items()}
    wanted = {key: place(FEATURES[key](truth)) for key, place in places.items()}
    again = draws(task.patients, 300, seed), draws(truth.patients, 300, seed + 1)
    before: dict[tuple[str, str], np.ndarray] = {}

    def row(who: str, what: str, made: Reading, asked: Task) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, place in places.items():
            x = place(FEATURES[key](made))
            found[key] = 1000 * kernel_distance(x, wanted[key])
            drawn_again = 1000 * kernel_distance_drawn(x, wanted[key], *again)
            first = before.setdefault((what, key), drawn_again)
            found[f"{key}, change"] = [0.0, 0.0] if first is drawn_again else list(interval(drawn_again - first))
        where = "this device" if inside else "others"
        auroc = agreement.agreement(asked, {who: made})[0][0].rows[who].value
        return {"ECGs of": where, "drawn": what, "by": who, **found, "agreement": auroc}

    real_task = tasks.redraw(Held.of(chosen), len(held), seed)
    rows = [row("real, held out", "", read(chosen.millivolts(), chosen.patient), real_task)]
    for who, maker in makers.items():
        for what, one in (("alone", Twins(maker.model, who, True)), ("of a person", maker)):
            say(f"{'this device' if inside else 'others'}: {who}, {what}")
            rows.append(row(who, what, read(drawn(one, task, None), task.patients), task))
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, changes in brackets behind what they are of."""
    lines = []
    for r in rows:
        told = {
            key: f"{r[key]:.1f} ({r[f'{key}, change'][0]:+.1f} to {r[f'{key}, change'][1]:+.1f})" for key in FEATURES
        }
        lines.append({k: r[k] for k in ("ECGs of", "drawn", "by")} | told | {"agreement": f"{r['agreement']:.3f}"})
    return as_table(lines)


if __name__ == "__main__":
    app()
