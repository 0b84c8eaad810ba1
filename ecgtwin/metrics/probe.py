"""What a vector tells that it should not: a linear probe.

If a straight line through the space of base vectors separates two states of the heart, a network that reads the base
can tell the state too. AUROC 0.5: the vectors tell nothing; 1: everything.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Probe:
    """auroc: of the probe on vectors that it was not fitted to; None where either side has fewer than 3
    samples. positives, n: of these."""

    auroc: float | None
    positives: int
    n: int


def probe(seen: np.ndarray, told: np.ndarray, held: np.ndarray, truth: np.ndarray, *, strength: float = 1.0) -> Probe:
    """Logistic regression on vectors `seen` (N, D) with labels `told` (N,) bool, judged on
    `held` (K, D) with `truth` (K,).

    strength: inverse of the L2 penalty, on coordinates standardised over `seen`. Needs scikit-learn.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise ImportError(
            'a linear probe needs scikit-learn: in a clone of ecgtwin run pip install ".[train]"'
        ) from None
    if len(seen) != len(told) or len(held) != len(truth) or seen.shape[1] != held.shape[1]:
        raise ValueError(
            f"vectors {seen.shape} and {held.shape} with {len(told)} and {len(truth)} labels: expected one "
            "label for each row"
        )
    positives = int(np.sum(truth))
    if min(np.sum(told), np.sum(~told), positives, len(truth) - positives) < 3:
        return Probe(None, positives, len(truth))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=2000))
    scores = model.fit(seen, told).decision_function(held)
    return Probe(float(roc_auc_score(truth, scores)), positives, len(truth))
