import numpy as np
import pytest

from ecgtwin.metrics.bootstrap import draws, mean


def test_patients_are_drawn_whole():
    weights = draws(np.array([4, 4, 7, 9, 9, 9]), 50)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 3:] == weights[:, 3:4]).all()
    assert (weights[:, [0, 2, 3]].sum(1) == 3).all()  # as many patients as there are


def test_unknown_patients_are_drawn_each_for_itself():
    weights = draws(np.array([-1, -1, 3]), 200)
    assert (weights[:, 0] != weights[:, 1]).any() and (weights.sum(1) == 3).all()


def test_interval_of_a_mean_is_that_of_theory():
    generator = np.random.default_rng(0)
    found = mean(generator.normal(size=2000), np.arange(2000), times=2000)
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.1)


def test_repeats_of_a_patient_do_not_narrow_the_interval():
    once = np.random.default_rng(1).normal(size=100)
    a, b = mean(once, np.arange(100)), mean(np.repeat(once, 10), np.repeat(np.arange(100), 10))
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.01)


def test_missing_values():
    values, patients = np.array([1.0, np.nan, 3.0, 5.0]), np.arange(4)
    assert mean(values, patients).value == 3
    assert np.isnan(mean(np.full(3, np.nan), np.arange(3))).all()
