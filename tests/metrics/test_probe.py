import numpy as np
import pytest

from ecgtwin.metrics.probe import probe

pytest.importorskip("sklearn")


def draw(n, leak, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    x = rng.standard_normal((n, 6))
    x[:, 2] += leak * truth
    return x, truth


def test_a_leak_is_seen_and_chance_is_chance():
    for leak, low, high in ((0.0, 0.42, 0.58), (10.0, 0.999, 1.0), (1.0, 0.7, 0.82)):
        found = probe(*draw(2000, leak), *draw(1000, leak, 1))
        assert low <= found.auroc <= high and found.n == 1000 and 250 < found.positives < 350
    # Equal variances, gap 1: the best possible line reaches Phi(1 / sqrt 2) = 0.760.
    assert probe(*draw(20000, 1.0), *draw(20000, 1.0, 1)).auroc == pytest.approx(0.760, abs=0.015)


def test_too_few_are_said_to_be_too_few():
    x, truth = draw(50, 0.0)
    assert probe(x, truth, x, np.zeros(50, bool)).auroc is None
    with pytest.raises(ValueError, match="one label for each row"):
        probe(x, truth[:40], x, truth)
