"""What is wrong with the input becomes one clear message and exit code 2."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import typer

WIDEST, MOST = 300, 20
"""Characters of a line of a message, and lines, at most: an input may be megabytes."""
OPTIONS = {
    "n": "-n",
    **{
        name: "--" + name.replace("_", "-").replace(" ", "-")
        for name in (
            "units", "rate", "leads", "gain", "steps", "guidance", "base_guidance", "rescale", "strength", "seed",
            "age", "sex", "heart rate", "device", "format",
        )
    },
}  # fmt: skip
"""What Python calls an argument -> the option that gives it."""
NAMED = re.compile(rf"(?:{'|'.join(sorted(OPTIONS, key=len, reverse=True))})(?= )")


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what is wrong with the input, or not installed, into one clear message and exit code 2."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        typer.secho(f"ecgtwin: {message(error)}", err=True, fg="red")
        raise typer.Exit(2) from None


def message(error: Exception) -> str:
    """An error in the words of the command line: its options in the place of arguments, and
    never longer than a screen."""
    text = NAMED.sub(lambda found: OPTIONS[found[0]], str(error), count=1) if NAMED.match(str(error)) else str(error)
    ways = [OPTIONS[name] for name in getattr(error, "options", ()) if name in OPTIONS and OPTIONS[name] not in text]
    lines = [line if len(line) <= WIDEST else line[: WIDEST - 2] + " …" for line in text.splitlines()]
    text = "\n".join(lines[:MOST] + ["…"] * (len(lines) > MOST))
    return f"{text} ({' or '.join(ways)})" if ways else text


def say(text: str) -> None:
    typer.echo(text, err=True)
