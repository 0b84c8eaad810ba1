"""Options that several commands and scripts have."""

from pathlib import Path
from typing import Annotated

import typer

Reports = Annotated[
    list[str] | None,
    typer.Option("--report", help="statement of the wanted state; may be repeated, or several with | between them"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps")]
Seed = Annotated[int, typer.Option(help="sample k is drawn from SEED + k and the reference")]
Json = Annotated[bool, typer.Option("--json", help="print the report as JSON")]
Steps = Annotated[int | None, typer.Option(help="denoising steps; the model's own number if left out")]


def statements(texts: list[str] | None) -> tuple[str, ...]:
    """Report statements of an option that may be repeated, each of which may hold several with "|" between them."""
    parts = [[part.strip() for part in text.split("|") if part.strip()] or [text] for text in texts or ()]
    return tuple(part for found in parts for part in found)


Model = Annotated[Path | None, typer.Option(help="model folder; 'default', the model inside the package, if left out")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace another run in the output folder")]
