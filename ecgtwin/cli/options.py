"""Options that several commands and scripts have, and how figures are told."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer

from ..atomic import write_text

HOW = "How it is drawn"
"""Panel of the help."""
Reports = Annotated[
    list[str] | None,
    typer.Option("--report", help="statement of the wanted state; may be repeated, or several with | between them"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps")]
Seed = Annotated[int, typer.Option(help="sample k is drawn from SEED + k and the reference")]
Json = Annotated[bool, typer.Option("--json", help="print the report as JSON")]
People = Annotated[int, typer.Option(min=2, help="real references in sinus rhythm")]
Output = Annotated[Path | None, typer.Option(help="also write the figures to this file, as JSON")]
Steps = Annotated[
    int | None, typer.Option(help="denoising steps; the model's own number if left out", rich_help_panel=HOW)
]

Adapters = Annotated[
    list[str] | None,
    typer.Option("--adapter", help="file of an adapter, or FILE=WEIGHT (1 = as learned); may be repeated"),
]


Learned = Annotated[
    list[Path] | None,
    typer.Option(
        "--learned", help="file of a statement or word that scripts/train_subject.py learned; may be repeated"
    ),
]


class Adaptable(Protocol):
    """A model that takes adapters, of ECGs or of images."""

    def load_adapter(self, path: str | Path, *, weight: float = 1.0, name: str | None = None) -> str: ...


T = TypeVar("T", bound=Adaptable)


def adapted(model: T, adapters: list[str] | None) -> T:
    """A model with the adapters of an option. ValueError for a weight that is no number, and as `load_adapter`."""
    for k, text in enumerate(adapters or ()):
        path, sign, weight = text.rpartition("=") if not Path(text).is_file() else (text, "", "")
        try:
            number = float(weight) if sign else 1.0
        except ValueError:
            raise ValueError(f"--adapter {text}: expected FILE or FILE=WEIGHT, with a number such as 0.7") from None
        file = Path(path if sign else text)
        model.load_adapter(file, weight=number, name=f"{k}:{file.parent.name}/{file.stem}")
    return model


def statements(texts: list[str] | None) -> tuple[str, ...]:
    """Report statements of an option that may be repeated, each of which may hold several with "|" between them."""
    parts = [[part.strip() for part in text.split("|") if part.strip()] or [text] for text in texts or ()]
    return tuple(part for found in parts for part in found)


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as a table in Markdown."""
    heads = list(rows[0])
    told = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    lines = [heads, ["---"] * len(heads), *told]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tell(figures: Any, text: str, as_json: bool, output: Path | None = None) -> None:
    """Print figures in words, or as JSON where that is asked for; and write them to the file that is asked for."""
    encoded = json.dumps(figures, indent=2, ensure_ascii=False)
    if output is not None:
        write_text(output, encoded + "\n")
    typer.echo(encoded if as_json else text)


Model = Annotated[Path | None, typer.Option(help="model folder; 'default', the model inside the package, if left out")]
ModelFolder = Annotated[Path, typer.Argument(help='a model folder, or "default"')]
"""Where a script measures or distils one model: read by `twin.model.named`."""
RealOption = Annotated[Path, typer.Option(help="a store made by `ecgtwin data prepare`, or a PTB-XL folder")]
OtherTwins = Annotated[int, typer.Option(help="another seed, other twins")]
OtherNoise = Annotated[int, typer.Option(help="another seed, other noise")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace another run in the output folder")]
