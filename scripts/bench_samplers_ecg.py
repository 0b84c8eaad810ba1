"""Samplers on an ECG model: quality against function evaluations, beside runs of 1,000 steps.

python scripts/bench_samplers_ecg.py --real STORE_OR_PTBXL [--model FOLDER] [--ecgs 128] [--output FOLDER]

Each real validation ECG is drawn again under its own condition and base (guidance 1: one network call is one function
evaluation), from the same noise by every sampler. Kernel distance (KID's, unbiased) to all real validation ECGs on
features that no network made: median beats, spectra and RR intervals; "latent" is the RMS distance to the latents of
the DDIM run of 1,000 steps.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from ecgtwin.atomic import write_text
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, OtherNoise, RealOption, tell
from ecgtwin.diffusion.levels import karras, trailing
from ecgtwin.diffusion.sde import EulerMaruyama
from ecgtwin.diffusion.solvers import DDIM, DDPM, PNDM, DpmPP, DpmPPSingle, DpmSolver, EulerAncestral, Heun, UniPC

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def samplers(schedule) -> dict[str, tuple[Any, int]]:
    """Name -> solver and network calls per step."""
    at = schedule.level_at
    return {
        "DDIM": (DDIM(), 1),
        "PNDM": (PNDM(), 1),
        "Heun": (Heun(), 2),
        "Heun on EDM's clock": (Heun("edm"), 2),
        "DPM-Solver 2": (DpmSolver(at, 2), 2),
        "DPM-Solver++ 2S": (DpmPPSingle(at), 2),
        "DPM-Solver++ 2M": (DpmPP(2), 1),
        "DPM-Solver++ 3M": (DpmPP(3, start=DpmPPSingle(at)), 1),
        "UniPC 2": (UniPC(2), 1),
        "Euler-ancestral": (EulerAncestral(), 1),
        "DDPM large": (DDPM("large"), 1),
        "SDE-DPM-Solver++ 2M": (DpmPP(2, eta=1.0), 1),
        "Euler-Maruyama": (EulerMaruyama(), 1),
    }


@app.command(help=__doc__)
def main(
    real: RealOption,
    model: Annotated[Path | None, typer.Option(help="model folder; the model inside the package if left out")] = None,
    ecgs: Annotated[int, typer.Option(help="validation ECGs that are drawn again", min=8)] = 128,
    calls: Annotated[list[int], typer.Option(help="budgets of network calls; repeat")] = [5, 10, 20, 50],  # noqa: B006
    steps: Annotated[int, typer.Option(help="of the reference runs", min=2)] = 1000,
    bf16: Annotated[bool, typer.Option(help="run the network in bfloat16 (several times faster on CPUs)")] = False,
    output: Annotated[Path | None, typer.Option(help="write samplers_ecg.md, .json and .png here")] = None,
    seed: OtherNoise = 0,
    as_json: Json = False,
) -> None:
    with refusing():
        from ecgtwin.evaluation.evaluate import opened
        from ecgtwin.evaluation.sampler_quality import Panel
        from ecgtwin.twin.twin import ECGTwin

        twin = ECGTwin.from_pretrained(model)
        c = twin.config.signal
        with opened(real, c.rate, c.samples) as recordings:
            panel = Panel(twin, recordings.only("validation"), ecgs, seed)
        schedule = twin.schedule
        rows: list[dict[str, Any]] = []

        def run(name: str, solver: Any, levels: list, evaluations: int, shift: int = 0) -> torch.Tensor:
            start = time.perf_counter()
            with torch.autocast(twin.device.type, dtype=torch.bfloat16, enabled=bf16):
                z = panel.draw(solver, levels, seed=shift)
            row = {
                "sampler": name,
                "calls": evaluations,
                "seconds": time.perf_counter() - start,
                **vars(panel.quality(z)),
            }
            row["latent"] = None if not rows else float((z - latents).square().mean().sqrt())
            rows.append(row)
            say(f"{name}, {evaluations} calls: {row['distance']:.3f} +- {row['std']:.3f}, {row['seconds']:.0f} s")
            return z

        # The reference runs end like all others: the last level of the schedule, then clean.
        latents = run(f"DDIM, {steps} steps", DDIM(), trailing(schedule, min(steps, schedule.length)), steps)
        run(f"DDPM, {steps} steps", DDPM(), trailing(schedule, min(steps, schedule.length)), steps)
        for budget in calls:
            for name, (solver, per) in samplers(schedule).items():
                count = (budget - 1) // per + 1
                run(name, solver, trailing(schedule, count), (count - 1) * per + 1)
            # The noisiest levels of a cosine schedule are nearly pure noise: Karras' spacing
            # would spend its steps there.
            noisiest = round(0.98 * (schedule.length - 1))
            run("DPM-Solver++ 2M, Karras levels", DpmPP(2), karras(schedule, budget, noisiest=noisiest), budget)
            run("DPM-Solver++ 2M, other seeds", DpmPP(2), trailing(schedule, budget), budget, shift=100_000)
        found = {
            "ecgs": ecgs,
            "real": len(panel.real),
            "bf16": bf16,
            "seed": seed,
            "torch": torch.__version__,
            "rows": rows,
        }
        text = table(found, calls)
        tell(found, text, as_json, output and output / "samplers_ecg.json")
        if output is not None:
            write_text(output / "samplers_ecg.md", text + "\n")
            plot(found, output / "samplers_ecg.png")


def table(found: dict[str, Any], budgets: list[int]) -> str:
    rows = found["rows"]
    reference = rows[0]["distance"]
    lines = [
        f"{found['ecgs']} ECGs drawn again, {found['real']} real ones; kernel distance x 1000 (+- sd), its ratio to "
        "the first row's, median error of the heart rate in beats/min",
        "",
        "| sampler | calls | kernel distance | ratio | heart rate | latent RMS to first row |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        latent = "" if r["latent"] is None else f"{r['latent']:.3f}"
        lines.append(
            f"| {r['sampler']} | {r['calls']} | {r['distance']:.2f} +- {r['std']:.2f} | "
            f"{r['distance'] / reference:.2f} | {r['rate_error']:.1f} | {latent} |"
        )
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Path) -> None:
    """Both figures against network calls; what is far off the reference lies outside the
    picture and in the table only."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    page = Figure(figsize=(12, 6.5), layout="constrained")
    left, right = page.subplots(1, 2)
    reference, other, *rest = found["rows"]
    for k, name in enumerate(dict.fromkeys(r["sampler"] for r in rest)):
        rows = [r for r in rest if r["sampler"] == name]
        style = {
            "color": f"C{k % 10}",
            "linestyle": "-" if k < 10 else "--",
            "marker": "o",
            "markersize": 3,
            "label": name,
        }
        left.plot([r["calls"] for r in rows], [r["distance"] / reference["distance"] for r in rows], **style)
        if "other seeds" not in name:
            right.plot([r["calls"] for r in rows], [r["latent"] for r in rows], **style)
    left.axhline(1, color="black", linestyle=":", label=reference["sampler"])
    left.axhline(other["distance"] / reference["distance"], color="grey", linestyle=":", label=other["sampler"])
    left.set(ylim=(0.7, 4), ylabel=f"kernel distance to real ECGs, in that of {reference['sampler']}")
    right.set(ylim=(0.02, 2), ylabel=f"RMS distance to the latents of {reference['sampler']}")
    budgets = sorted({r["calls"] for r in rest if r["sampler"] == "DDIM"})  # one call a step: all of the budget
    for axes, ticks in ((left, [0.8, 1, 1.2, 1.5, 2, 3, 4]), (right, [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2])):
        axes.set(xscale="log", yscale="log", xlabel="network calls")
        axes.set_xticks(budgets, labels=map(str, budgets))
        axes.set_yticks(ticks, labels=map(str, ticks))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
    page.legend(*left.get_legend_handles_labels(), fontsize=8, ncols=5, loc="outside lower center")
    page.savefig(path, dpi=90)


if __name__ == "__main__":
    app()
