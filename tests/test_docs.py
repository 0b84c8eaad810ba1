"""The commands in README and docs are ones that the command line and the scripts take: every option, every argument."""

import importlib
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from ecgtwin.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LAUNCHERS = ("accelerate", "torchrun")
UsageError = typer.BadParameter.__mro__[1]
"""Typer brings its own click."""


def lines_of(page: Path) -> list[str]:
    """Command lines of a page's shell blocks, comments cut off, continued lines joined."""
    text = "\n".join(re.findall(r"```(?:bash|sh|shell|console)\n(.*?)```", page.read_text(), re.S)).replace("\\\n", " ")
    return [
        part.strip()
        for line in text.splitlines()
        for part in re.split(r"\s#\s|^#", line)[0].split("&&")
        if part.strip()
    ]


def commands() -> list[tuple[str, str]]:
    return [(page.name, line) for page in PAGES for line in lines_of(page)]


def command_of(path: Path) -> Any:
    """The command of a script that is typer's, without running it."""
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    found = getattr(module, "app", None)
    if found is None:
        found = typer.Typer(add_completion=False)
        found.command()(module.main)
    return typer.main.get_command(found)


def parse(command: Any, words: list[str]) -> None:
    """Raises for an unknown option or command, a missing argument or one too many; runs nothing."""
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            raise UsageError(f"no command {words[:1]} among {', '.join(command.commands)}")
        command, words = command.commands[words[0]], words[1:]
    command.make_context("x", list(words))


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda x: x[:40])
def test_a_command_of_the_docs_is_one(page, line):
    words = [word for word in shlex.split(line) if word != "..."]
    elided = "..." in line
    if words[0] in LAUNCHERS and "ecgtwin" in words:
        words = words[words.index("ecgtwin") :]
    if words[0] in LAUNCHERS:
        place = next(k for k, word in enumerate(words) if word.startswith("scripts/"))
        words = ["python", *words[place:]]
    try:
        if words[0] == "ecgtwin":
            parse(typer.main.get_command(app), words[1:])
        elif words[0] == "python" and words[1].startswith("scripts/"):
            parse(command_of(ROOT / words[1]), words[2:])
    except UsageError as error:
        missing = type(error).__name__ == "MissingParameter"
        assert missing and elided, f"{page}: {line}\n{error.format_message()}"


def test_the_test_sees_what_is_wrong():
    command = typer.main.get_command(app)
    for wrong in (["generate", "R", "--colour", "red"], ["generat", "R"], ["statements", "A"], ["generate", "A", "B"]):
        with pytest.raises(UsageError):
            parse(command, wrong)
    assert len(commands()) > 20


def test_nothing_is_installed_by_a_name_that_no_index_has():
    """Neither on a page nor in a message."""
    files = [*PAGES, *(p for place in ("ecgtwin", "scripts") for p in sorted((ROOT / place).rglob("*.py")))]
    assert [p.name for p in files if "ecgtwin[" in p.read_text()] == []


def test_links_to_elsewhere_are_well_formed():
    """Whether they answer, `python scripts/check_links.py --online` asks."""
    spec = importlib.util.spec_from_file_location("check_links", ROOT / "scripts" / "check_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.links()
    assert len(found) > 100 and module.malformed(found) == []
    wrong = [("a.md", "doi", "10.1/x"), ("a.md", "arxiv", "25080.2720"), ("a.md", "url", "https://nowhere")]
    assert len(module.malformed(wrong)) == 3


def test_the_api_reference_has_every_public_name():
    """Each name that a package exports lives in a module, or is an object, of docs/api.md."""
    page = set(re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.M))
    for package in (
        "ecgtwin",
        "ecgtwin.ecg.simulate",
        "ecgtwin.text",
        "ecgtwin.diffusion",
        "ecgtwin.diffusion.solvers",
    ):
        module = importlib.import_module(package)
        for name in module.__all__:
            found = getattr(module, name)
            home = getattr(found, "__module__", None)
            if home in (None, "typing") or not home.startswith("ecgtwin"):
                continue  # a value: it is beside the functions of its module
            assert page & {home, f"{home}.{name}"}, f"{home}.{name} is not in docs/api.md"
