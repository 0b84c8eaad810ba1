"""Measure the decoder's equaliser of a model folder on the training ECGs of a store, and write it into config.json.

python scripts/equalise.py MODEL STORE

Where the model puts a recording's noise back (sampling.noise_floor), so does the measurement. The weights stay as they
are. `export_model.py` does the same for a new model.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, Output, tell

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: Annotated[Path, typer.Argument(help='a model folder, or "default"')],
    store: Annotated[Path, typer.Argument(help="a store that data prepare wrote")],
    seed: Annotated[int, typer.Option(help="which of the training ECGs, where there are more than 800")] = 0,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing():
        from ecgtwin.atomic import write_text
        from ecgtwin.ecg.store import Store
        from ecgtwin.ecg.store.recordings import Recordings
        from ecgtwin.training.equaliser import measure
        from ecgtwin.twin import model as models

        folder = models.named(model)
        parts = models.load(folder)
        plain = models.build_codec(parts.config.model_copy(update={"equaliser": None}))
        plain.load_state_dict(parts.vae.state_dict())
        found = measure(
            plain.eval(), Recordings.of([Store.open(store)]).only("train"), seed, band=parts.config.sampling.noise_floor
        )
        found = found.model_dump()
        tree = models.read_config(folder)
        tree["model"]["equaliser"] = found
        write_text(folder / "config.json", json.dumps(tree, indent=2) + "\n")
        rows = [
            f"{hz:6.1f} Hz  {min(gains):6.1f} to {max(gains):6.1f} dB"
            for hz, *gains in zip(found["hz"], *found["db"], strict=True)
        ]
        tell(found, "\n".join([f"{folder / 'config.json'}: gains over the leads", *rows]), as_json, output)


if __name__ == "__main__":
    app()
