import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ecgtwin.metrics.two_sample import auroc, giveaway, two_sample, with_missing


def test_auroc_is_that_of_scikit_learn_ties_and_weights_too():
    generator = np.random.default_rng(0)
    scores, truth = generator.integers(0, 9, 200).astype(float), generator.random(200) < 0.3
    weights = generator.integers(0, 4, 200)
    assert auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert auroc(scores, truth, weights) == pytest.approx(
        roc_auc_score(truth, scores, sample_weight=weights), abs=1e-12
    )
    assert np.isnan(auroc(scores, np.zeros(200)))


def test_one_source_cannot_be_told_apart_and_two_can_as_theory_says():
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(2, 400, 5))
    owners = np.arange(400)
    same = two_sample(a, b, owners, 1000 + owners)
    assert same.low < 0.5 < same.high
    shifted = two_sample(a, b + [1, 0, 0, 0, 0], owners, 1000 + owners)
    assert shifted.value == pytest.approx(0.760, abs=0.03)  # Phi(1 / sqrt 2)


def test_trees_see_what_no_line_can():
    generator = np.random.default_rng(2)
    a, b = generator.normal(size=(2, 400, 3))
    b = b * 2.5
    owners = np.arange(400)
    assert two_sample(a, b, owners, owners + 400).value < 0.62
    assert two_sample(a, b, owners, owners + 400, kind="trees").value > 0.75


def test_a_patient_is_never_on_both_sides():
    """Copies of the same patients' ECGs: a classifier that had seen the twin's reference labelled
    'real' would score below 0.5."""
    generator = np.random.default_rng(3)
    a = generator.normal(size=(200, 40))
    found = two_sample(a, a + 1e-9, np.arange(200), np.arange(200))
    assert found.value == pytest.approx(0.5, abs=0.02)


def test_not_measurable_gives_away_and_the_worst_comes_first():
    generator = np.random.default_rng(4)
    a, b = generator.normal(size=(2, 200, 2))
    b[:100, 0] = np.nan
    found = giveaway(
        {"same": (a[:, 1:], b[:, 1:]), "missing": (a[:, :1], b[:, :1])}, np.arange(200), np.arange(200) + 200
    )
    assert list(found) == ["missing", "same"] and found["missing"].value > 0.7
    assert with_missing(np.array([[1.0, np.nan], [3.0, 2.0]])).tolist() == [[1, 2, 1], [3, 2, 0]]
