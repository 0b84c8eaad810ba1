"""`ecgtwin evaluate`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .errors import refusing, say
from .options import Device, Json, Seed


class Split(StrEnum):
    train = "train"
    validation = "validation"
    test = "test"


def evaluate(
    model: Annotated[Path, typer.Argument(help="model folder, or 'default'")],
    real: Annotated[Path, typer.Option(help="a store made by `ecgtwin data prepare`, or a PTB-XL folder")],
    split: Annotated[Split, typer.Option(help="of the patients; in PTB-XL validation is fold 9, test fold 10")] = Split.validation,
    people: Annotated[int, typer.Option(help="simulated people, whose counterfactuals are known; 0: none", min=0)] = 16,
    output: Annotated[Path | None, typer.Option(help="write the figures here as JSON")] = None,
    as_json: Json = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure reconstruction, identity, heart rate and speed on patients that training never saw, and counterfactuals on simulated people.

    What the data does not allow to be measured is skipped, and named with the reason.
    """
    with refusing():
        from ..atomic import write_text
        from ..evaluation.evaluate import evaluate as measure
        from ..evaluation.report import summary
        from ..twin.model import named
        from ..twin.twin import ECGTwin

        loaded = ECGTwin.from_pretrained(named(model), device=device)
        figures = measure(loaded, real, split=split.value, people=people, seed=seed, report=lambda text: say(f"… {text}"))
        text = json.dumps(figures, indent=2)
        if output is not None:
            write_text(output, text + "\n")
        typer.echo(text if as_json else summary(figures))
