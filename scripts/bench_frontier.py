"""How many steps, and of which solver: quality of twins against calls of the network, at the model's own guidance.

python scripts/bench_frontier.py --real STORE_OR_PTBXL [--model FOLDER] [--ecgs 64] [--output FOLDER]

Each real validation ECG is drawn again under its own condition and base, from the same noise in every run. RMS: of the
difference in uV to the run of 100 steps of DPM-Solver++ 2M from that noise. Kernel distance (x 1000, +- sd): to all
real validation ECGs, on features that no network made. Judge: how much surer a 12-lead classifier that the model never
saw is of the statements that were asked for than of the others (mean over ECGs of the difference of its log-odds).
"""

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, OtherNoise, RealOption, tell
from ecgtwin.diffusion.levels import trailing
from ecgtwin.diffusion.solvers import DDIM, DpmPP, Heun, UniPC

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SOLVERS = {"DPM-Solver++ 2M": (DpmPP(2), 1), "UniPC 2": (UniPC(2), 1), "DDIM": (DDIM(), 1), "Heun": (Heun(), 2)}
"""Solver, and calls of the network in a step but the last."""
BUDGETS = (3, 5, 7, 10, 15, 20, 30)
REFERENCE = 100


@app.command(help=__doc__)
def main(
    real: RealOption,
    model: Annotated[Path | None, typer.Option(help="model folder; the model inside the package if left out")] = None,
    ecgs: Annotated[int, typer.Option(help="validation ECGs that are drawn again", min=8)] = 64,
    output: Annotated[Path | None, typer.Option(help="write frontier.md, .json and .png here")] = None,
    seed: OtherNoise = 0,
    as_json: Json = False,
) -> None:
    with refusing():
        from ecgtwin.atomic import write_file, write_text
        from ecgtwin.evaluation.evaluate import opened
        from ecgtwin.evaluation.sampler_quality import Panel
        from ecgtwin.metrics.evaluators import Statements
        from ecgtwin.twin.twin import ECGTwin

        twin = ECGTwin.from_pretrained(model)
        c, tuned = twin.config.signal, twin.config.sampling
        scales = {"guidance": tuned.guidance, "base_guidance": tuned.base_guidance}
        with opened(real, c.rate, c.samples) as recordings:
            panel = Panel(twin, recordings.only("validation"), ecgs, seed)
        judge = Statements.load()

        def figures(name: str, solver: Any, steps: int, calls: int) -> tuple[dict[str, Any], np.ndarray]:
            start = time.perf_counter()
            z = panel.draw(solver, trailing(twin.schedule, steps), **scales)
            seconds = time.perf_counter() - start
            quality, x = panel.quality(z), panel.signals(z)
            row = {"solver": name, "steps": steps, "calls": calls, "seconds": seconds, **vars(quality)}
            return row | {"judge": sureness(judge, x, [r.condition.reports for r in panel.requests])}, x

        first, reference = figures("DPM-Solver++ 2M", DpmPP(2), REFERENCE, REFERENCE)
        rows = [first | {"rms_uv": 0.0}]
        for budget in BUDGETS:
            for name, (solver, each) in SOLVERS.items():
                steps = (budget - 1) // each + 1
                row, x = figures(name, solver, steps, (steps - 1) * each + 1)
                rows.append(row | {"rms_uv": 1000 * float(np.sqrt(np.mean((x - reference) ** 2)))})
                say(f"{name}, {row['calls']} calls: {rows[-1]['rms_uv']:.1f} uV")
        found = {"ecgs": ecgs, "seed": seed, "torch": torch.__version__, **scales, "own": tuned.steps, "rows": rows}
        tell(found, table(found), as_json, output and output / "frontier.json")
        if output is not None:
            write_text(output / "frontier.md", table(found) + "\n")
            write_file(output / "frontier.png", lambda path: plot(found, path))


def sureness(judge: Any, signals: np.ndarray, asked: list[tuple[str, ...]]) -> float:
    """Mean log-odds of the statements that were asked for, less those of all others, over ECGs."""
    p = np.clip(judge(signals), 1e-6, 1 - 1e-6)
    odds = np.log(p / (1 - p))
    rows = []
    for row, names in zip(odds, asked, strict=True):
        own = np.array([name in names for name in judge.names])
        if own.any():
            rows.append(row[own].mean() - row[~own].mean())
    return float(np.mean(rows)) if rows else float("nan")


def table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['ecgs']} ECGs drawn again, guidance {found['guidance']:g}, base guidance {found['base_guidance']:g}; "
        f"first row: the reference of {REFERENCE} steps",
        "",
        "| solver | steps | calls | RMS, uV | kernel distance | heart rate, /min | judge | seconds |",
        "|---" * 8 + "|",
    ]
    for r in found["rows"]:
        lines.append(
            f"| {r['solver']} | {r['steps']} | {r['calls']} | {r['rms_uv']:.1f} "
            f"| {r['distance']:.2f} +- {r['std']:.2f} | {r['rate_error']:.1f} | {r['judge']:.2f} | {r['seconds']:.1f} |"
        )
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Path) -> None:
    """Every figure against calls of the network; dotted: the reference."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(12, 4), layout="constrained")
    said = {"rms_uv": "RMS to 100 steps, uV", "distance": "kernel distance to real ECGs", "judge": "judge, log-odds"}
    for axes, (key, text) in zip(page.subplots(1, 3), said.items(), strict=True):
        for name in SOLVERS:
            rows = [r for r in found["rows"][1:] if r["solver"] == name]
            axes.plot([r["calls"] for r in rows], [r[key] for r in rows], marker="o", markersize=3, label=name)
        if key != "rms_uv":
            axes.axhline(found["rows"][0][key], color="black", linestyle=":")
        axes.set(
            xscale="log", xlabel="calls of the network", ylabel=text, yscale="log" if key == "rms_uv" else "linear"
        )
        axes.set_xticks(BUDGETS, labels=map(str, BUDGETS))
        axes.minorticks_off()
        axes.axvline(found["own"], color="grey", linewidth=0.8)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    page.savefig(path, dpi=90)


if __name__ == "__main__":
    app()
