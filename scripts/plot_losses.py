"""Curves of one figure of several trainings in one picture, from their losses.csv.

python scripts/plot_losses.py runs/adax runs/adaln runs/cross --figure held --output curves.png
"""

import csv
from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, tell

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def read(folder: Path, figure: str) -> dict[int, float]:
    """Step -> value. FileNotFoundError or ValueError where there is none."""
    path = folder / "losses.csv"
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: give folders that a training has written to")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {int(row["step"]): float(row["value"]) for row in rows if row["figure"] == figure}
    if not found:
        raise ValueError(
            f"{path} has no figure {figure!r}: it has {', '.join(sorted({row['figure'] for row in rows}))}"
        )
    return found


@app.command(help=__doc__)
def main(
    runs: Annotated[list[Path], typer.Argument(help="folders of trainings")],
    output: Annotated[Path, typer.Option(help="the picture to write, .png or .svg")],
    figure: Annotated[str, typer.Option(help="which figure")] = "held",
    log: Annotated[bool, typer.Option("--log", help="logarithmic axis")] = False,
    as_json: Json = False,
) -> None:
    with refusing():
        from matplotlib.figure import Figure

        page = Figure(figsize=(7, 4), layout="constrained")
        axes = page.subplots()
        for run in runs:
            curve = read(run, figure)
            last = list(curve.values())[-1]
            axes.plot(
                list(curve), list(curve.values()), marker="o", markersize=3, label=f"{run.name}: {last:.4f} at last"
            )
        axes.set(xlabel="step", ylabel=figure, yscale="log" if log else "linear")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        page.savefig(output, dpi=110)
        found = {run.name: read(run, figure) for run in runs}
        lines = (f"{name}: " + " ".join(f"{k}:{v:.4f}" for k, v in curve.items()) for name, curve in found.items())
        tell(found, "\n".join(lines), as_json)


if __name__ == "__main__":
    app()
