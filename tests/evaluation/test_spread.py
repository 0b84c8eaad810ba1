import numpy as np
import pytest

from ecgtwin.evaluation.spread import COLUMNS, another, scored


def drawn(rng, n: int, times: int, spread: float):
    """Samples (times, n, M) around each person's centre, and a truth of spread 1 around the same centre."""
    centre = rng.normal(0, 5, (n, COLUMNS[-1] + 1))
    truth = centre + rng.normal(size=centre.shape)
    samples = centre + spread * rng.normal(size=(times, *centre.shape))
    return samples, truth, centre + rng.normal(size=centre.shape)


def test_samples_that_spread_as_the_truth_does_hold_it_and_those_of_another_patient_do_not():
    rng, n, times = np.random.default_rng(0), 200, 9
    weights = np.r_[np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), 100)]
    samples, truth, before = drawn(rng, n, times, 1.0)
    coverage, skill = scored(samples, truth, before, weights)
    assert coverage.value == pytest.approx(0.8, abs=0.03) and coverage.low < 0.8 < coverage.high
    assert skill.low > 0.2  # a copy errs by sqrt(2) standard deviations, CRPS is below that of the median
    narrow, _ = scored(*drawn(rng, n, times, 0.2), weights)
    assert narrow.high < 0.5
    shuffled, none = scored(samples[:, another(np.arange(n))], truth, before, weights)
    assert shuffled.high < 0.4 and none.high < 0


def test_another_patient_is_never_the_same_and_one_patient_alone_has_none():
    patients = np.array([1, 1, 2, 3, 3, 3])
    assert (patients[another(patients)] != patients).all() and another(np.ones(4)) is None


def test_too_few_measurable_ecgs_are_no_figure():
    rng = np.random.default_rng(1)
    samples, truth, before = drawn(rng, 4, 3, 1.0)
    coverage, skill = scored(samples, truth, before, np.ones((3, 4)))
    assert np.isnan(coverage.value) and np.isnan(skill.value)
