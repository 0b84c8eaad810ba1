"""The command line. Exit code 0: done; 2: the input cannot be used, and the message says why and what to do; 3: some
rows of a table cannot be."""

import sys
from typing import Annotated

import typer

from .. import __version__
from .data import app as data_app
from .evaluate import evaluate
from .export import export
from .fill import fill, vary
from .follow import follow, image_follow, image_upsample
from .generate import EPILOG, demo, generate
from .image import app as image_app
from .image_fill import fill as image_fill
from .image_fill import vary as image_vary
from .reader import reader_pack, reader_score
from .statements import statements
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


app.command(epilog=EPILOG)(generate)
app.command()(demo)
app.command()(evaluate)
app.command()(export)
app.command()(view)
app.command()(fill)
app.command()(vary)
app.command()(follow)
app.command()(reader_pack)
app.command()(reader_score)
app.command()(statements)

app.add_typer(data_app, name="data")
image_app.command("fill")(image_fill)
image_app.command("vary")(image_vary)
image_app.command("follow")(image_follow)
image_app.command("upsample")(image_upsample)
app.add_typer(image_app, name="image")

if __name__ == "__main__":
    sys.exit(app())
