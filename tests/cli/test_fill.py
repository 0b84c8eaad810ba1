"""`ecgtwin fill` and `ecgtwin vary`: records, pictures and a sidecar in a folder of their own."""

import json

import pytest
from typer.testing import CliRunner

from ecgtwin import ECG
from ecgtwin.cli import app

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("command", "more", "name"),
    [("fill", ("--lead", "V3", "--span", "4:5", "--resample", 1), "filled"), ("vary", ("--strength", 0.4), "varied")],
    ids=["fill", "vary"],
)
def test_records_pictures_and_a_sidecar_are_written_once(command, more, name, folder, record, tmp_path):
    output = tmp_path / "out"
    wanted = (command, record, *more, "--steps", 2, "--seed", 3, "--model", folder, "--output", output)
    result = run(*wanted)
    assert result.exit_code == 0, result.output
    expected = {f"{name}_000.{end}" for end in ("hea", "dat", "png")} | {f"{name}.json"}
    assert {p.name for p in output.iterdir()} == expected
    sidecar = json.loads((output / f"{name}.json").read_text())
    assert sidecar["seed"] == 3 and sidecar["steps"] == 2 and "notice" in sidecar
    assert ECG.read(output / f"{name}_000.hea").signal.shape == (12, 1024)
    again = run(*wanted)
    assert again.exit_code == 2 and "holds another run" in again.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--span", "four:6"), "START:STOP"),
        (("--lead", "aVR"), "follow from I and II"),
        (("--after", "12"), "within 0 to 10 s"),
        ((), "nothing is unknown"),
    ],
)
def test_what_cannot_be_filled_is_refused_in_the_options_words(more, said, folder, record, tmp_path):
    result = run("fill", record, *more, "--model", folder, "--output", tmp_path / "out")
    assert result.exit_code == 2 and said in " ".join(result.output.split()), result.output
    assert not (tmp_path / "out").exists()
