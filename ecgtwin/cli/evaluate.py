"""`ecgtwin evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .errors import refusing, say
from .options import Device, Seed


def evaluate(
    model: Annotated[Path, typer.Argument(help="model folder, or 'default'")],
    real: Annotated[Path, typer.Option(help="a store made by `ecgtwin data prepare`, or a PTB-XL folder")],
    people: Annotated[int, typer.Option(help="simulated people, whose counterfactuals are known; 0: none")] = 16,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here as JSON")] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure reconstruction, identity, heart rate and speed on the validation patients, and counterfactuals on simulated people."""
    with refusing():
        from ..atomic import write_text
        from ..evaluation.evaluate import evaluate as measure
        from ..evaluation.report import summary
        from ..twin.model import named
        from ..twin.twin import ECGTwin

        loaded = ECGTwin.from_pretrained(named(model), device=device)
        figures = measure(loaded, real, people=people, seed=seed, report=lambda t: say(f"… {t}"))
        if json_file is not None:
            write_text(json_file, json.dumps(figures, indent=2) + "\n")
        typer.echo(summary(figures))
