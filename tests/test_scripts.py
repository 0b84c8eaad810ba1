"""Every script runs: the three stages for some steps on simulated people, one after the other, to a model that generates."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ecgtwin import ECG, Condition, ECGTwin
from ecgtwin.text.table import StatementTable

from . import tiny_ptbxl
from .twin.tiny import CONFIG, STATEMENTS, Letters

ROOT = Path(__file__).resolve().parents[1]
STAGE = {"batch": 4, "rate": 1.0e-3, "warmup": 1, "validate_every": 2}


def run(script, *arguments, code=0):
    command = [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == code, result.stderr[-3000:]
    return result


def rows(folder, figure="loss"):
    with (folder / "losses.csv").open() as file:
        return {int(r["step"]): float(r["value"]) for r in csv.DictReader(file) if r["figure"] == figure}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    tiny_ptbxl.write(folder / "ptbxl", patients=8)
    stages = {name: {**STAGE, "steps": 4} for name in ("vae", "base", "twin")}
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"model": CONFIG, "train": stages}))
    StatementTable.build(STATEMENTS, Letters()).save(folder / "statements")
    return folder


def test_the_whole_recipe(place):
    data = ("--data", place / "ptbxl", "--config", place / "tiny.yaml")
    statements = ("--statements", place / "statements")
    vae, base, twin = (place / name / "weights.safetensors" for name in ("vae", "base", "twin"))
    run("train_vae.py", *data, "--output", vae.parent)
    run("train_base.py", *data, *statements, "--vae", vae, "--output", base.parent)
    run("train_twin.py", *data, *statements, "--vae", vae, "--base", base, "--output", twin.parent)
    for stage, figure in ((vae, "correlation"), (base, "rank1"), (twin, "held")):
        assert sorted(rows(stage.parent, figure)) == [2, 4]
    parts = ("--vae", vae, "--base", base, "--twin", twin)
    run("export_model.py", *data[:2], *statements, *parts, "--output", place / "model", "--half")
    model = ECGTwin.from_pretrained(place / "model", device="cpu")
    assert set(model.statements) == {"sinus rhythm", "atrial fibrillation"}
    reference = ECG.read(place / "ptbxl" / "records100" / "00000" / "00001_lr.hea")
    twins = model.generate(reference, Condition("AF", heart_rate=90), n=2, steps=2)
    assert len(twins) == 2 and twins[0].signal.shape == (12, 1024)
    assert "validation" in json.loads((place / "model" / "config.json").read_text())["facts"]
    refused = run("train_vae.py", *data, "--output", vae.parent, code=1)
    assert "--resume" in refused.stderr


def test_a_killed_training_goes_on_where_it_was(place):
    """Stop after two of four steps and resume: the last checkpoint equals that of an uninterrupted run."""
    common = ("--data", place / "ptbxl", "--config", place / "tiny.yaml")
    run("train_vae.py", *common, "--output", place / "whole")
    part = place / "part"
    stop = (
        "import runpy, sys; from ecgtwin.train.run import Run; save = Run.save\n"
        "def stop(self, training, *more):\n    save(self, training, *more); sys.exit(9)\n"
        "Run.save = stop; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", stop, str(ROOT / "scripts" / "train_vae.py"), *map(str, common), "--output", str(part)]
    assert subprocess.run(command, capture_output=True, timeout=300).returncode == 9
    run("train_vae.py", *common, "--output", part, "--resume")
    assert (part / "weights.safetensors").read_bytes() == (place / "whole" / "weights.safetensors").read_bytes()
