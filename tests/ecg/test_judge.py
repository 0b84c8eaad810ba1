"""An independent judge, trained by others on real ECGs only, recognises what was simulated (extra `judge`)."""

import numpy as np
import pytest
from scipy.stats import rankdata

from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.metrics.judge import CLASSES, load_judge

STATES = {
    "sinus rhythm": "sinus",
    "atrial fibrillation": "afib",
    "complete left bundle branch block": "bbb",
    "complete right bundle branch block": "bbb",
    "normal functioning artificial pacemaker": "paced",
}


@pytest.fixture(scope="module")
def judge():
    pytest.importorskip(
        "openecg.deploy", reason="the judge is not installed: in a clone of ecgtwin run pip install '.[judge]'"
    )
    pytest.importorskip(
        "onnxruntime", reason="the judge is not installed: in a clone of ecgtwin run pip install '.[judge]'"
    )
    return load_judge()


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    ranks = rankdata(scores)
    n = positive.sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (~positive).sum()))


def test_the_judge_recognises_the_states(judge):
    said, truth = [], []
    for number in range(12):
        for name, label in STATES.items():
            ecg = simulate(Person.draw(3000 + number), name, seed=number)
            said.append(judge(ecg.signal[ecg.leads.index("II")], ecg.rate))
            truth.append(label)
    said, truth = np.array(said), np.array(truth)
    for label in ("sinus", "afib", "bbb", "paced"):
        assert auroc(said[:, CLASSES.index(label)], truth == label) >= 0.9, label


def test_the_judge_takes_any_rate(judge):
    ecg = simulate(Person.draw(3001), "atrial fibrillation", seed=1)
    slow = ecg.resample(102.4)
    a, b = judge(ecg.signal[1], 500), judge(slow.signal[1], 102.4)
    assert a.shape == (6,) and a.sum() == pytest.approx(1) and a.argmax() == b.argmax() == CLASSES.index("afib")
