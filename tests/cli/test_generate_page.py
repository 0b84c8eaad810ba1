"""From files of ECG machines to twins, a table of what changed and a page, by one command, on the shipped model."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from ecgtwin.cli import app
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate

pytest.importorskip(
    "ecgdatakit", reason="the extra `formats` is not installed: in a clone of ecgtwin run pip install '.[formats]'"
)


@pytest.fixture(scope="module")
def machine_files(loaded):
    return loaded("tests/ecg/files/machine_files.py")


@pytest.mark.parametrize("kind, ending", [("muse", "xml"), ("scp", "scp"), ("dicom", "dcm")])
def test_from_a_machine_s_file_to_twins_and_a_page(tmp_path, machine_files, kind, ending):
    ecg = simulate(Person.draw(40), "sinus rhythm", 70, seed=2)
    path = tmp_path / f"export.{ending}"
    ecg.write(path) if kind == "dicom" else getattr(machine_files, kind)(ecg, path)
    out = tmp_path / "out"
    wish = [
        "--report",
        "complete right bundle branch block",
        "--heart-rate",
        "90",
        "--reference-report",
        "sinus rhythm",
    ]
    how = ["-n", "2", "--candidates", "4", "--html", "--format", "dicom", "--output", str(out)]
    result = CliRunner().invoke(app, ["generate", str(path), *wish, *how])
    assert result.exit_code == 0, result.output
    sidecar = json.loads((out / "twins.json").read_text())
    ranks = sidecar["candidates"]
    assert "1. seed " in result.output and "4. seed " in result.output and "rules 1.00" in result.output
    assert len(ranks) == 4 and sorted(r["seed"] for r in ranks) == [0, 1, 2, 3]
    assert [r["file"] for r in ranks] == ["twin_000.dcm", "twin_001.dcm", None, None]
    assert [r["merit"] for r in ranks] == sorted((r["merit"] for r in ranks), reverse=True)
    assert set(sidecar["condition"]["reports"]) == {"complete right bundle branch block", "sinus rhythm"}
    assert any("the reference's own was taken" in note for note in sidecar["notes"])
    explanation = json.loads((out / "explanation.json").read_text())
    qrs = next(r for r in explanation["changes"] if r["quantity"] == "qrs")
    assert explanation["samples"] == 4 and qrs["change"] > 15
    before = next(r for r in explanation["changes"] if r["quantity"] == "heart_rate")
    assert before["reference"] == pytest.approx(70, abs=1) and before["twins"] == pytest.approx(90, abs=12)
    twin = ECG.read(out / "twin_000.dcm")
    assert twin.synthetic and "complete right bundle branch block" in twin.reports and np.ptp(twin.signal) > 0.5
    assert "QRS at least 120 ms" in (out / "twins.html").read_text()
    assert "4711" not in (out / "twins.html").read_text()


def test_my_patient_in_atrial_fibrillation_at_120_and_how_sure_this_is(tmp_path, machine_files):
    """By the command that the help shows. The figures of the reference are those of the file, in mV and beats/min."""
    ecg = simulate(Person.draw(40), "sinus rhythm", 70, seed=2)
    path, out = machine_files.muse(ecg, tmp_path / "patient.xml"), tmp_path / "twins"
    asked = ["--report", "atrial fibrillation", "--heart-rate", "120", "-n", "8", "--html", "--output", str(out)]
    result = CliRunner().invoke(app, ["generate", str(path), *asked])
    assert result.exit_code == 0 and "how sure that is" in result.output, result.output
    found = {(r["quantity"], r["lead"]): r for r in json.loads((out / "explanation.json").read_text())["changes"]}
    truth = {(name, lead): value for name, lead, value, _ in ecg.resample(102.4).measured().rows()}
    for key, within in (
        (("heart_rate", ""), 0.5),
        (("r_amplitude", "V5"), 0.02),
        (("qrs", ""), 3),
        (("sokolow", ""), 0.03),
    ):
        assert found[key]["reference"] == pytest.approx(truth[key], abs=within), key
    assert found["heart_rate", ""]["twins"] == pytest.approx(120, abs=3) and found["heart_rate", ""]["clear"]
    assert found["regularity", ""]["twins"] == "irregular"
    page = (out / "twins.html").read_text()
    assert "10th to 90th centile" in page and "Can these statements be trusted?" in page and "8 samples" in page


@pytest.mark.parametrize("state", ["sinus rhythm", "atrial fibrillation"])
def test_a_rhythm_that_nobody_names_is_read_from_the_beats(tmp_path, state):
    """Records without statements: without a rhythm the model would draw QRS complexes of 180 ms and more."""
    ecg = replace(simulate(Person.draw(44), state, 75, seed=2), reports=())
    asked = ["--report", "complete right bundle branch block", "-n", "4", "--measure", "qrs"]
    result = CliRunner().invoke(
        app, ["generate", str(ecg.write(tmp_path / "a.hea")), *asked, "--output", str(tmp_path / "o")]
    )
    assert result.exit_code == 0 and f"{state} was read from its beats" in result.output, result.output
    assert state in json.loads((tmp_path / "o" / "twins.json").read_text())["condition"]["reports"]
    assert 120 <= float((tmp_path / "o" / "changes.csv").read_text().splitlines()[1].split(",")[-3]) < 175


def test_more_than_the_candidates_cannot_be_kept(tmp_path):
    ecg = simulate(Person.draw(40), "sinus rhythm", 70, seed=2)
    path = ecg.write(tmp_path / "a.hea")
    result = CliRunner().invoke(
        app, ["generate", str(path), "-n", "4", "--candidates", "2", "--output", str(tmp_path / "o")]
    )
    assert result.exit_code == 2 and "candidates" in result.output and not (tmp_path / "o").exists()
