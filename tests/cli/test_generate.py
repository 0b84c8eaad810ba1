"""The command line as a user types it, on a tiny model and a simulated reference."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ecgtwin import ECG, Condition
from ecgtwin.cli import app, deliver
from ecgtwin.ecg.leads import INDEPENDENT, LEADS
from ecgtwin.ecg.simulate import Person, simulate

from ..twin.tiny import model, reference

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, [str(a) for a in arguments])


def generate(record, folder, output, *more):
    return run("generate", record, "--model", folder, "--output", output, "--steps", 2, "--device", "cpu", *more)


def test_several_statements_in_one_option_and_the_models_own_number_of_steps(record, folder, tmp_path):
    out = tmp_path / "out"
    result = run("generate", record, "--model", folder, "--output", out, "--report", "AF|LBBB", "--device", "cpu")
    assert result.exit_code == 0, result.output
    said = json.loads((out / "twins.json").read_text())["condition"]["reports"]
    assert said == ["atrial fibrillation", "complete left bundle branch block"]


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
        ["twins.json", *(f"twin_00{k}.{e}" for k in range(3) for e in ("hea", "dat", "png"))]
    )
    twin = ECG.read(out / "twin_001.hea")
    assert twin.leads == LEADS and twin.synthetic and np.isfinite(twin.signal).all()
    i, ii, iii = twin.signal[:3]
    assert np.abs(iii - (ii - i)).max() <= 0.0011


def test_the_heart_rate_told_and_kept_is_that_of_the_window(folder, tmp_path):
    slow, fast = (simulate(Person.draw(3), "sinus rhythm", rate, seed=1) for rate in (55.0, 110.0))
    record = replace(fast, signal=np.concatenate([slow.signal, slow.signal, fast.signal], 1)).write(
        tmp_path / "long.hea"
    )
    for start, rate in ((0, 55), (2 * slow.seconds, 110)):
        out = tmp_path / f"from{start:.0f}"
        result = generate(
            record, folder, out, "--report", "AF", "--start", start, "--reference-report", "sinus rhythm", "--keep"
        )
        assert result.exit_code == 0, result.output
        kept = json.loads((out / "twins.json").read_text())["reference"]
        assert abs(kept["heart_rate"] - rate) < 4 and abs(kept["condition"]["heart_rate"] - rate) < 4


def test_a_sampling_rate_that_cannot_be_is_told(folder, tmp_path):
    path = simulate(Person.draw(3), "sinus rhythm", 70.0, seed=1).write(tmp_path / "a.csv")
    for rate, code, said in ((130, 2, "18 beats/min"), (400, 0, "the file says 500 Hz, but 400 Hz were given")):
        result = generate(path, folder, tmp_path / "out", "--report", "AF", "--input-rate", rate)
        assert result.exit_code == code and said in result.output


def test_a_folder_with_another_run_is_refused_and_replaced_when_asked(record, folder, tmp_path):
    out = tmp_path / "out"
    assert generate(record, folder, out, "--report", "AF", "-n", 3).exit_code == 0
    (out / "notes.txt").write_text("mine")
    before = sorted(p.name for p in out.iterdir())
    refused = generate(record, folder, out, "--report", "AF")
    assert refused.exit_code == 2 and "--overwrite" in refused.output
    assert sorted(p.name for p in out.iterdir()) == before
    assert generate(record, folder, out, "--report", "AF", "--format", "csv", "--overwrite").exit_code == 0
    assert sorted(p.name for p in out.iterdir()) == ["notes.txt", "twin_000.csv", "twin_000.png", "twins.json"]
    into_file = generate(record, folder, out / "notes.txt", "--report", "AF")
    assert into_file.exit_code == 2 and "is a file" in into_file.output


def test_keep_changes_the_recording_itself(record, folder, tmp_path):
    same = generate(record, folder, tmp_path / "same", "--keep")
    assert same.exit_code == 0, same.output
    kept = ECG.read(tmp_path / "same" / "twin_000.hea").select(INDEPENDENT).signal
    tiny = model()
    np.testing.assert_allclose(
        kept, tiny.parts.vae.decode(tiny.parts.vae.encode(tiny.signals([reference()])))[0], atol=2e-3
    )
    changed = generate(
        record, folder, tmp_path / "changed", "--keep", "--report", "LBBB", "--reference-report", "sinus rhythm"
    )
    assert changed.exit_code == 0, changed.output
    sidecar = json.loads((tmp_path / "changed" / "twins.json").read_text())
    assert sidecar["options"]["keep"] and sidecar["condition"]["age"] == reference().age
    many = generate(record, folder, tmp_path / "many", "--keep", "--report", "LBBB", "-n", 2)
    assert many.exit_code == 2 and "-n 2 with --keep" in many.output
    without = generate(record, folder, tmp_path / "w", "--report", "LBBB", "--strength", 0.5)
    assert without.exit_code == 2 and "--strength" in without.output


def test_contradictions_and_far_heart_rates_are_told_and_kept(record, folder, tmp_path):
    out = tmp_path / "out"
    result = generate(record, folder, out, "--report", "sinus rhythm", "--report", "AF", "--heart-rate", 20)
    assert result.exit_code == 0, result.output
    sidecar = json.loads((out / "twins.json").read_text())
    assert len(sidecar["contradictions"]) == 2 and all(
        f"contradiction: {line}" in result.output for line in sidecar["contradictions"]
    )
    twin = sidecar["twins"][0]
    assert twin["heart_rate_asked"] == 20 and "20/min asked for" in result.output
    (line,) = sidecar["warnings"]
    assert "asked for were 20/min" in line and line in result.output


@pytest.mark.parametrize(
    ("asked", "found", "told"), [(100, 95, False), (100, 111, True), (100, None, True), (None, 50, False)]
)
def test_more_than_a_tenth_off_is_told(asked, found, told):
    assert bool(deliver.far_off("twin_000", asked, found)) == told


def test_the_picture_says_what_was_asked_and_what_was_measured():
    said = deliver.title(Condition("atrial fibrillation", "female", 63, 120.4), 96.2)
    assert said == "120/min asked for, 96/min measured  ·  atrial fibrillation, female, 63 years"
    assert deliver.title(Condition("atrial fibrillation"), 96.2) == "asked for: atrial fibrillation"
    assert "120/min asked for, not measurable" in deliver.title(Condition(heart_rate=120), None)


def test_what_was_assumed_is_one_plain_line(record, tmp_path):
    result = run(
        "generate", record, "--report", "bradycardia", "--steps", 1, "--output", tmp_path / "out", "--device", "cpu"
    )
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.output.splitlines() if "is taken as" in line]
    assert line.startswith("note: 'bradycardia' is taken as 'sinus bradycardia'")
    assert line.removeprefix("note: ") in json.loads((tmp_path / "out" / "twins.json").read_text())["notes"]


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
        ("--steps", 0, "--steps"),
        ("--guidance", "nan", "--guidance"),
        ("--base-guidance", "inf", "--base-guidance"),
        ("--rescale", "nan", "--rescale"),
        ("--seed", 2**64, "--seed"),
        ("--seed", -1, "--seed"),
        ("-n", 0, "-n"),
        ("--heart-rate", "nan", "--heart-rate"),
        ("--start", "nan", "nan"),
        ("--report", "", "empty statement"),
        ("--units", "furlong", "--units"),
        ("--rate", -3, "--rate"),
        ("--input-rate", -3, "--input-rate"),
        ("--report", "x" * 5000, "unknown statement"),
        ("--device", "quantum", "quantum"),
    ],
)
def test_a_bad_wish_is_refused(option, value, word, record, folder, tmp_path):
    out = tmp_path / "out"
    result = generate(record, folder, out, option, value)
    assert result.exit_code == 2, result.output
    assert word in result.output and not out.exists() and len(result.output) < 900


def test_a_failure_while_writing_leaves_nothing(record, folder, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("ecgtwin.cli.deliver.plot", fail)
    out = tmp_path / "out"
    result = generate(record, folder, out, "--report", "AF")
    assert result.exit_code == 2 and "disk full" in result.output
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(
    ("lines", "options", "words"),
    [
        (["I,II", "0.1,0.2"], (), "--input-rate"),
        (["# rate: 500", "1,2", "3,4"], (), "--leads"),
        (["# rate: 500", "I,II", *["900,1000", "-900,-1000"] * 50], (), "--units or --gain"),
        (["# rate: 500", "I,II", *["900,1000", "-900,-1000"] * 50], ("--gain", 1000), "10 s"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for_by_the_option(lines, options, words, folder, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    result = generate(path, folder, tmp_path / "out", "--report", "AF", *options)
    assert result.exit_code == 2 and words in result.output, result.output


def test_a_missing_package_or_device_is_a_message(record, folder, tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        result = generate(record, folder, tmp_path / "out", "--report", "AF", "--device", "cuda")
        assert result.exit_code == 2 and "ecgtwin: --device 'cuda'" in result.output and "--device cpu" in result.output

    def absent(*_, **__):
        raise ImportError("scikit-learn is not installed")

    monkeypatch.setattr("ecgtwin.cli.deliver.run", absent)
    result = generate(record, folder, tmp_path / "out", "--report", "AF")
    assert result.exit_code == 2 and "ecgtwin: scikit-learn is not installed" in result.output


def test_version_and_the_default_model_by_its_name():
    assert run("--version").stdout.startswith("ecgtwin ")
    assert "atrial fibrillation" in run("statements", "--names", "--model", "default").stdout.splitlines()


def test_statements(folder):
    rows = json.loads(run("statements", "--model", folder, "--json").stdout)
    assert [row["name"] for row in rows] == sorted(model().statements)
    assert "atrial fibrillation" in run("statements", "--names", "--model", folder).stdout.splitlines()
    assert run("statements", "--find", "fibril", "--names", "--model", folder).stdout.split() == [
        "atrial",
        "fibrillation",
    ]
    shown = run("statements", "--model", folder).stdout.splitlines()
    assert len(shown) == 5 and shown[1].startswith("atrial fibrillation") and shown[1].endswith("not judged")


@pytest.mark.parametrize("command", ["generate", "demo", "statements", "evaluate"])
def test_help(command):
    assert run(command, "--help").exit_code == 0


def test_statements_are_weighed_and_maps_are_drawn(folder, record, tmp_path):
    reports = ["--report", "sinus rhythm", "--report", "complete left bundle branch block", "--steps", "2"]
    base = ["generate", str(record), "--model", str(folder), *reports, "--format", "npz"]
    more = {
        "plain": ["--attention"],
        "edited": ["--weight", "LBBB=3", "--like", "sinus rhythm", "--kept", "1"],
    }
    for name, options in more.items():
        done = RUNNER.invoke(app, [*base, "--output", str(tmp_path / name), *options])
        assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "plain" / "twins.json").read_text())["twins"][0]["attention"]
    assert set(told) == {"sinus rhythm", "complete left bundle branch block"}
    assert all((tmp_path / "plain" / name).is_file() for name in told.values())
    signals = [ECG.read(tmp_path / name / "twin_000.npz").signal for name in more]
    assert not np.allclose(*signals)
    done = RUNNER.invoke(app, [*base, "--output", str(tmp_path / "x"), "--attention", "--keep"])
    assert done.exit_code == 2 and "--attention" in done.output
