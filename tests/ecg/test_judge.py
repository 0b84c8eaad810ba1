"""An independent judge, trained by others on real ECGs only, recognises what was simulated (extra `judge`)."""

import numpy as np
import pytest
from scipy.stats import rankdata

from ecgtwin.ecg.simulate import Person, simulate

CLASSES = ("sinus", "avb", "paced", "afib", "bbb", "ventricular")  # the order of the judge's rhythm output
STATES = {
    "sinus rhythm": "sinus",
    "atrial fibrillation": "afib",
    "complete left bundle branch block": "bbb",
    "complete right bundle branch block": "bbb",
    "normal functioning artificial pacemaker": "paced",
}


@pytest.fixture(scope="module")
def judge():
    """openecg's codec v6: lead II, 10 s at 500 Hz -> probability of each of `CLASSES`, mean of the inner 6 s."""
    deploy = pytest.importorskip("openecg.deploy", reason="the judge is not installed: pip install 'ecgtwin[judge]'")
    runtime = pytest.importorskip("onnxruntime", reason="the judge is not installed: pip install 'ecgtwin[judge]'")
    from openecg.dsp import rank_normalize

    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(deploy.bundled_codec_onnx_path("v6")), options, providers=["CPUExecutionProvider"])
    name = next(output.name for output in session.get_outputs() if "rhythm" in output.name)

    def probabilities(lead: np.ndarray) -> np.ndarray:
        logits = session.run([name], {session.get_inputs()[0].name: np.float32(rank_normalize(lead))[None]})[0][0]
        logits = logits[1000:4000].astype(float)
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return (odds / odds.sum(1, keepdims=True)).mean(0)

    return probabilities


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    ranks = rankdata(scores)
    n = positive.sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (~positive).sum()))


def test_the_judge_recognises_the_states(judge):
    said, truth = [], []
    for number in range(12):
        for name, label in STATES.items():
            ecg = simulate(Person.draw(3000 + number), name, seed=number)
            said.append(judge(ecg.signal[ecg.leads.index("II")]))
            truth.append(label)
    said, truth = np.array(said), np.array(truth)
    for label in ("sinus", "afib", "bbb", "paced"):
        assert auroc(said[:, CLASSES.index(label)], truth == label) >= 0.9, label
