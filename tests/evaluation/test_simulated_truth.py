"""Generated ECGs beside the exact counterfactuals of simulated people."""

import numpy as np
import pytest

from ecgtwin.evaluation.simulated_truth import MOST, TARGETS, Beats, aligned, centred, compare, counterfactuals
from ecgtwin.metrics.identity import POINTS

from ..twin.tiny import model


def waves(n: int, seed: int) -> np.ndarray:
    """Smooth beats (n, 8 * POINTS), quiet at both ends."""
    rng = np.random.default_rng(seed)
    at = np.linspace(-1, 1, POINTS)
    bumps = np.exp(-((at - rng.uniform(-0.3, 0.3, (n, 8, 4, 1))) ** 2) / 0.01) * rng.normal(size=(n, 8, 4, 1))
    return bumps.sum(2).reshape(n, -1)


def test_a_perfect_model_has_perfect_figures():
    before, truth = waves(6, 0), waves(6, 1)
    found = compare(Beats(before, truth, truth, truth))
    assert [found[k] for k in ("twin", "ceiling", "change", "own", "size")] == pytest.approx([1] * 5)
    assert found["error"] == pytest.approx(0, abs=1e-9) and found["error_unchanged"] > 0.5
    assert found["unchanged"] < 0.9 and found["stranger"] < 0.9 and found["unmeasured"] == 0


def test_a_model_that_returns_the_reference_is_told():
    before, truth = waves(6, 0), waves(6, 1)
    found = compare(Beats(before, truth, before, truth))
    assert found["twin"] == found["unchanged"] and found["change"] == pytest.approx(0, abs=1e-9)


def test_a_model_that_exaggerates_is_told():
    before, truth = waves(6, 0), waves(6, 1)
    found = compare(Beats(before, truth, 2 * truth, truth))
    assert [found[k] for k in ("twin", "size", "error")] == pytest.approx([1, 2, 1])


def test_a_model_that_draws_a_stranger_is_told():
    before, truth = waves(6, 0), waves(6, 1)
    found = compare(Beats(before, truth, np.roll(truth, 1, 0), truth))
    assert found["own"] == 0 and found["twin"] < 0.9


def test_beats_that_are_moved_or_lifted_count_as_the_same():
    truth = waves(4, 1)
    moved = np.roll(truth.reshape(4, 8, POINTS), 9, -1) + np.arange(8)[:, None]
    assert aligned(moved.reshape(4, -1), centred(truth)) == pytest.approx(centred(truth), abs=1e-4)
    far = np.roll(truth.reshape(4, 8, POINTS), 2 * MOST, -1).reshape(4, -1)
    assert not np.allclose(aligned(far, centred(truth)), centred(truth), atol=0.01)


def test_ecgs_without_beats_are_counted_and_resemble_nobody():
    before, truth = waves(4, 0), waves(4, 1)
    twin = truth.copy()
    twin[1] = 0
    found = compare(Beats(before, truth, twin, truth))
    assert found["unmeasured"] == 1 and found["own"] == 1


def test_states_that_a_model_knows_are_drawn_and_the_others_named():
    found = counterfactuals(model(), people=3, seed=1, steps=2)
    assert set(found["states"]) == set(TARGETS[:3]) and set(found["left_out"]) == set(TARGETS[3:])
    for row in found["states"].values():
        assert abs(row["ceiling"]) <= 1 and row["unchanged"] > 0.2 and abs(row["change"]) <= 1
    assert counterfactuals(model(), people=3, seed=1, steps=2, batch=2)["mean"] == pytest.approx(
        found["mean"], abs=1e-4
    )


def test_too_few_people_and_unknown_states_are_refused():
    with pytest.raises(ValueError, match="2 or more"):
        counterfactuals(model(), people=1)
    with pytest.raises(ValueError, match="none of the states"):
        counterfactuals(model(), states=TARGETS[3:5])
