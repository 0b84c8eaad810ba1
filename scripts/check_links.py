"""Links of the documentation that lead outside: are they well-formed, and with --online, do they answer?

python scripts/check_links.py [--online] [--json]
"""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import typer

from ecgtwin.cli.options import Json

ROOT = Path(__file__).resolve().parents[1]
FOUND = re.compile(r"(?P<url>https?://[^\s)>\"'`\]]+)|doi:(?P<doi>[^\s),;`\]]+)|arXiv[ :](?P<arxiv>[^\s),;`\]\"]+)")
FORMS = {
    "url": r"https://[a-z0-9.-]+\.[a-z]{2,}(/[^\s]*)?",
    "doi": r"10\.\d{4,9}/[^\s]*[A-Za-z0-9)]",
    "arxiv": r"\d{4}\.\d{4,5}(v\d+)?",
}
ADDRESS = {"url": "{}", "doi": "https://doi.org/{}", "arxiv": "https://arxiv.org/abs/{}"}
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def links() -> list[tuple[str, str, str]]:
    """(file, kind, text) of each link in Markdown pages and docstrings, in order."""
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("ecgtwin/**/*.md"), *ROOT.glob("ecgtwin/**/*.py")]
    return [
        (str(path.relative_to(ROOT)), kind, text.rstrip(".:"))
        for path in sorted(files)
        for match in FOUND.finditer(path.read_text(encoding="utf-8"))
        for kind, text in match.groupdict().items()
        if text and "{" not in text and "127.0.0.1" not in text
    ]


def malformed(found: list[tuple[str, str, str]]) -> list[str]:
    return [f"{file}: {kind} {text}" for file, kind, text in found if not re.fullmatch(FORMS[kind], text)]


def dead(found: list[tuple[str, str, str]]) -> list[str]:
    """Those that answer with an error, each address once. A site that keeps programs out (403, 429) counts as there."""
    wrong = []
    for address in sorted({ADDRESS[kind].format(text) for _, kind, text in found}):
        try:
            asked = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "ecgtwin link check"})
            urllib.request.urlopen(asked, timeout=20).close()
        except urllib.error.HTTPError as error:
            wrong += [f"{address}: {error.code}"] if error.code in (404, 410) else []
        except OSError as error:
            wrong.append(f"{address}: {error}")
    return wrong


@app.command(help=__doc__)
def main(
    online: Annotated[
        bool, typer.Option("--online", help="ask each address; without it only their form counts")
    ] = False,
    as_json: Json = False,
) -> None:
    found = links()
    wrong = malformed(found) + (dead(found) if online else [])
    report = {"links": len(found), "wrong": wrong}
    typer.echo(json.dumps(report) if as_json else "\n".join([f"{len(found)} links", *wrong]))
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    app()
