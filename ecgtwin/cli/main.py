"""The command line. Exit code 0: done; 2: the input cannot be used, and the message says why and what to do; 3: some
rows of a table cannot be."""

import json
import sys
from typing import Annotated

import typer

from .. import __version__
from .data import app as data_app
from .errors import refusing
from .evaluate import evaluate
from .fill import fill, image_fill, image_vary, vary
from .generate import demo, generate
from .image import app as image_app
from .options import Json, Model
from .reader import reader_pack, reader_score
from .view import view

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="What would this patient's ECG look like if their heart were in another state? Research use only, "
    "not for clinical diagnosis.",
)


def shown(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ecgtwin {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="print the version and leave", callback=shown, is_eager=True)
    ] = False,
) -> None: ...


app.command()(generate)
app.command()(demo)
app.command()(evaluate)
app.command()(view)
app.command()(fill)
app.command()(vary)
app.command()(reader_pack)
app.command()(reader_score)


@app.command()
def statements(model: Model = None, as_json: Json = False) -> None:
    """List the report statements that a model knows."""
    with refusing():
        from ..text.table import StatementTable
        from ..twin.model import DEFAULT, named

        names = list(StatementTable.load((named(model) if model else DEFAULT) / "statements").statements)
        typer.echo(json.dumps(names, indent=2) if as_json else "\n".join(sorted(names)))


app.add_typer(data_app, name="data")
image_app.command("fill")(image_fill)
image_app.command("vary")(image_vary)
app.add_typer(image_app, name="image")

if __name__ == "__main__":
    sys.exit(app())
