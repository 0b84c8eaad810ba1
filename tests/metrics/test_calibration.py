import numpy as np
import pytest

from ecgtwin.metrics.calibration import crps, inside


def test_crps_by_hand_and_for_a_gaussian_in_closed_form():
    assert crps([[0.0, 2.0]], [0.0]) == pytest.approx(1 - 1)  # mean |X - y| 1, half of mean |X - X'| 1
    assert crps([[3.0]], [1.0]) == pytest.approx(2)
    generator = np.random.default_rng(0)
    found = crps(generator.normal(size=(4, 20_000)), np.zeros(4)).mean()
    assert found == pytest.approx((np.sqrt(2) - 1) / np.sqrt(np.pi), abs=5e-3)  # Gneiting and Raftery 2007


def test_the_score_does_not_depend_on_how_many_samples():
    generator = np.random.default_rng(1)
    few, many = (crps(generator.normal(size=(20_000, k)), generator.normal(size=20_000)).mean() for k in (2, 20))
    assert few == pytest.approx(many, abs=0.02)


def test_calibrated_samples_cover_and_narrow_ones_do_not():
    generator = np.random.default_rng(2)
    centre = generator.normal(size=(4000, 1))
    truth = (centre + generator.normal(size=(4000, 1)))[:, 0]
    good, narrow = (centre + size * generator.normal(size=(4000, 9)) for size in (1, 0.2))
    assert inside(good, truth).mean() == pytest.approx(0.8, abs=0.02)  # (K - 1) / (K + 1)
    assert inside(narrow, truth).mean() < 0.4 and crps(narrow, truth).mean() > crps(good, truth).mean()
