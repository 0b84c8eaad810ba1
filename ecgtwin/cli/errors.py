"""What is wrong with the input becomes one clear message and exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what is wrong with the input into one clear message and exit code 2."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        typer.secho(f"ecgtwin: {error}", err=True, fg="red")
        raise typer.Exit(2) from None


def say(text: str) -> None:
    typer.echo(text, err=True)
