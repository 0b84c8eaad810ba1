"""How reliably a model draws each of its statements, as the reliability.json that belongs beside its weights.

python scripts/measure_reliability.py MODEL PTBXL --output MODEL/reliability.json

About 10 minutes on one core; stopped, the same command goes on where it was (OUTPUT.part.json).
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.atomic import write_text
from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, ModelFolder, OtherTwins, People, Steps
from ecgtwin.evaluation import reliability
from ecgtwin.evaluation.evaluate import opened
from ecgtwin.twin.model import named
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: ModelFolder,
    real: Annotated[Path, typer.Argument(help="the store that it was trained on, or a PTB-XL folder")],
    output: Annotated[Path, typer.Option(help="the file to write")],
    people: People = 24,
    steps: Steps = None,
    seed: OtherTwins = 0,
    as_json: Json = False,
) -> None:
    with refusing():
        twin = ECGTwin.from_pretrained(named(model))
        signal, part = twin.config.signal, output.with_suffix(".part.json")
        same = [twin.weights_hash, people, steps, seed]
        begun = json.loads(part.read_text()) if part.is_file() else None
        kept = begun["found"] if begun and begun["of"] == same else {}

        def told(found: dict[str, reliability.Judged]) -> None:
            name = list(found)[-1]
            say(f"{len(found)} of {len(twin.statements)}: {name}: {found[name]}")
            rows = {name: one.model_dump() for name, one in found.items()}
            write_text(part, json.dumps({"of": same, "found": rows}))

        done = {name: reliability.Judged(**row) for name, row in kept.items()}
        with opened(real, signal.rate, signal.samples) as recordings:
            found = reliability.measure(twin, recordings, people=people, seed=seed, done=done, told=told, steps=steps)
        write_text(output, found.model_dump_json(indent=1) + "\n")
        part.unlink(missing_ok=True)
        if as_json:
            typer.echo(found.model_dump_json(indent=1, exclude={"training"}))


if __name__ == "__main__":
    app()
