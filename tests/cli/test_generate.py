"""The command line as a user types it, on a tiny model and a simulated reference."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ecgtwin import ECG
from ecgtwin.cli import app
from ecgtwin.ecg.leads import LEADS

from ..twin.tiny import model, reference

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return model().save_pretrained(tmp_path_factory.mktemp("model"))


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "patient.hea"
    reference().write(path)
    return path


def run(*arguments):
    return RUNNER.invoke(app, [str(a) for a in arguments])


def generate(record, folder, output, *more):
    return run("generate", record, "--model", folder, "--output", output, "--steps", 2, "--device", "cpu", *more)


def test_records_picture_and_sidecar(record, folder, tmp_path):
    out = tmp_path / "out"
    result = generate(record, folder, out, "--report", "AF", "--heart-rate", 120, "--sex", "female", "-n", 3, "--json")
    assert result.exit_code == 0, result.output
    sidecar = json.loads((out / "twins.json").read_text())
    assert json.loads(result.stdout) == sidecar
    assert sidecar["condition"]["reports"] == ["atrial fibrillation"]
    assert sidecar["condition"]["age"] == reference().age
    assert [t["seed"] for t in sidecar["twins"]] == [0, 1, 2]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        ["twins.json", "twins.png", *(f"twin_00{k}.{e}" for k in range(3) for e in ("hea", "dat"))]
    )
    twin = ECG.read(out / "twin_001.hea")
    assert twin.leads == LEADS and twin.synthetic and np.isfinite(twin.signal).all()
    i, ii, iii = twin.signal[:3]
    assert np.abs(iii - (ii - i)).max() <= 0.0011


def test_the_same_seed_writes_the_same_bytes(record, folder, tmp_path):
    for name in ("a", "b"):
        assert generate(record, folder, tmp_path / name, "--report", "AF", "--seed", 4).exit_code == 0
    assert generate(record, folder, tmp_path / "c", "--report", "AF", "--seed", 5).exit_code == 0
    a, b, c = ((tmp_path / n / "twin_000.dat").read_bytes() for n in "abc")
    assert a == b != c


@pytest.mark.parametrize("format", ["csv", "npz"])
def test_other_formats(record, folder, tmp_path, format):
    result = generate(record, folder, tmp_path / "out", "--report", "AF", "--format", format)
    assert result.exit_code == 0, result.output
    assert ECG.read(tmp_path / "out" / f"twin_000.{format}").leads == LEADS


def broken(kind, tmp_path):
    """A reference with one thing wrong; returns its path."""
    ecg = reference()
    x, leads = ecg.signal.copy(), list(ecg.leads)
    path = tmp_path / "broken.csv"
    if kind == "missing record":
        return tmp_path / "nobody.hea"
    if kind == "truncated":
        path = tmp_path / "broken.hea"
        ecg.write(path)
        data = path.with_suffix(".dat")
        data.write_bytes(data.read_bytes()[:-1000])
        return path
    if kind == "NaN":
        x[3, 100:120] = np.nan
    elif kind == "flat lead":
        x[leads.index("V3")] = 0.0
    elif kind == "missing lead":
        x, leads = np.delete(x, leads.index("V4"), 0), [n for n in leads if n != "V4"]
    elif kind == "3 s":
        x = x[:, : int(3 * ecg.rate)]
    elif kind == "microvolts":
        x = x * 1000
    rows = [",".join(["time", *leads])]
    rows += [",".join([f"{k / ecg.rate:.4f}", *(f"{v:.4f}" for v in x[:, k])]) for k in range(x.shape[1])]
    path.write_text("\n".join(["# units: mV", *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("NaN", ["not finite|NaN"]),
        ("flat lead", ["V3", "flat"]),
        ("missing lead", ["V4"]),
        ("3 s", ["10", "3"]),
        ("microvolts", ["uV"]),
        ("truncated", ["bytes"]),
        ("missing record", ["nobody"]),
    ],
)
def test_a_bad_reference_is_refused(kind, words, folder, tmp_path):
    out = tmp_path / "out"
    result = generate(broken(kind, tmp_path), folder, out, "--report", "AF")
    assert result.exit_code == 2, result.output
    for word in words:
        assert any(w in result.output for w in word.split("|")), result.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--report", "atrial fibrilation", "atrial fibrillation"),
        ("--reference-report", "nonsense", "nonsense"),
        ("--age", 400, "0-120"),
        ("--heart-rate", -5, "20-300"),
        ("--sex", "F", "female"),
        ("--format", "xml", "wfdb"),
        ("--steps", 0, "steps"),
        ("--device", "quantum", "quantum"),
    ],
)
def test_a_bad_wish_is_refused(option, value, word, record, folder, tmp_path):
    out = tmp_path / "out"
    result = generate(record, folder, out, option, value)
    assert result.exit_code == 2, result.output
    assert word in result.output and not out.exists()


def test_a_failure_while_writing_leaves_nothing(record, folder, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("ecgtwin.cli.deliver.plot", fail)
    out = tmp_path / "out"
    result = generate(record, folder, out, "--report", "AF")
    assert result.exit_code == 2 and "disk full" in result.output
    assert not out.exists() or not list(out.iterdir())


def test_statements(folder):
    assert json.loads(run("statements", "--model", folder, "--json").stdout) == list(model().statements)
    assert "atrial fibrillation" in run("statements", "--model", folder).stdout.splitlines()


@pytest.mark.parametrize("command", ["generate", "demo", "statements", "evaluate"])
def test_help(command):
    assert run(command, "--help").exit_code == 0
