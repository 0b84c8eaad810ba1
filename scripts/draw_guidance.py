"""What guidance and strength do to one simulated person, as the pictures of docs/clinicians.md:

python scripts/draw_guidance.py [--model MODEL] [--output docs/pictures] [--json]
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.figure import Figure

from ecgtwin import ECG, Condition, ECGTwin
from ecgtwin.atomic import write_file
from ecgtwin.cli.options import Json, OtherTwins
from ecgtwin.ecg.intervals import usual_beat
from ecgtwin.ecg.leads import LEADS
from ecgtwin.ecg.median_beat import RATE
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.twin.model import named

STATE = "sinus rhythm|complete right bundle branch block"
SHOWN = ("I", "V1", "V2", "V6")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: Annotated[Path, typer.Option(help='a model folder, or "default"')] = Path("default"),
    output: Annotated[Path, typer.Option(help="folder of the pictures")] = Path("docs/pictures"),
    samples: Annotated[int, typer.Option(help="twins of each guidance", min=1)] = 8,
    seed: OtherTwins = 0,
    as_json: Json = False,
) -> None:
    twin = ECGTwin.from_pretrained(named(model))
    reference = simulate(Person.draw(7), "sinus rhythm", 66.0, seed=7)
    was = Condition("sinus rhythm", reference.sex, reference.age, 66.0)
    asked = {"reference_condition": was, "seed": seed}
    wanted = Condition(STATE, heart_rate=66)
    own = twin.scales(twin.requests(reference, wanted, [seed], reference_condition=was)[0], None, None)[0]
    by_guidance = {
        f"guidance {g:g}{', its own' if g == own else ''}": twin.generate(
            reference, wanted, guidance=g, n=samples, **asked
        )
        for g in (0.0, 1.0, own, 2 * own)
    }
    by_strength = {
        f"strength {s:g}": [twin.counterfactual(reference, Condition(STATE), strength=s, **asked)]
        for s in (0.0, 0.5, 1.0)
    }
    found = {}
    for name, drawn in (("guidance", by_guidance), ("strength", by_strength)):
        figure = drawing(reference, drawn)
        write_file(output / f"{name}.png", lambda p, f=figure: f.savefig(p, dpi=90, format="png"))
        found[name] = {label: qrs(ecgs) for label, ecgs in drawn.items()}
    typer.echo(
        json.dumps(found) if as_json else "\n".join(f"{k}: QRS {v}" for r in found.values() for k, v in r.items())
    )


def qrs(ecgs: list[ECG]) -> float | None:
    """Median QRS duration in ms."""
    values = [v for ecg in ecgs if (v := ecg.measured().qrs) is not None]
    return round(float(np.median(values)), 1) if values else None


def drawing(reference: ECG, drawn: dict[str, list[ECG]]) -> Figure:
    """Median beats: a row for each setting, the reference in grey, each sample thin, their median thick."""
    figure = Figure(figsize=(10, 0.4 + 2.1 * len(drawn)), facecolor="white", layout="constrained")
    axes = figure.subplots(len(drawn), len(SHOWN), sharex=True, sharey="col")
    own = beat(reference.resample(next(iter(drawn.values()))[0].rate))
    for row, (label, ecgs) in zip(axes, drawn.items(), strict=True):
        beats = [b for ecg in ecgs if (b := beat(ecg)) is not None]
        for axis, lead in zip(row, SHOWN, strict=True):
            k = LEADS.index(lead)
            ms = (np.arange(own.shape[1]) - 0.3 * RATE) * 1000 / RATE
            axis.plot(ms, own[k], color="#9aa2ad", linewidth=1.6, label="reference")
            for one in beats:
                axis.plot(ms, one[k], color="#b3202c", linewidth=0.5, alpha=0.45)
            axis.plot(ms, np.median([one[k] for one in beats], 0), color="#b3202c", linewidth=1.7, label="twins")
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=8)
            axis.set_title(f"{lead}: {label}", loc="left", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("ms from QRS onset", fontsize=8)
    for row in axes:
        row[0].set_ylabel("mV", fontsize=8)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2, fontsize=9, frameon=False)
    return figure


def beat(ecg: ECG) -> np.ndarray | None:
    ecg = ecg.twelve()
    return usual_beat(ecg.signal, ecg.rate, ecg.leads)


if __name__ == "__main__":
    app()
