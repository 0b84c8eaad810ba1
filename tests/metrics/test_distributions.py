import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from ecgtwin.metrics.distributions import apart, table, wasserstein


def test_wasserstein_is_that_of_scipy():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=50), generator.normal(size=71) * 2 + 1
    assert wasserstein(a, b) == pytest.approx(wasserstein_distance(a, b), abs=1e-12)
    assert wasserstein(a, a + 3) == pytest.approx(3)


def test_not_measurable_is_counted_and_not_invented():
    found = apart(np.array([1.0, 2, np.nan, np.nan]), np.array([2.0, 3]))
    assert found == (1, 1, 0.5, 1.0)
    none = apart(np.array([np.nan]), np.array([1.0]))
    assert np.isnan(none.distance) and none.measured_real == 0
    assert set(table(np.zeros((3, 2)), np.ones((3, 2)), ("PR", "QT"))) == {"PR", "QT"}
