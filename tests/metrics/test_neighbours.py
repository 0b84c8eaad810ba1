import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from ecgtwin.metrics.neighbours import distances, neighbours, radii


def test_sets_in_closed_form():
    """On a line, k = 1: balls of radius 1 around 0, 1, 2; made samples at 0.5 (inside two
    balls) and 10 (inside none)."""
    real, made = np.array([[0.0], [1], [2]]), np.array([[0.5], [10]])
    found = neighbours(real, made, k=1)
    assert found.precision == 0.5 and found.density == pytest.approx((2 + 0) / 2)
    assert found.coverage == pytest.approx(2 / 3)  # the balls of 0 and 1
    assert found.recall == 1.0  # made balls have radius 9.5


def test_radii_are_those_of_scikit_learn():
    x = np.random.default_rng(0).normal(size=(80, 5))
    expected = NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x)[0][:, 5]
    np.testing.assert_allclose(radii(x, 5), expected)


def test_one_source_has_density_1_and_the_known_coverage():
    """Naeem et al., lemma 2 and 3: density 1, coverage 1 - (N - 1)...(N - k) / ((2N - 1)...(2N - k))
    on average, about 1 - 2^-k."""
    generator = np.random.default_rng(1)
    found = [neighbours(*generator.normal(size=(2, 2000, 64)), k=5) for _ in range(2)]
    assert np.mean([f.density for f in found]) == pytest.approx(1, abs=0.1)
    assert np.mean([f.coverage for f in found]) == pytest.approx(0.96, abs=0.02)
    assert np.mean([f.precision for f in found]) < 0.8  # which is why precision needs its floor beside it


def test_a_generator_of_one_sample_is_precise_and_covers_nothing():
    generator = np.random.default_rng(2)
    real = generator.normal(size=(300, 4))
    collapsed = 0.01 * generator.normal(size=(300, 4))
    found = neighbours(real, collapsed)
    assert found.precision > 0.9 and found.recall < 0.1 and found.coverage < 0.5
    far = neighbours(real, real + 100)
    assert far.precision == far.density == far.coverage == 0


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="more than k"):
        neighbours(np.zeros((5, 2)), np.zeros((9, 2)), k=5)
    assert distances(np.zeros((1, 2)), np.array([[3.0, 4.0]])) == pytest.approx(5)
