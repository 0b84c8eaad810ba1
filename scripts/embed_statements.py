"""Embed report statements once, so that generating needs no text encoder.

Writes OUTPUT/statements.safetensors and OUTPUT/statements.json, which `StatementTable.load("OUTPUT/statements")` reads.
"""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, tell
from ecgtwin.text import CachedEncoder, NomicEncoder, SentenceTransformerEncoder, StatementTable
from ecgtwin.text.statements import SCP, STATEMENTS


class Kind(StrEnum):
    sentence_transformers = "sentence-transformers"
    nomic = "nomic"


class Vocabulary(StrEnum):
    scp = "scp"
    all = "all"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Option("--encoder", help="folder of a sentence encoder (safetensors)")],
    output: Annotated[Path, typer.Option(help="folder where the table goes")],
    kind: Annotated[Kind, typer.Option(help="what reads it")] = Kind.sentence_transformers,
    name: Annotated[str | None, typer.Option(help="what to call the encoder; its folder's name if left out")] = None,
    width: Annotated[
        int | None, typer.Option(help="keep only the first so many coordinates (Matryoshka models)", min=1)
    ] = None,
    vocabulary: Annotated[Vocabulary, typer.Option(help="71 statements of PTB-XL, or all")] = Vocabulary.scp,
    given: Annotated[
        Path | None, typer.Option("--statements", help="file with one statement a line, not --vocabulary")
    ] = None,
    shrinkage: Annotated[float, typer.Option(help="of the whitening, in (0, 1]")] = 0.05,
    cache: Annotated[Path | None, typer.Option(help="folder that keeps raw vectors for the next time")] = None,
    as_json: Json = False,
) -> None:
    with refusing():
        if given is not None:
            lines = given.read_text(encoding="utf-8").splitlines()
            statements = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
        else:
            statements = tuple(SCP.values()) if vocabulary is Vocabulary.scp else tuple(s.name for s in STATEMENTS)
        if kind is Kind.nomic:
            encoder = NomicEncoder(folder, width or 768, name=name)
        else:
            encoder = SentenceTransformerEncoder(folder, matryoshka=width, name=name)
        start = time.perf_counter()
        source = CachedEncoder(encoder, cache) if cache else encoder
        table = StatementTable.build(statements, source, shrinkage=shrinkage)
        output.mkdir(parents=True, exist_ok=True)
        table.save(output / "statements")
        seconds = time.perf_counter() - start
        report = {
            "statements": len(table),
            "width": table.width,
            "encoder": table.encoder,
            "fingerprint": table.fingerprint,
        }
        report |= {
            "seconds": round(seconds, 1),
            "files": [f"{output / 'statements'}.{ending}" for ending in ("safetensors", "json")],
        }
        tell(report, "\n".join(f"{key}: {value}" for key, value in report.items()), as_json)


if __name__ == "__main__":
    app()
