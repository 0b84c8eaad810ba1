"""`ecgtwin generate --table` for many references: rate, memory, and what a kill -9 leaves, in one run.

python scripts/bench_table.py [--references 1000] [--steps STEPS] [--seed 0] [--output FILE.json]

People are simulated and answered with --fast. The table is answered once without a break, and once by a run that is
killed (SIGKILL) at a random moment, then started again; the files of both are compared. Memory (RSS) is sampled every
quarter of a second and drawn beside the output, as FILE.png.
"""

import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, Output, tell

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
EVERY = 0.25
"""Seconds between two looks at the memory."""


def resident(pid: int) -> float:
    """MiB of a process in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024 if "VmRSS:" in status else 0.0


def answer(table: Path, output: Path, steps: int | None, kill_after: float | None = None) -> dict[str, Any]:
    """Run the command; kill it once it has worked on rows for so many seconds."""
    command = [sys.executable, "-m", "ecgtwin", "generate", "--table", table, "--output", output, "--fast"]
    command += [] if steps is None else ["--steps", steps]
    command += ["--report", "atrial fibrillation", "--heart-rate", 110, "--device", "cpu", "--json"]
    begin, working, memory, before = time.perf_counter(), None, [], ended()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(EVERY)
            lines = len((output / "index.csv").read_bytes().splitlines()) if (output / "index.csv").exists() else 0
            if working is None and lines > 1:
                working = time.perf_counter()
            if working is not None and process.poll() is None:
                memory.append(resident(process.pid))
            if kill_after is not None and working is not None and time.perf_counter() - working > kill_after:
                process.kill()
        said = process.stdout.read()
    found = {"seconds": time.perf_counter() - begin, "processor_seconds": ended() - before}
    found |= {"memory_mib": memory, "returned": process.returncode}
    return found | (json.loads(said) if said else {})


def ended() -> float:
    """Processor seconds of the processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def plot(series: dict[str, dict[str, Any]], path: Path) -> None:
    """Memory over each run, from its first rows on."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(7, 3), layout="constrained")
    axes = page.subplots()
    for name, found in series.items():
        memory = found["memory_mib"]
        axes.plot([EVERY * k for k in range(len(memory))], memory, label=name)
    axes.set(xlabel="seconds at work", ylabel="memory, MiB", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    page.savefig(path, dpi=90)


def files_of(output: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(output)): p.read_bytes() for p in output.rglob("*") if p.is_file() and p.name != "run.json"
    }


@app.command(help=__doc__)
def main(
    references: Annotated[int, typer.Option(help="rows of the table", min=10)] = 1000,
    steps: Annotated[int | None, typer.Option(help="denoising steps; those of --fast if left out", min=1)] = None,
    seed: Annotated[int, typer.Option(help="of the moment of the kill")] = 0,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing(), tempfile.TemporaryDirectory() as place:
        from ecgtwin.atomic import write_file
        from ecgtwin.ecg.simulate import Person, simulate

        folder = Path(place)
        for k in range(references):
            simulate(Person.draw(k), "sinus rhythm", 60.0 + k % 40, seed=k).write(folder / f"p{k}.hea")
        with (folder / "people.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["record", "seed"], *((f"p{k}.hea", k) for k in range(references))])
        whole = answer(folder / "people.csv", folder / "whole", steps)
        moment = random.Random(seed).uniform(0.1, 0.9) * whole["seconds"]
        killed = answer(folder / "people.csv", folder / "torn", steps, moment)
        left = len((folder / "torn" / "index.csv").read_bytes().splitlines()) - 1
        again = answer(folder / "people.csv", folder / "torn", steps)
        a, b = files_of(folder / "whole"), files_of(folder / "torn")
        with (folder / "torn" / "index.csv").open(newline="") as file:
            rows = [int(row["row"]) for row in csv.DictReader(file)]
        if output is not None:
            series = {"whole": whole, "killed": killed, "started again": again}
            write_file(output.with_suffix(".png"), lambda path: plot(series, path))
        tenth = max(len(whole["memory_mib"]) // 10, 1)
        found = {
            "references": references,
            "steps": steps,
            "rows_per_second": references / whole["seconds"],
            "seconds": whole["seconds"],
            "processor_seconds": whole["processor_seconds"],
            "memory_mib": {
                "after a tenth": whole["memory_mib"][tenth],
                "at the end": whole["memory_mib"][-tenth],
                "most": max(whole["memory_mib"]),
            },
            "killed": {
                "returned": killed["returned"],
                "after_s": moment,
                "rows_done": left,
                "done_before": again["done_before"],
            },
            "same_files": a == b,
            "files": len(b),
            "rows_once_each": rows == list(range(1, references + 1)),
        }
        words = (f"{name.replace('_', ' ')}: {value}" for name, value in found.items())
        tell(found, "\n".join(words), as_json, output)
        if not (found["same_files"] and found["rows_once_each"]):
            say("the files differ")
            raise typer.Exit(1)


if __name__ == "__main__":
    app()
