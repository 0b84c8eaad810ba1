"""One simulated person's exact counterfactuals beside what a model draws: median beats of the
reference, the truth and the twin.

python scripts/plot_truth.py --output truth.png [--model MODEL] [--state "atrial fibrillation" --state ...]
"""

from pathlib import Path
from textwrap import fill
from typing import Annotated

import typer

from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, tell

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SHOWN = (
    "complete left bundle branch block",
    "complete right bundle branch block",
    "left ventricular hypertrophy",
    "normal functioning artificial pacemaker",
)


@app.command(help=__doc__)
def main(
    output: Annotated[Path, typer.Option(help="the picture to write")],
    model: Annotated[Path, typer.Option(help="model folder, or 'default'")] = Path("default"),
    state: Annotated[list[str], typer.Option(help="of the simulator; repeat")] = list(SHOWN),  # noqa: B006 typer reads it
    guidance: Annotated[float | None, typer.Option(help="left out: the model's own")] = None,
    seed: Annotated[int, typer.Option(help="another seed, another person")] = 0,
    as_json: Json = False,
) -> None:
    with refusing():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        from ecgtwin.atomic import write_file
        from ecgtwin.ecg.leads import INDEPENDENT
        from ecgtwin.evaluation.simulated_truth import aligned, centred, drawn, paired
        from ecgtwin.metrics.identity import GRID, POINTS
        from ecgtwin.twin.model import named
        from ecgtwin.twin.twin import ECGTwin

        options = {} if guidance is None else {"guidance": guidance}
        loaded = ECGTwin.from_pretrained(named(model))
        figure = Figure(figsize=(12, 1.6 * len(state)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(state), 8, sharex=True, sharey="row", squeeze=False)
        correlation = {}
        for row, (name, beats) in zip(axes, drawn(loaded, 1, state, seed=seed, **options), strict=True):
            truth = centred(beats.truth)
            before, twin = aligned(beats.reference, truth), aligned(beats.twin, truth)
            for label, colour, found in (("reference", "0.6", before), ("truth", "k", truth), ("twin", "C3", twin)):
                for axis, lead in zip(row, found[0].reshape(-1, POINTS), strict=True):
                    axis.plot(GRID, lead, color=colour, lw=1.2, label=label)
            correlation[name] = float(paired(twin, truth)[0])
            row[0].set_ylabel(f"{fill(name, 22)}\nr = {correlation[name]:.2f}", fontsize=7)
        for axis in axes.flat:
            axis.tick_params(labelsize=6)
        figure.supxlabel("s from the R peak", fontsize=8)
        figure.supylabel("mV", fontsize=8)
        for axis, lead in zip(axes[0], INDEPENDENT, strict=True):
            axis.set_title(lead, fontsize=9)
        axes[0, 0].legend(fontsize=6, frameon=False)
        write_file(output, lambda p: figure.savefig(p, dpi=90, format="png"))
        tell({"picture": str(output), "correlation": correlation}, str(output), as_json)


if __name__ == "__main__":
    app()
