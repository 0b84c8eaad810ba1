"""`ecgtwin statements`: what can be asked for, and which of it can be trusted."""

import json
from typing import Annotated, Any

import typer

from .errors import refusing, say
from .options import Json, Model

COLUMNS = ("recorded", "with simulated", "constructed", "AUROC", "rules", "verdict")
EXPLAINED = (
    "recorded, with simulated, constructed: ECGs that taught it; the second counts simulated people, the third real "
    "ones put into other states. AUROC: an independent reader tells twins asked for it from twins asked for a normal "
    "sinus rhythm (0.5 is chance). rules: fraction of its criteria that hold in its twins. In grey what is not to be "
    "trusted: few, too little taught it; poor, AUROC below 0.75."
)


def statements(
    find: Annotated[str, typer.Option(help="only those with these words, such as 'block'")] = "",
    names: Annotated[bool, typer.Option("--names", help="their names alone, one a line")] = False,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """List the report statements that a model knows, how many ECGs taught each, and which can be trusted."""
    with refusing():
        from ..evaluation.reliability import Reliability
        from ..twin.model import DEFAULT, named, summary

        known = Reliability.of_files(*summary(named(model) if model else DEFAULT))
        wanted = find.lower().split()
        rows = [one.data() for one in known.statements.values() if all(word in one.name.lower() for word in wanted)]
    rows.sort(key=lambda row: row["name"])
    if as_json:
        typer.echo(json.dumps([row["name"] for row in rows] if names else rows, indent=2))
    elif names:
        typer.echo("\n".join(row["name"] for row in rows))
    else:
        table(rows)
        say(EXPLAINED + (f" Note: {known.note}." if known.note else ""))


def table(rows: list[dict[str, Any]]) -> None:
    """Aligned columns, those that are not to be trusted in grey on a screen."""
    width = max([len(row["name"]) for row in rows], default=0)
    typer.echo(f"{'statement':{width}}  {'  '.join(COLUMNS)}")
    for row in rows:
        values = (*(shown(row[k]) for k in ("recorded_ecgs", "training_ecgs", "constructed_ecgs", "auroc", "rules")),)
        cells = [f"{value:>{len(name)}}" for name, value in zip(COLUMNS, values, strict=False)]
        typer.secho(f"{row['name']:{width}}  {'  '.join([*cells, row['verdict']])}", dim=row["doubt"] is not None)


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
