"""Fit the table by which unknown leads are expected from known ones (`ecgtwin/ecg/expected.py`), on training ECGs.

python scripts/fit_leads.py --store STORE --output expected.safetensors
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from ecgtwin.cli import train as o
from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, tell
from ecgtwin.ecg.expected import DELAYS, DIRECTIONS, RATE, Expected
from ecgtwin.ecg.store.recordings import Recordings, fitting

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SAMPLES = 1024


@app.command(help=__doc__)
def main(
    store: o.Stores,
    output: Annotated[Path, typer.Option(help="the table's file")],
    directions: Annotated[int, typer.Option(help="of median beats", min=1)] = DIRECTIONS,
    delays: Annotated[int, typer.Option(help="samples to each side", min=0)] = DELAYS,
    as_json: Json = False,
) -> None:
    with refusing():
        recordings = Recordings.of([fitting(folder, RATE, SAMPLES) for folder in store])
        x = recordings.millivolts(recordings.places("train", simulated=False))
        x -= np.median(x, -1, keepdims=True)
        Expected.fit(tqdm(x, desc="recordings"), directions, delays).save(output)
        facts = {"recordings": len(x), "directions": directions, "delays": delays, "bytes": output.stat().st_size}
        tell(facts, f"{output}: {', '.join(f'{k} {v}' for k, v in facts.items())}", as_json)


if __name__ == "__main__":
    app()
