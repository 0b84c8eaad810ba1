"""Give a model's base extractor an output layer that also reads the median beat, in closed form on training ECGs.

python scripts/add_person_layer.py MODEL STORE FOLDER [--half]

Writes a new model folder, whose denoiser answers for the new base vectors what it answered for the old ones; nothing is
trained. Reports who is recognised among all ECGs of the store, and what share of the old answers the new ones explain.
"""

from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, tell

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: Annotated[Path, typer.Argument(help='a model folder, or "default"')],
    store: Annotated[Path, typer.Argument(help="a store that data prepare wrote, or a PTB-XL folder")],
    folder: Annotated[Path, typer.Argument(help="of the new model")],
    beat: Annotated[int, typer.Option(min=1, max=480, help="components of the median beat")] = 64,
    curvature: Annotated[int, typer.Option(min=1, max=248, help="components of the curvature of its QRS")] = 64,
    half: Annotated[bool, typer.Option("--half", help="store float16, half the size")] = False,
    as_json: Json = False,
) -> None:
    with refusing():
        from ecgtwin.evaluation.evaluate import opened
        from ecgtwin.training.person_layer import with_person_layer
        from ecgtwin.twin.model import named, save
        from ecgtwin.twin.twin import ECGTwin

        twin = ECGTwin.from_pretrained(named(model))
        if folder.resolve() == named(model).resolve():
            raise ValueError(f"{folder} is the model that is read: expected a folder of its own for the new one")
        with opened(store, twin.config.signal.rate, twin.config.signal.samples) as recordings:
            parts, figures = with_person_layer(twin, recordings, (beat, curvature))
        save(parts, folder, half=half)
        told = "\n".join(f"{name:16s} {value:.3f}" for name, value in figures.items())
        tell(figures, f"{folder}\n{told}", as_json, None)


if __name__ == "__main__":
    app()
