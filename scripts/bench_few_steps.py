"""Do few steps hold the quality of many? The same twins, from the same noise, by several runs, judged side by side.

python scripts/bench_few_steps.py STORE_OR_PTBXL [--model FOLDER] [--references 40] [--cache FOLDER] [--output FOLDER]

Each real validation reference in sinus rhythm is asked for sinus rhythm and for the five states that the independent
judge (openecg; extra `judge`) has a class for, and as many validation ECGs are drawn again under their own condition.
AUROC: by the judge and by the 12-lead classifier, of each state's twins against those asked for sinus rhythm, mean over
states. Kernel distance (x 1000): of what was drawn again to all real validation ECGs, on features that no network made.
Heart rate: median of |measured - asked|, beats/min. Every figure is also given as its difference to the first run's,
with the 95 % interval over references (percentile bootstrap, both runs resampled together). --cache keeps what was
drawn, so that a run which was stopped goes on.
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer

from ecgtwin.atomic import write_file, write_text
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, tell
from ecgtwin.diffusion.solvers import DpmPP, Solver, UniPC
from ecgtwin.ecg.rhythm import heart_rate
from ecgtwin.evaluation.evaluate import opened
from ecgtwin.evaluation.per_state import JUDGED, SINUS, STATES, references, twins
from ecgtwin.evaluation.requested_state import plain
from ecgtwin.metrics.evaluators import Statements
from ecgtwin.metrics.features import ecg_features, standardised
from ecgtwin.metrics.frechet import kernel_distance_drawn
from ecgtwin.metrics.judge import CLASSES, load_judge
from ecgtwin.metrics.two_sample import auroc
from ecgtwin.twin.lean import Precision
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
ASKED = ("sinus rhythm", *JUDGED)
AGAIN = "own condition"
RESAMPLED = 1000


class Run(NamedTuple):
    solver: Solver | None
    """None: what `fast` takes for so many steps, the solver that was fitted to the model."""
    steps: int
    precision: Precision = "float32"

    @property
    def options(self) -> dict[str, Any]:
        return {"steps": self.steps} | ({"fast": True} if self.solver is None else {"solver": self.solver})


RUNS = {
    "DPM-Solver++ 2M, 20 steps": Run(DpmPP(2), 20),
    "fitted, 4 steps": Run(None, 4),
    "fitted, 3 steps": Run(None, 3),
    "fitted, 2 steps": Run(None, 2),
    "UniPC, 4 steps": Run(UniPC(2), 4),
    "UniPC, 6 steps": Run(UniPC(2), 6),
    "DPM-Solver++ 2M, 10 steps": Run(DpmPP(2), 10),
}
"""The first is what the others are compared with."""


class Drawn(NamedTuple):
    """Of one run: scores (N, states + 1) by both readers, sinus rhythm first; features of what was drawn again;
    |measured - asked| heart rate (N, states + 1)."""

    judge: np.ndarray
    classifier: np.ndarray
    features: np.ndarray
    rate: np.ndarray

    def figures(self, real: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """AUROC by judge and classifier and kernel distance (times, 3), given how often each reference counts
        (times, N)."""
        truth = np.repeat([0, 1], len(self.rate))

        def mean(scores: np.ndarray, w: np.ndarray) -> float:  # (N, states, 2): asked for sinus rhythm, for the state
            return float(np.mean([auroc(s.T.ravel(), truth, np.tile(w, 2)) for s in scores.swapaxes(0, 1)]))

        distance = 1000 * kernel_distance_drawn(self.features, real, weights, np.ones((1, len(real))))
        found = [[mean(self.judge, w), mean(self.classifier, w)] for w in weights]
        return np.concatenate([found, distance[:, None]], 1)


FIGURES = ("judge", "classifier", "kernel distance")


def read(signals: dict[str, np.ndarray], asked: dict[str, np.ndarray], rate: float, unit: Any) -> Drawn:
    """Measure what one run drew: name of the state -> (N, 8, L) mV, and the heart rates asked for (N,)."""
    judge, reader = load_judge(), Statements.load()
    pairs = {"judge": [], "classifier": []}
    sinus = signals["sinus rhythm"]
    of_judge = {name: np.array([judge(x[1], rate) for x in signals[name]]) for name in ASKED}
    for name, state in JUDGED.items():
        column = CLASSES.index(state)
        pairs["judge"].append(np.stack([of_judge["sinus rhythm"][:, column], of_judge[name][:, column]], 1))
        statement = [next(s for s in STATES[name][0] if s not in SINUS)]
        pairs["classifier"].append(
            np.stack([reader.of(sinus, statement)[:, 0], reader.of(signals[name], statement)[:, 0]], 1)
        )
    errors = [np.abs(np.array([heart_rate(x, rate) or np.nan for x in signals[name]]) - asked[name]) for name in ASKED]
    features = unit(ecg_features(signals[AGAIN], rate))
    return Drawn(*(np.stack(found, 1) for found in pairs.values()), features, np.stack(errors, 1))


def keep(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


@app.command(help=__doc__)
def main(
    real: Annotated[Path, typer.Argument(help="a store made by `ecgtwin data prepare`, or a PTB-XL folder")],
    model: Annotated[Path | None, typer.Option(help="model folder; the model inside the package if left out")] = None,
    count: Annotated[int, typer.Option("--references", help="real references", min=8)] = 40,
    seed: Annotated[int, typer.Option(help="another seed, other noise")] = 0,
    cache: Annotated[Path | None, typer.Option(help="folder for what was drawn")] = None,
    output: Annotated[Path | None, typer.Option(help="write few_steps.md, .json and .png here")] = None,
    as_json: Json = False,
) -> None:
    with refusing():
        models = {"float32": ECGTwin.from_pretrained(model)}
        signal = models["float32"].config.signal
        with opened(real, signal.rate, signal.samples) as recordings:
            held = recordings.only("validation")
            rows = plain(held, count, seed)
            refs = references(models["float32"], held, rows)
            drawn_again = np.sort(np.random.default_rng(seed).permutation(len(held))[: len(rows)])
            others = references(models["float32"], held, drawn_again)
            features = ecg_features(held.millivolts(), signal.rate)
        unit = standardised(features)
        kept: dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = {}
        for name, run in RUNS.items():
            if run.precision not in models:
                models[run.precision] = ECGTwin.from_pretrained(model, precision=run.precision)
            one, (signals, asked) = models[run.precision], kept.setdefault(name, ({}, {}))
            if run.solver is None and (one.fitted is None or run.steps not in one.fitted.solvers):
                say(f"{name}: left out, the model has no such solver (scripts/fit_solver.py)")
                del kept[name]
                continue
            for state in (*ASKED, AGAIN):
                path = None if cache is None else cache / f"{name}, {state}.npz"
                if path is None or not path.is_file():
                    reports, rate = STATES[state] if state != AGAIN else (None, None)
                    who = refs if state != AGAIN else others
                    x, requests = twins(one, who, reports, rate, seed, **run.options)
                    beats = np.array([r.beats.heart_rate if r.beats else rate or np.nan for r in requests], float)
                    if path is not None:
                        write_file(path, lambda p, x=x, b=beats: keep(p, x=x, beats=b))
                    signals[state], asked[state] = x, beats
                else:
                    with np.load(path) as file:
                        signals[state], asked[state] = file["x"], file["beats"]
            say(name)
        found = {name: read(*drawn, signal.rate, unit) for name, drawn in kept.items()}
        text, figures = compared(found, unit(features), {n: RUNS[n].steps for n in kept}, seed)
        if output is not None:
            write_text(output / "few_steps.md", text + "\n")
            write_file(output / "few_steps.png", lambda path: plot(figures, path))
        tell(figures, text, as_json, output and output / "few_steps.json")


def compared(found: dict[str, Drawn], real: np.ndarray, steps: dict[str, int], seed: int) -> tuple[str, dict[str, Any]]:
    """Figures of every run, and the intervals of their differences to the first."""
    rng, n = np.random.default_rng(seed), len(next(iter(found.values())).rate)
    weights = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), RESAMPLED)])
    all_figures = {name: one.figures(real, weights) for name, one in found.items()}
    first = next(iter(all_figures.values()))
    lines = [
        f"{n} references, PyTorch {torch.__version__}; differences to the first row with 95 % intervals",
        "",
        "| run | judge, AUROC | difference | classifier, AUROC | difference | kernel distance | difference "
        "| heart rate, /min |",
        "|---" * 8 + "|",
    ]
    figures: dict[str, Any] = {"references": n, "runs": {}}
    for name, values in all_figures.items():
        apart = values - first
        low, high = np.percentile(apart[1:], [2.5, 97.5], axis=0)
        row = {
            key: {"value": float(values[0, k]), "difference": float(apart[0, k]), "low": float(low[k]),
                  "high": float(high[k])}
            for k, key in enumerate(FIGURES)
        }  # fmt: skip
        figures["runs"][name] = {"steps": steps[name], **row, "heart rate": float(np.nanmedian(found[name].rate))}
        rate_error = figures["runs"][name]["heart rate"]
        cells = [name]
        for key, digits in zip(FIGURES, (3, 3, 2), strict=True):
            of = row[key]
            cells.append(f"{of['value']:.{digits}f}")
            told = f"{of['difference']:+.{digits}f} ({of['low']:+.{digits}f} to {of['high']:+.{digits}f})"
            cells.append(told if name != next(iter(found)) else "")
        lines.append("| " + " | ".join([*cells, f"{rate_error:.1f}"]) + " |")
    return "\n".join(lines), figures


def plot(figures: dict[str, Any], path: Path) -> None:
    """Differences to the first run with their intervals."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(11, 3.4), layout="constrained")
    names = list(figures["runs"])[1:]
    for axes, key in zip(page.subplots(1, 3, sharey=True), FIGURES, strict=True):
        for k, name in enumerate(names):
            of = figures["runs"][name][key]
            axes.plot([of["low"], of["high"]], [k, k], color="tab:blue")
            axes.plot(of["difference"], k, "o", color="tab:blue")
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(xlabel=f"{key}, difference to 20 steps", yticks=range(len(names)), yticklabels=names)
        axes.locator_params(axis="x", nbins=4)
        axes.grid(alpha=0.3)
    page.axes[0].invert_yaxis()
    page.savefig(path, dpi=90)


if __name__ == "__main__":
    app()
