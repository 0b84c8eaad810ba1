import numpy as np
import pytest
from scipy import linalg

from ecgtwin.metrics.frechet import (
    frechet_distance,
    frechet_gaussians,
    frechet_infinite,
    inception_score,
    kernel_distance,
    kernel_distance_drawn,
)


def covariance(generator, width):
    root = generator.normal(size=(width, width))
    return root @ root.T


def test_two_gaussians_in_closed_form():
    """Isotropic: |m|² + d (s_a - s_b)²; in general as scipy's matrix square root has it."""
    mean = np.array([1.0, -2.0, 2.0])
    assert frechet_gaussians(mean, 4 * np.eye(3), 0 * mean, 9 * np.eye(3)) == pytest.approx(9 + 3 * (2 - 3) ** 2)
    generator = np.random.default_rng(0)
    a, b = covariance(generator, 6), covariance(generator, 6)
    expected = np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert frechet_gaussians(np.zeros(6), a, np.zeros(6), b) == pytest.approx(expected, rel=1e-9)


def test_singular_covariances_stay_real():
    a, b = np.diag([1.0, 0.0]), np.diag([0.0, 4.0])
    assert frechet_gaussians(np.zeros(2), a, np.zeros(2), b) == pytest.approx(5.0)


def test_samples_of_known_gaussians():
    generator = np.random.default_rng(1)
    a = generator.normal(size=(40_000, 3))
    b = generator.normal(size=(40_000, 3)) * 2 + np.array([1.0, 0.0, 0.0])
    assert frechet_distance(a, b) == pytest.approx(1 + 3, rel=0.03)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a[:500], a[500:1000]) > 0  # biased by the number of samples


def by_hand(a, b, degree=3):
    def k(x, y):
        return (x @ y / len(x) + 1) ** degree

    within = [np.mean([k(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    return sum(within) - 2 * np.mean([k(x, y) for x in a for y in b])


def test_kernel_distance_is_the_unbiased_sum():
    generator = np.random.default_rng(2)
    a, b = generator.normal(size=(7, 4)), generator.normal(size=(5, 4)) + 0.5
    assert kernel_distance(a, b) == pytest.approx(by_hand(a, b), rel=1e-12)
    assert kernel_distance(a, b, degree=2) == pytest.approx(by_hand(a, b, 2), rel=1e-12)


def test_kernel_distance_is_zero_on_average_for_one_source_and_sees_another():
    generator = np.random.default_rng(3)
    same = np.array([kernel_distance(*generator.normal(size=(2, 50, 4))) for _ in range(300)])
    error = same.std() / np.sqrt(len(same))
    assert abs(same.mean()) < 4 * error
    assert (same < 0).any()  # a biased estimate never is
    assert kernel_distance(generator.normal(size=(50, 4)), generator.normal(size=(50, 4)) + 1) > 10 * same.std()


def test_what_cannot_be_compared_is_refused():
    good = np.zeros((3, 2))
    for bad in (np.zeros((3, 4)), np.zeros(3), np.zeros((1, 2))):
        with pytest.raises(ValueError, match="expected"):
            frechet_distance(good, bad)
    with pytest.raises(ValueError, match="second .* not finite"):
        kernel_distance(good, np.full((3, 2), np.nan))


def test_floors_of_one_gaussian_and_what_extrapolation_makes_of_them():
    generator = np.random.default_rng(5)
    a, b = generator.normal(size=(2, 2000, 64))
    assert frechet_distance(a, b) == pytest.approx(1.1, abs=0.05)
    assert frechet_distance(a[:500], b[:500]) == pytest.approx(4.4, abs=0.3)
    assert abs(frechet_infinite(a, b)) < 0.1
    moved = b + np.eye(64)[0]
    assert frechet_infinite(a, moved) == pytest.approx(1, abs=0.15)


def test_the_same_as_torchmetrics():
    fid, kid = (pytest.importorskip(f"torchmetrics.image.{name}") for name in ("fid", "kid"))
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(6)
    a, b = generator.normal(size=(120, 6)), 1.3 * generator.normal(size=(90, 6)) + 0.2
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    expected = fid._compute_fid(x.mean(0), x.T.cov(), y.mean(0), y.T.cov())
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-6)
    assert kernel_distance(a[:90], b) == pytest.approx(kid.poly_mmd(x[:90], y).item(), rel=1e-6)


def test_drawn_kernel_distances_are_those_of_the_rows_drawn():
    generator = np.random.default_rng(7)
    a, b = generator.normal(size=(9, 3)), generator.normal(size=(8, 3)) + 1
    one = kernel_distance_drawn(a, b, np.ones((1, 9)), np.ones((1, 8)))
    assert one == pytest.approx(kernel_distance(a, b))
    some = np.r_[np.ones(5), np.zeros(4)][None], np.r_[np.zeros(2), np.ones(6)][None]
    assert kernel_distance_drawn(a, b, *some) == pytest.approx(kernel_distance(a[:5], b[2:]))


def test_repeated_rows_leave_the_kernel_distance_at_zero_for_one_source():
    generator = np.random.default_rng(8)
    found = []
    for _ in range(100):
        a, b = generator.normal(size=(2, 40, 4))
        weights = generator.multinomial(40, np.full(40, 1 / 40), size=(2, 5))
        found += kernel_distance_drawn(a, b, *weights).tolist()
    assert abs(np.mean(found)) < 5 * np.std(found) / np.sqrt(100)


def test_the_inception_score_of_sure_and_even_answers_is_their_number_and_of_others_less():
    sure = np.eye(4)[np.arange(400) % 4]
    assert np.allclose(inception_score(sure), (4.0, 0.0)) and np.allclose(
        inception_score(sure[:1].repeat(400, 0)), (1.0, 0.0)
    )
    assert np.isclose(inception_score(np.full((400, 4), 0.25))[0], 1.0)
    p = np.array([[0.9, 0.1], [0.1, 0.9]]).repeat(200, 0)[np.random.default_rng(0).permutation(400)]
    kl = 0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)
    assert np.isclose(inception_score(p, 1)[0], np.exp(kl))
    with pytest.raises(ValueError, match="sum of 1"):
        inception_score(2 * sure)
