"""`ecgtwin data` as a user types it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ecgtwin.cli.data import app
from ecgtwin.ecg.store import Store

from ..ecg import mimic_files, ptbxl_files
from ..ecg.wfdb_files import heart, write

RUNNER = CliRunner()


def run(*arguments, code=0):
    result = RUNNER.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return ptbxl_files.make(tmp_path_factory.mktemp("data") / "ptb-xl", high=(1,))


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "ptbxl"
    run("prepare", "ptbxl", folder.parent, path, "--workers", 1)
    return path


def test_prepare_tells_what_it_did(folder, tmp_path):
    result = run("prepare", "ptbxl", folder, tmp_path / "store", "--workers", 1, "--json", "--no-progress")
    report = json.loads(result.stdout)
    assert report["ecgs"] == 24 == report["usable"] and report["patients"] == 12 and report["ecgs_per_second"] > 0
    assert report["problems"]["age over 89 (300 or 90)"] == 2 and report["flags"]["noise_noted"] == 1
    assert report["digest"] == Store.open(tmp_path / "store").digest
    text = run("prepare", "ptbxl", folder, tmp_path / "store", "--workers", 1).stdout
    assert "24 ECGs (24 usable) of 12 patients" in text and "flag pacemaker: 1" in text


def test_the_rate_chooses_the_files(folder, tmp_path):
    run("prepare", "ptbxl", folder, tmp_path / "fast", "--rate", 250, "--workers", 1)
    fast = Store.open(tmp_path / "fast")
    assert fast.samples == 2500 and fast.texts("name")[0].startswith("records500")
    assert fast.facts["problems"]["records with a file at 100 Hz only"] == 23


def test_check_reports_and_writes_a_page(store, tmp_path):
    result = run("check", store, "--html", tmp_path / "page.html", "--verify")
    assert "no leaks between splits" in result.stdout and "24 ECGs" in result.stdout
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    report = json.loads(run("check", store, "--json").stdout)
    assert report["splits"]["table"]["train"]["ecgs"] + report["splits"]["table"]["test"]["ecgs"] == 22
    assert report["statements"]["ecgs_with"]["normal ECG"] == 21


def test_leaks_are_exit_code_1(folder, store, tmp_path):
    """The same records as a tree without patients: other splits, the same hearts."""
    run("prepare", "wfdb", folder, tmp_path / "again", "--workers", 1, "--shares", "0,0,1", "--no-progress")
    result = run("check", store, "--against", tmp_path / "again", "--json", code=1)
    found = json.loads(result.stdout)["leaks"]
    assert found["identical_across_splits_count"] >= 20
    assert "LEAKS FOUND" in run("check", store, "--against", tmp_path / "again", code=1).stdout


def test_damaged_signals_are_exit_code_1(store, tmp_path):
    import shutil

    shutil.copytree(store, tmp_path / "copy")
    with (tmp_path / "copy" / "signals.npy").open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    result = run("check", tmp_path / "copy", "--verify", "--json", code=1)
    assert json.loads(result.stdout[: result.stdout.rindex("}") + 1])["damaged_rows"] == [0]


def test_every_kind_of_data(tmp_path):
    mimic_files.make(tmp_path / "mimic")
    run("prepare", "mimic-iv-ecg", tmp_path / "mimic", tmp_path / "m", "--workers", 1)
    assert Store.open(tmp_path / "m").statements(0)[0] == "sinus rhythm" and not np.isnan(
        Store.open(tmp_path / "m").column("age")[0]
    )
    hosp = tmp_path / "mimic/physionet.org/files/mimiciv"
    only = tmp_path / "mimic/physionet.org/files/mimic-iv-ecg"
    run("prepare", "mimic-iv-ecg", only, tmp_path / "p", "--patients", hosp, "--workers", 1)
    assert Store.open(tmp_path / "p").digest == Store.open(tmp_path / "m").digest
    write(tmp_path / "c/E00001", heart(), comments=("Age: 60", "Sex: Male", "Dx: 164889003"))
    run("prepare", "challenge", tmp_path / "c", tmp_path / "cs", "--most", 1)
    assert Store.open(tmp_path / "cs").statements(0) == ("atrial fibrillation",)
    write(tmp_path / "d/patient001/s1", heart(seconds=25), comments=("Acute infarction (localization): anterior",))
    run("prepare", "ptbdb", tmp_path / "d", tmp_path / "ds")
    assert Store.open(tmp_path / "ds").statements(1) == ("anterior myocardial infarction",)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("prepare", "ptbxl", "{empty}", "{new}"), "ptbxl_database.csv"),
        (("prepare", "mimic-iv-ecg", "{empty}", "{new}"), "record_list.csv"),
        (("prepare", "ptbdb", "{empty}", "{new}"), "no records"),
        (("prepare", "wfdb", "{empty}/no", "{new}"), "no folder"),
        (("prepare", "ptbxl", "{data}", "{new}", "--patients", "x"), "--patients is an option of mimic-iv-ecg"),
        (("prepare", "ptbxl", "{data}", "{new}", "--shares", "1,1,1"), "shares"),
        (("prepare", "ptbxl", "{data}", "{new}", "--shares", "0.8 0.1 0.1"), "with commas between them"),
        (("prepare", "ptbxl", "{data}", "{new}", "--shares", "0.8,0.2"), "three"),
        (("prepare", "ptbxl", "{data}", "{store}", "--rate", "100"), "--fresh"),
        (("prepare", "wfdb", "{data}", "{new}", "--units", "kV"), "kV"),
        (("check", "{empty}"), "no store"),
        (("check", "{store}", "--against", "{empty}"), "no store"),
    ],
)
def test_what_cannot_be_used_is_exit_code_2(folder, store, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "new": tmp_path / "new", "data": folder, "store": store}
    result = run(*(a.format(**places) for a in arguments), code=2)
    assert message in result.output.replace("\n", " ")
    assert not (tmp_path / "new").exists()
