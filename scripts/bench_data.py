"""How fast batches come out of a store, and whether memory stays flat: on a store given, and on one of a million rows.

    python scripts/bench_data.py [--store STORE] [--rows 1000000] [--seconds 5] [--workers 2] [--json]

The large store is sparse: its signals are holes that take no room on disk, so that what is measured is the access
itself, with all the calls and copies of real data. Each worker is a process that reads random batches as training
does; rates are ECGs per second of all workers together, by the clock, and by the processor time that they used
(what as many free cores give).
"""

import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.store import FORMAT, GAIN, Store
from ecgtwin.ecg.store.columns import Texts
from ecgtwin.ecg.store.facts import COLUMNS, TEXTS
from ecgtwin.ecg.store.pairs import Pairs
from ecgtwin.ecg.store.writer import empty_signals

BATCH = 256


def sparse(folder: Path, rows: int, samples: int = 1024, rate: float = 102.4) -> Store:
    """A store of holes with the columns that training reads: about five ECGs of each patient."""
    columns = folder / "columns"
    columns.mkdir(parents=True)
    empty_signals(folder / "signals.npy", rows, samples)
    generator = np.random.default_rng(0)
    patient = np.sort(generator.integers(0, max(1, rows // 5), rows)).astype(np.int32)
    numbers = {
        "patient": patient,
        "flags": np.zeros(rows, np.uint32),
        "split": (patient % 10 == 9).astype(np.int8),
        "time": generator.integers(0, 10**9, rows).astype("datetime64[s]"),
        "heart_rate": generator.normal(75, 15, rows).astype(np.float32),
        "text_key": generator.integers(0, 1000, rows).astype(np.uint64),
    }
    numbers |= {name: np.zeros(rows, np.uint8) for name in COLUMNS if name not in numbers}
    for name, values in numbers.items():
        np.save(columns / f"{name}.npy", values)
    for name in TEXTS:
        Texts.write(columns, name, [""] * (rows if name != "patients" else int(patient.max(initial=0)) + 1))
    nothing = dict.fromkeys(("digest", "plan", "split_digest"), "") | {
        name: {} for name in ("flags", "problems", "unmapped", "unreadable")
    }
    facts = {
        "format": FORMAT,
        "source": "sparse",
        "ecgs": rows,
        "rate": rate,
        "seconds": samples / rate,
        "samples": samples,
    }
    facts |= {
        "leads": list(INDEPENDENT),
        "gain_per_mv": GAIN,
        "statements": [],
        "texts": list(TEXTS),
        "columns": sorted(numbers),
    } | nothing
    (folder / "store.json").write_text(json.dumps(facts))
    return Store.open(folder)


def memory() -> dict[str, float]:
    """This process's memory in MB: all that is resident, and that of files mapped into it, where the system tells."""
    path = Path("/proc/self/status")
    if not path.is_file():
        return {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if line.startswith(("VmRSS", "RssFile")))
    return {name: int(lines[key].split()[0]) / 1e3 for name, key in (("resident", "VmRSS"), ("of_files", "RssFile"))}


def work(folder: Path, seconds: float, seed: int, floats: bool, answer) -> None:
    """Read random batches for so long; send what it took."""
    store = Store.open(folder)
    rows = store.rows("train") if len(store.rows("train")) else store.rows()
    generator = np.random.default_rng(seed)
    out = np.empty((BATCH, len(store.leads), store.samples), np.int16)
    for _ in range(3):  # the first calls make the buffers that stay
        warm = generator.choice(rows, BATCH)
        store.millivolts(warm) if floats else store.read(warm, out)
    before, count, begun, used = memory(), 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begun < seconds:
        chosen = rows[generator.integers(0, len(rows), BATCH)]
        x = store.millivolts(chosen) if floats else store.read(chosen, out)
        count += len(x)
    took, used = time.perf_counter() - begun, time.process_time() - used
    answer.put({"ecgs": count, "took": took, "used": used, "before": before, "after": memory()})


def measure(store: Store, seconds: float, workers: int, floats: bool) -> dict[str, float]:
    answer = multiprocessing.Queue()
    processes = [
        multiprocessing.Process(target=work, args=(store.folder, seconds, seed, floats, answer))
        for seed in range(workers)
    ]
    for process in processes:
        process.start()
    got = [answer.get() for _ in processes]
    for process in processes:
        process.join()
    return {
        "ecgs_per_second": round(sum(g["ecgs"] / g["took"] for g in got)),
        "ecgs_per_second_on_free_cores": round(sum(g["ecgs"] / max(g["used"], 1e-9) for g in got)),
        "ecgs_read": sum(g["ecgs"] for g in got),
        "resident_mb_before": max(g["before"]["resident"] for g in got),
        "resident_mb_after": max(g["after"]["resident"] for g in got),
    }


def pairs(store: Store) -> dict[str, float]:
    """What it takes to make the pairs of a store, and to draw from them."""
    before, begun = memory()["resident"], time.process_time()
    found = Pairs.of(store)
    total = found.total
    made = time.process_time() - begun
    generator = np.random.default_rng(0)
    begun = time.process_time()
    for _ in range(100):
        found.draw(BATCH, generator)
    drawn = time.process_time() - begun
    return {
        "pairs": total,
        "seconds_to_make": round(made, 2),
        "pairs_drawn_per_second": round(100 * BATCH / max(drawn, 1e-9)),
        "memory_mb": round(memory()["resident"] - before, 1),
    }


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    store: Annotated[Path | None, typer.Option(help="a prepared store")] = None,
    rows: Annotated[int, typer.Option(help="rows of the sparse store", min=1)] = 1_000_000,
    seconds: Annotated[float, typer.Option(help="of each measurement")] = 5.0,
    workers: Annotated[int, typer.Option(help="processes that read", min=1)] = 2,
    folder: Annotated[
        Path | None, typer.Option(help="where to put the sparse store; a temporary folder if left out")
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        large = sparse(Path(place) / "sparse", rows)
        stores = {"given": Store.open(store)} if store else {}
        stores[f"sparse, {rows} rows"] = large
        report = {
            name: {
                "ecgs": len(one),
                "int16": measure(one, seconds, workers, False),
                "float32 mV": measure(one, seconds, workers, True),
            }
            for name, one in stores.items()
        }
        report["pairs of the sparse store"] = pairs(large)
    lines = []
    for name, figures in report.items():
        for kind, row in figures.items():
            text = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in row.items()) if isinstance(row, dict) else row
            lines.append(f"{name}: {kind}: {text}")
    tell(report, "\n".join(lines), as_json, output)


if __name__ == "__main__":
    app()
