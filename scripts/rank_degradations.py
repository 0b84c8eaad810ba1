"""Do the distances between sets of ECGs rank real ECGs that were made worse by known amounts?

python scripts/rank_degradations.py STORE_OR_PTBXL [--split validation] [--output TABLE.json]

From least to worst: real, a round trip through 100 Hz, 0.05 mV of noise, a blur to 8 Hz, time reversed; each made of
all real ECGs of the split, and compared with those of the other half of the patients. A figure that does not rank them
so is marked, with the neighbours that it confuses. About a minute on one core for 500 ECGs.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.evaluation.evaluate import opened
from ecgtwin.evaluation.reading import Judges, Reading
from ecgtwin.evaluation.realism import degraded, realism
from ecgtwin.evaluation.run import real

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    store: Annotated[Path, typer.Argument(help="a store made by `ecgtwin data prepare`, or a PTB-XL folder")],
    split: Annotated[str, typer.Option(help="of the patients")] = "validation",
    output: Output = None,
    as_json: Json = False,
    seed: Annotated[int, typer.Option(help="another seed, other halves of the patients")] = 0,
) -> None:
    judges = Judges.load()
    with opened(store, 102.4, 1024) as recordings:
        train, held = real(recordings, "train"), real(recordings, split)
        rows = np.sort(np.random.default_rng([seed, 7]).permutation(len(train))[:1500])
        seen = Reading(train.millivolts(rows), train.rate, train.patient[rows], judges)
        whole = Reading(held.millivolts(), held.rate, held.patient, judges)
    figures = realism(whole, seen, degraded(whole), seed)
    lines = []
    for f in figures:
        values = ", ".join(f"{name} {row.value:.3g}" for name, row in f.rows.items())
        lines.append(f"{f.name}: {values}. {f.note or 'Ranks them.'}")
    found = {"figures": [f.plain() for f in figures]}
    tell(found, "\n".join(lines), as_json, output)


if __name__ == "__main__":
    app()
