"""What the README tells people to type works: its Python block is run, and its ecgtwin
commands, shortened in steps only."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ecgtwin.cli import app
from ecgtwin.ecg.simulate import Person, simulate

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands(word):
    """Commands of the bash blocks that begin with a word, comments cut off, continued lines joined."""
    text = "\n".join(blocks("bash")).replace("\\\n", " ")
    parts = (part.split("#")[0].strip() for line in text.splitlines() for part in line.split("&&"))
    return [shlex.split(part) for part in parts if part.split()[:1] == [word]]


def test_the_python_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simulate(Person.draw(4), "sinus rhythm", 72.0, seed=4).write("patient.hea")
    (block,) = blocks("python")
    names = {}
    exec(compile(block.replace("steps=20", "steps=3").replace("n=4", "n=2"), "README.md", "exec"), names)
    assert len(names["twins"]) == 2 and names["base"].shape == (1, 256)
    assert Path("twin.hea").exists() and Path("twin.png").stat().st_size > 10_000


def test_the_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simulate(Person.draw(4), "sinus rhythm", 72.0, seed=4).write("RECORD.hea")
    found: dict[str, list[str]] = {}
    for words in commands("ecgtwin"):
        found.setdefault(words[1], words[1:])  # the first of each kind
    assert {"demo", "generate", "statements", "evaluate"} <= set(found)
    for name in ("demo", "generate"):
        result = CliRunner().invoke(app, [*found[name], "--steps", "3"])
        assert result.exit_code == 0, result.output
    assert len(json.loads(Path("twins/twins.json").read_text())["twins"]) == 4
    assert CliRunner().invoke(app, found["statements"]).exit_code == 0


@pytest.mark.parametrize("script", [words[1] for words in commands("python") if words[1].startswith("scripts/")])
def test_every_script_it_names_exists(script):
    assert (ROOT / script).is_file()


def test_every_file_it_links_to_exists():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
