"""All figures of a model in one call, on a store of simulated people."""

from dataclasses import replace

import numpy as np
import pytest

from ecgtwin.ecg.datasets.source import Statements
from ecgtwin.ecg.store.collect import collect
from ecgtwin.evaluation import evaluate as module
from ecgtwin.evaluation.evaluate import evaluate
from ecgtwin.evaluation.report import summary
from ecgtwin.metrics.judge import CLASSES

from ..twin.tiny import STATEMENTS, model, reference


def test_every_figure_is_there_with_its_n(simulated_store, monkeypatch):
    monkeypatch.setattr(module, "load_judge", lambda: lambda lead, rate: np.eye(len(CLASSES))[0])
    said = []
    found = evaluate(model(), simulated_store.folder, people=2, report=said.append)
    assert said == ["reconstruction", "identity", "heart_rate", "speed", "counterfactuals", "judgement"]
    assert found["reconstruction"]["n"] == found["data"]["validation"] > 0
    assert found["counterfactuals"]["people"] == 2 and found["judgement"]["sinus rhythm"]["read"] == 1
    text = summary(found)
    for part in (
        "exact counterfactuals of 2 simulated people",
        "not known to the model: left anterior",
        "as openecg reads",
        "unchanged",
    ):
        assert part in text


def test_what_is_not_measured_is_said(simulated_store, monkeypatch):
    def missing():
        raise ImportError("the judge is not installed: in a clone of ecgtwin run pip install '.[judge]'")

    monkeypatch.setattr(module, "load_judge", missing)
    said = []
    found = evaluate(model(), simulated_store.folder, people=0, report=said.append)
    assert "counterfactuals" not in found and "judgement" not in found
    assert said[-1].startswith("judgement is not measured: the judge is not installed")
    assert "judgement" in found["skipped"] and "not measured: judgement" in summary(found)
    assert "exact counterfactuals" not in summary(found)


def test_strangers_are_not_one_person_and_what_cannot_be_measured_is_skipped(tmp_path, monkeypatch):
    """A store of recordings whose patients are not known: nobody can be recognised, the rest is measured."""
    ecgs = [replace(reference(k), patient=None, reports=("sinus rhythm",)) for k in range(12)]
    store = collect(
        ecgs, tmp_path / "store", statements=Statements(lambda line: (line,), STATEMENTS), shares=(0.0, 0.0, 1.0)
    )
    monkeypatch.setattr(module, "load_judge", lambda: lambda lead, rate: np.eye(len(CLASSES))[0])
    with pytest.raises(ValueError, match=r"no usable ECG of split validation.*test \d+.*--split"):
        evaluate(model(), store.folder, people=0)
    found = evaluate(model(), store.folder, split="test", people=0)
    assert "identity" not in found and "no patient in this split has two ECGs" in found["skipped"]["identity"]
    assert found["reconstruction"]["n"] == found["data"]["test"] == len(store.rows("test"))
    assert "not measured: identity" in summary(found)
