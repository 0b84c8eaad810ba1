"""`ecgtwin reader-pack` and `ecgtwin reader-score`: a blinded reading."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .errors import refusing, say
from .options import Json

ENDINGS = (".hea", ".csv", ".npz", ".dcm", ".xml", ".scp", ".edf")


def reader_pack(
    real: Annotated[list[Path], typer.Option("--real", help="recorded ECGs: files or folders; may be repeated")],
    synthetic: Annotated[
        list[Path], typer.Option("--synthetic", help="synthetic ECGs: files or folders; may be repeated")
    ],
    output: Annotated[Path, typer.Option(help="folder of the sheets and the form, for the readers")] = Path("reading"),
    key: Annotated[
        Path | None, typer.Option(help="folder of the key, for nobody who reads; OUTPUT_key if left out")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the order")] = 0,
) -> None:
    """Shuffle real and synthetic ECGs into unmarked sheets with a form; the key goes into another folder."""
    with refusing():
        from ..ecg.record import ECG
        from ..evaluation.reader_pack import write_pack

        apart = key or output.with_name(output.name + "_key")
        recorded, made = ([ECG.read(path) for path in files(places)] for places in (real, synthetic))
        for ecg in recorded:
            if ecg.synthetic:
                raise ValueError(f"{ecg.name} is marked synthetic: give it with --synthetic")
        rows = write_pack(recorded, made, output, apart, seed=seed)
        say(f"{len(rows)} sheets and a form in {output}; the key, which readers must not see, in {apart}")


def reader_score(
    key: Annotated[Path, typer.Argument(help="key.csv, or its folder")],
    forms: Annotated[list[Path], typer.Argument(help="the readers' forms, form_NAME.csv")],
    as_json: Json = False,
) -> None:
    """Score the forms of a blinded reading: accuracy with interval, for each reader and each finding."""
    with refusing():
        from ..evaluation.reader_pack import score, summary

        found = score(key / "key.csv" if key.is_dir() else key, forms)
        typer.echo(json.dumps(found, indent=2) if as_json else summary(found))


def files(places: list[Path]) -> list[Path]:
    """Files as they are, and those in folders that look like ECGs."""
    found = []
    for place in places:
        inside = sorted(p for p in place.iterdir() if p.suffix.lower() in ENDINGS) if place.is_dir() else [place]
        if not inside:
            raise ValueError(f"{place}: no ECG in this folder: expected files that end in {', '.join(ENDINGS)}")
        found += inside
    return found
