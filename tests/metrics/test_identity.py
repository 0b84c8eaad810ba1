import numpy as np
import pytest

from ecgtwin.metrics.identity import GRID, POINTS, equal_error_rate, identity, median_beats, whitening


def people(n=40, spread=0.1, seed=0):
    """Two feature vectors for each of n people, and whose they are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n, 20))
    features = np.repeat(centres, 2, 0) + spread * rng.standard_normal((2 * n, 20))
    return features, np.repeat([f"p{i}" for i in range(n)], 2)


def test_clear_people_are_found():
    found = identity(*people())
    assert found.rank1 == 1 and found.eer == 0 and found.queries == 80 and found.gallery == 80
    assert found.within > 0.9 > found.between


def test_chance_is_chance():
    rng = np.random.default_rng(1)
    found = identity(rng.standard_normal((400, 30)), np.repeat(np.arange(200), 2))
    assert found.rank1 < 0.05 and abs(found.eer - 0.5) < 0.05


def test_strangers_are_in_the_gallery_but_ask_nothing():
    features, patients = people(3)
    found = identity(np.vstack([features, -features[:1]]), [*patients, "alone"])
    assert found.queries == 6 and found.gallery == 7


def test_no_patient_with_two_is_an_error():
    with pytest.raises(ValueError, match="3 ECGs of 3 patients"):
        identity(np.eye(3), ["a", "b", "c"])


def test_equal_error_rate_of_known_overlap():
    within, between = np.array([1.0, 2, 3, 4]), np.array([-2.0, -1, 0, 1.5])
    assert equal_error_rate(within, between) == pytest.approx(0.25)
    assert equal_error_rate(within + 10, between) == 0


def test_whitening_removes_the_direction_in_which_one_person_varies():
    rng = np.random.default_rng(2)
    features, patients = people(60, 0.3)
    nuisance = rng.standard_normal((len(features), 1)) * 8 * np.eye(20)[:1]
    assert identity(features + nuisance, patients).rank1 < 0.8
    fitted = whitening(features + nuisance, patients, components=20)
    assert identity(fitted(features + nuisance), patients).rank1 > 0.95
    total = whitening(features, components=10)(features)
    np.testing.assert_allclose(total.std(0), 1, rtol=1e-6)
    np.testing.assert_allclose(total.mean(0), 0, atol=1e-9)


def test_within_whitening_needs_pairs():
    with pytest.raises(ValueError, match="two ECGs"):
        whitening(np.eye(4), np.arange(4))


def test_median_beats_ignore_offset_and_need_beats():
    rate, t = 100.0, np.arange(1000) / 100.0
    beat = sum(np.exp(-(((t - p) / 0.02) ** 2)) for p in np.arange(0.7, 9.5, 0.9))
    x = np.stack([beat, 0.5 * beat])
    one, two, none = median_beats(np.stack([x, x + 3.0, 0 * x]), rate).reshape(3, 2, POINTS)
    np.testing.assert_allclose(one, two, atol=1e-6)
    straight = [np.interp(0.7 + GRID, t, row) for row in x]  # ten like beats: each is their median
    np.testing.assert_allclose(one, straight - np.median(straight, 1, keepdims=True), atol=1e-9)
    assert not none.any()


def test_unknown_patients_are_nobody_s_and_each_a_person_of_their_own():
    rng = np.random.default_rng(0)
    twice = np.repeat(rng.standard_normal((4, 8)), 2, 0)
    strangers = np.repeat(rng.standard_normal((1, 8)), 2, 0)  # alike, but nobody knows whether they are one person
    known = np.repeat(np.arange(4), 2)
    found = identity(np.concatenate([twice, strangers]), np.concatenate([known, [-1, -1]]))
    assert found.queries == 8 and found.gallery == 10 and found.rank1 == 1.0
    with pytest.raises(ValueError, match="needs a patient with two"):
        identity(strangers, np.array([-1, -1]))
    with pytest.raises(ValueError, match="two ECGs or more"):
        whitening(strangers, np.array([-1, -1]))
