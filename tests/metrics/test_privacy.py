import numpy as np
import pytest

from ecgtwin.metrics.privacy import closest, membership


def test_a_generator_that_kept_its_training_set_is_found_out_and_one_that_did_not_is_not():
    generator = np.random.default_rng(0)
    training, held, fresh = generator.normal(size=(3, 300, 8))
    honest = closest(fresh, training, held)
    assert honest.nearer_training == pytest.approx(0.5, abs=0.06) and membership(
        fresh, training, held
    ) == pytest.approx(0.5, abs=0.06)
    copied = training[:100] + 0.01 * generator.normal(size=(100, 8))
    thief = closest(copied, training, held)
    assert thief.nearer_training > 0.95 and thief.smallest < 0.05 and membership(copied, training, held) > 0.6


def test_a_larger_training_set_is_not_nearer_by_its_size():
    generator = np.random.default_rng(1)
    found = closest(generator.normal(size=(200, 4)), generator.normal(size=(3000, 4)), generator.normal(size=(200, 4)))
    assert found.nearer_training == pytest.approx(0.5, abs=0.08)
