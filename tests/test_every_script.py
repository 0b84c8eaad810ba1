"""Every script is read by typer, says what it does, prints its report as JSON by a flag, takes files by --output."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

FOLDER = Path(__file__).resolve().parents[1] / "scripts"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if "typer.Typer(" in path.read_text())
"""The others are parts of these."""
FILES = {"bench_adapter records", "posthoc_ema", "train_comparator ask", "train_comparator draw"}
"""Commands whose result is a file, and nothing to report beside it."""


def commands(script: Path) -> list[tuple[typer.Typer, tuple[str, ...], Any]]:
    """The commands of a script, each with the words that name it."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = module.app
    made = typer.main.get_command(app)
    if hasattr(made, "commands"):
        return [(app, (name,), command) for name, command in made.commands.items()]
    return [(app, (), made)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_explains_itself_and_speaks_json(script, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for app, words, command in commands(script):
        told = CliRunner().invoke(app, [*words, "--help"])
        assert told.exit_code == 0, told.output
        options = {name: option for option in command.params for name in option.opts if name.startswith("-")}
        if " ".join((script.stem, *words)) not in FILES:
            assert options["--json"].is_flag and not options["--json"].required
        assert command.help and len(command.help) > 20
        assert "--output" not in options or not options["--output"].is_flag
        assert all(option.help for option in options.values())


def test_there_are_scripts():
    assert len(SCRIPTS) > 20
