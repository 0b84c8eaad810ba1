import numpy as np
import pytest

from ecgtwin.metrics.calibration import calibration, crps


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
    good = calibration(centre + generator.normal(size=(4000, 9)), truth)
    assert good.coverage == pytest.approx(good.expected, abs=0.02) and good.expected == 0.8
    assert good.error == pytest.approx(good.spread * np.sqrt(10 / 9), rel=0.05)
    narrow = calibration(centre + 0.2 * generator.normal(size=(4000, 9)), truth)
    assert narrow.coverage < 0.4 and narrow.crps > good.crps


def test_rows_that_cannot_be_measured_are_left_out():
    assert calibration([[1.0, np.nan], [0.0, 1.0]], [1.0, 0.5]).coverage == 1
    with pytest.raises(ValueError, match="no row"):
        calibration([[np.nan]], [0.0])
