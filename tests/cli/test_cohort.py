"""`ecgtwin generate --table`: tables of requests, refused rows, runs that are killed and go on."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ecgtwin import ECG, Condition, ECGTwin
from ecgtwin.cli import app
from ecgtwin.cli.measured import FIRST
from ecgtwin.cli.people import COLUMNS
from ecgtwin.twin import drawing

from ..twin.tiny import reference

RUNNER = CliRunner()
PARTS = ("before", "after", "low", "high")
STEP_MV = 1e-3
"""Of the converter of a written record, with rounding."""


@pytest.fixture(scope="module")
def people(people):
    """With damaged records beside the others."""
    place = people
    flat = reference(4)
    signal = flat.signal.copy()
    signal[3] = 0.0
    ECG(signal, flat.rate, flat.leads).write(place / "flat.npz")
    (place / "torn.npz").write_bytes((place / "flat.npz").read_bytes()[:500])
    return place


def write_table(path: Path, rows: list[dict], columns=COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, columns, restval="")
        out.writeheader()
        out.writerows(rows)
    return path


def run(table, output, *more):
    command = ["generate", "--table", table, "--output", output, "--steps", 2, "--device", "cpu", *more]
    return RUNNER.invoke(app, [str(a) for a in command])


def index_of(output: Path) -> list[dict]:
    with (output / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_of(output: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(output)): p.read_bytes() for p in output.rglob("*") if p.is_file() and p.name != "run.json"
    }


def test_rows_are_answered_as_one_by_one(people, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(drawing.FULL, "cpu", 4)
    rows = [
        {
            "record": "p1.hea",
            "report": "AF",
            "heart_rate": "110",
            "n": "2",
            "seed": "7",
            "reference_report": "sinus rhythm",
        },
        {
            "record": str(people / "p2"),
            "report": "complete left bundle branch block | sinus rhythm",
            "sex": "F",
            "age": "51",
        },
        {"record": "p3.hea", "n": "6"},
    ]
    table = write_table(people / "three.csv", rows)
    result = run(table, tmp_path / "out", "--model", folder, "--json", "--report", "sinus rhythm", "--seed", 3)
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert (done["rows"], done["written"], done["refused"], done["twins"]) == (3, 3, 0, 9)
    index = index_of(tmp_path / "out")
    assert [(row["row"], row["status"], len(row["files"].split("|"))) for row in index] == [
        ("1", "written", 2),
        ("2", "written", 1),
        ("3", "written", 6),
    ]
    first = index[0]["files"].split("|")
    tiny = ECGTwin.from_pretrained(folder, device="cpu")
    used = ECG.read(people / "p1.hea")
    was = Condition("sinus rhythm", used.sex, used.age, used.heart_rate())
    alone = tiny.generate(used, Condition("AF", heart_rate=110), reference_condition=was, n=2, seed=7, steps=2)
    for name, twin in zip(first, alone, strict=True):
        found = ECG.read(tmp_path / "out" / name)
        assert np.abs(found.signal - twin.signal).max() <= STEP_MV and found.synthetic
    second = ECG.read(tmp_path / "out" / index[1]["files"])
    assert (second.sex, second.age) == ("female", 51) and len(second.reports) == 2
    assert ECG.read(tmp_path / "out" / index[2]["files"].split("|")[5]).reports == ("sinus rhythm",)


def test_a_folder_of_records_as_a_table_of_measurements(people, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(drawing.FULL, "cpu", 4)
    records = tmp_path / "records"
    records.mkdir()
    for k in (1, 2):
        ECG.read(people / f"p{k}.hea").write(records / f"p{k}.hea")
    (records / "torn.npz").write_bytes((people / "torn.npz").read_bytes())
    (records / "notes.txt").write_text("no record")
    command = [
        "generate",
        records,
        "--report",
        "complete right bundle branch block",
        "-n",
        2,
        "--output",
        tmp_path / "o",
    ]
    command += ["--steps", 1, "--device", "cpu", "--model", folder]
    result = RUNNER.invoke(app, [str(a) for a in (*command, "--measure", "qrs,qrs_axis")])
    assert result.exit_code == 3 and "torn" in (tmp_path / "o" / "index.csv").read_text(), result.output
    table = tmp_path / "o" / "measurements.csv"
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["record"], row["samples"]) for row in rows] == [("p1.hea", "2"), ("p2.hea", "2")]
    assert set(rows[0]) - set(FIRST) == {f"{q}_{p}" for q in ("qrs_ms", "qrs_axis_degrees") for p in PARTS}
    for row in rows:
        own = ECG.read(records / row["record"]).resample(102.4).measured()
        assert float(row["qrs_ms_before"]) == pytest.approx(own.qrs, abs=10) and "right bundle" in row["asked_for"]
    table.unlink()
    again = RUNNER.invoke(app, [str(a) for a in (*command, "--measure", "all")])
    assert again.exit_code == 3 and len(table.read_text().splitlines()) == 3 and "sokolow_mv_after" in table.read_text()
    wrong = RUNNER.invoke(app, [str(a) for a in (*command, "--measure", "qrs_width")])
    assert wrong.exit_code == 2 and "did you mean qrs" in wrong.output
    (tmp_path / "empty").mkdir()
    none = RUNNER.invoke(app, ["generate", str(tmp_path / "empty"), "--model", str(folder)])
    assert none.exit_code == 2 and "no record" in none.output


def test_a_bad_row_refuses_itself_alone(people, folder, tmp_path):
    rows = [
        {"record": "p1.hea", "report": "AF"},
        {"record": "nobody.hea"},
        {"record": "flat.npz"},
        {"record": "torn.npz"},
        {"record": "p1.hea", "report": "atrial fibrilation of the toe"},
        {"record": "p1.hea", "heart_rate": "fast"},
        {"record": "p1.hea", "heart_rate": "900"},
        {"record": "p1.hea", "sex": "x"},
        {"record": "p1.hea", "n": "0"},
        {"record": "p1.hea", "n": "99999999999"},
        {"record": "p1.hea", "seed": "-1"},
        {"record": "", "report": "AF"},
        {"record": "p2.hea", "report": "AF"},
    ]
    table = write_table(people / "bad.csv", rows)
    with table.open("a") as file:
        file.write("p1.hea,AF\n")
    result = run(table, tmp_path / "out", "--model", folder)
    assert result.exit_code == 3, result.output
    assert "row 2 refused" in result.stderr and "and 2 more" in result.stderr
    index = index_of(tmp_path / "out")
    assert [row["row"] for row in index] == [str(k) for k in range(1, 15)]
    assert [row["row"] for row in index if row["status"] == "written"] == ["1", "13"]
    said = [
        "",
        "nobody",
        "flat",
        "",
        "toe",
        "fast",
        "900",
        "sex",
        "1 to 10000",
        "1 to 10000",
        "seed",
        "record",
        "",
        "2 cells",
    ]
    for row, part in zip(index, said, strict=True):
        assert part in row["reason"] and bool(row["reason"]) == (row["status"] == "refused") == (not row["files"])
    again = run(table, tmp_path / "out", "--model", folder)
    assert again.exit_code == 3 and index_of(tmp_path / "out") == index


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "no column 'record'"),
        ("name,n\n", "no column 'record'"),
        ("record,heartrate\n", "'heart_rate'"),
        ("record,n,n\n", "2 times"),
    ],
)
def test_a_table_that_is_none_is_refused(text, said, folder, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(text)
    result = run(table, tmp_path / "out", "--model", folder)
    assert result.exit_code == 2 and said in result.stderr and not (tmp_path / "out").exists()


def test_what_does_not_go_together_is_refused(people, folder, tmp_path):
    table = write_table(people / "one.csv", [{"record": "p1.hea"}])
    for more, said in (
        (["--keep"], "without --keep"),
        ([people / "p1.hea"], "not both"),
        (["--format", "gif"], "wfdb"),
    ):
        result = run(table, tmp_path / "out", "--model", folder, *more)
        assert result.exit_code == 2 and said in result.stderr
    assert run(table, tmp_path / "out", "--model", folder).exit_code == 0
    other = run(table, tmp_path / "out", "--model", folder, "--guidance", 3)
    assert other.exit_code == 2 and "another options" in other.stderr


KILLED = """
import os, signal, sys
from ecgtwin.cli import app, cohort
from ecgtwin.twin import drawing
drawing.FULL["cpu"] = 4
line_of = cohort.line_of
def killing(cells):
    if cells[0] == 3:  # its files are written, its line is not
        with open(sys.argv[1], "ab") as file:
            file.write(b"3,p3.hea,A")
        os.kill(os.getpid(), signal.SIGKILL)
    return line_of(cells)
