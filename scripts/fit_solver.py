"""Fit a solver of few calls to a model: solvers.json in its folder, which --fast then takes.

python scripts/fit_solver.py MODEL STORE [--calls 4 --calls 3] [--usual 4] [--references 320] [--seed 0]

MODEL: a model folder, or "default". What the guided model draws of training patients in 20 steps is what a run of few
calls is fitted to: its levels by search, its 5 to 14 numbers by least squares. Weights stay as they are and nothing is
trained: five minutes on one core. How near it comes is told of validation patients.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, Output, tell

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: Annotated[Path, typer.Argument(help='a model folder, or "default"')],
    store: Annotated[Path, typer.Argument(help="a store that data prepare wrote")],
    calls: Annotated[list[int], typer.Option(help="numbers of calls; may be repeated", min=1, max=20)] = [4, 3, 2],  # noqa: B006
    usual: Annotated[int, typer.Option(help="calls of --fast where --steps is left out")] = 4,
    references: Annotated[int, typer.Option(help="of training patients", min=16)] = 320,
    seed: Annotated[int, typer.Option(help="which references, and their noise")] = 0,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing():
        from ecgtwin.atomic import write_text
        from ecgtwin.ecg.store.recordings import Recordings, fitting
        from ecgtwin.training.few_calls import fitted
        from ecgtwin.twin import model as models
        from ecgtwin.twin.twin import ECGTwin

        folder = models.named(model)
        twin = ECGTwin(replace(models.load(folder), solvers=None))
        signal = twin.config.signal
        recordings = Recordings.of([fitting(store, signal.rate, signal.samples)])
        found, figures = fitted(twin, recordings, calls, usual=usual, references=references, seed=seed, told=say)
        write_text(folder / models.SOLVERS, json.dumps(found.described(twin.parts), indent=1) + "\n")
        rows = [
            f"{n} calls: {row['fitted_uv']:.1f} uV from the long run, UniPC {row['unipc_uv']:.1f}"
            for n, row in figures["calls"].items()
        ]
        tell(figures, "\n".join([str(folder / models.SOLVERS), *rows]), as_json, output)


if __name__ == "__main__":
    app()
