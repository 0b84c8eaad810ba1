"""What is wrong with the input becomes one clear message and exit code 2."""

import re
from collections.abc import Iterator, Mapping
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
def refusing(renamed: Mapping[str, str] = {}) -> Iterator[None]:  # noqa: B006 never written to
    """Turn what is wrong with the input, or not installed, into one clear message and exit code 2.

    renamed: arguments whose option has another name in this command.
    """
    try:
        yield
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        typer.secho(f"ecgtwin: {message(error, renamed)}", err=True, fg="red")
        raise typer.Exit(2) from None


def message(error: Exception, renamed: Mapping[str, str] = {}) -> str:  # noqa: B006
    """An error in the words of the command line: its options in the place of arguments, and
    never longer than a screen."""
    options = OPTIONS | dict(renamed)
    text = NAMED.sub(lambda found: options[found[0]], str(error), count=1) if NAMED.match(str(error)) else str(error)
    ways = [options[name] for name in getattr(error, "options", ()) if name in options and options[name] not in text]
    lines = [line if len(line) <= WIDEST else line[: WIDEST - 2] + " …" for line in text.splitlines()]
    text = "\n".join(lines[:MOST] + ["…"] * (len(lines) > MOST))
    return f"{text} ({' or '.join(ways)})" if ways else text


def say(text: str) -> None:
    typer.echo(text, err=True)