cohort.line_of = killing
app(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_run_goes_on_without_loss_or_doubles(people, tmp_path, monkeypatch):
    """On the default model."""
    monkeypatch.setitem(drawing.FULL, "cpu", 4)
    rows = [{"record": f"p{1 + k % 3}.hea", "report": "AF", "seed": str(k), "n": str(1 + k % 2)} for k in range(5)]
    rows[1]["record"] = "nobody.hea"
    table = write_table(people / "five.csv", rows)
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert run(table, whole).exit_code == 3
    command = ["generate", "--table", table, "--output", torn, "--steps", 2, "--device", "cpu"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, torn / "index.csv", *map(str, command)],
        env=os.environ,
        capture_output=True,
        timeout=300,
    )
    assert killed.returncode == -9, killed.stderr
    left = files_of(torn)
    assert len(left["index.csv"].splitlines()) == 4 and set(left) < set(files_of(whole)) | {"index.csv.lock"}
    (torn / "0000" / ".part-left").mkdir()
    (torn / "0000" / ".part-left" / "000004_000.dat").write_bytes(b"half")
    result = run(table, torn, "--json")
    assert result.exit_code == 3 and json.loads(result.stdout)["done_before"] == 2
    assert files_of(torn) == files_of(whole)
    assert run(table, torn).exit_code == 3 and files_of(torn) == files_of(whole)
