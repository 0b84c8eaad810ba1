"""All figures of a model in one call, on a store of simulated people."""

import numpy as np

from ecgtwin.evaluation import evaluate as module
from ecgtwin.evaluation.evaluate import evaluate
from ecgtwin.evaluation.report import summary
from ecgtwin.metrics.judge import CLASSES

from ..twin.tiny import model


def test_every_figure_is_there_with_its_n(simulated_store, monkeypatch):
    monkeypatch.setattr(module, "load_judge", lambda: lambda lead, rate: np.eye(len(CLASSES))[0])
    said = []
    found = evaluate(model(), simulated_store.folder, people=2, report=said.append)
    assert said == ["reconstruction", "identity", "heart_rate", "speed", "counterfactuals", "judgement"]
    assert found["reconstruction"]["n"] == found["data"]["validation"] > 0
    assert found["counterfactuals"]["people"] == 2 and found["judgement"]["sinus rhythm"]["read"] == 1
    text = summary(found)
    for part in ("exact counterfactuals of 2 simulated people", "not known to the model: left anterior", "as openecg reads", "unchanged"):
        assert part in text


def test_what_is_not_measured_is_said(simulated_store, monkeypatch):
    def missing():
        raise ImportError("the judge is not installed: pip install 'ecgtwin[judge]'")

    monkeypatch.setattr(module, "load_judge", missing)
    said = []
    found = evaluate(model(), simulated_store.folder, people=0, report=said.append)
    assert "counterfactuals" not in found and "judgement" not in found
    assert said[-1] == "no judgement of the states: the judge is not installed: pip install 'ecgtwin[judge]'"
    assert "exact counterfactuals" not in summary(found)
