"""Averages whose width is chosen after the training, against the profile that they stand for."""

import numpy as np
import pytest
import torch
from torch import nn

from ecgtwin.train.ema import PowerEMA, gamma_of, reconstruct, reconstruction

STEPS = 400


def walk(seed: int = 0) -> np.ndarray:
    """The weights of a training: a random walk of three numbers."""
    return np.cumsum(np.random.default_rng(seed).normal(size=(STEPS, 3)), 0)


def averages(path: np.ndarray, std: float) -> list[np.ndarray]:
    network = nn.Linear(3, 1, bias=False).double()
    ema, found = PowerEMA(network, std), []
    for row in path:
        with torch.no_grad():
            network.weight.copy_(torch.from_numpy(row)[None])
        ema.update(network)
        found.append(ema.shadow["weight"][0].numpy().copy())
    return found


def test_the_profile_has_the_width_that_was_asked_for():
    """The density i^gamma on (0, 1) has the standard deviation sqrt((g + 1) / ((g + 2)² (g + 3))) (eq. 124)."""
    for std in (0.02, 0.05, 0.1, 0.25):
        g = gamma_of(std)
        assert np.isclose(np.sqrt((g + 1) / ((g + 2) ** 2 * (g + 3))), std)
    assert np.isclose(gamma_of(0.1), 6.94, atol=0.01) and np.isclose(gamma_of(0.05), 16.97, atol=0.01)
    for wrong in (0.0, 0.3):
        with pytest.raises(ValueError, match="std"):
            gamma_of(wrong)


def test_the_average_is_the_sum_of_the_profile():
    path, std = walk(), 0.1
    edges = np.arange(STEPS + 1) / STEPS
    weights = np.diff(edges ** (gamma_of(std) + 1))  # of step i: the integral of (g + 1) x^g over it
    assert np.allclose(averages(path, std)[-1], weights @ path, atol=1e-9)


def test_any_other_width_is_made_of_two_kept_along_the_way():
    path = walk(1)
    kept = {std: averages(path, std) for std in (0.05, 0.1)}
    at = range(49, STEPS, 50)
    snapshots = {(t + 1, std): {"weight": torch.from_numpy(kept[std][t])} for t in at for std in kept}
    scale = path.std()
    for std in (0.07, 0.12, 0.15):
        wanted = averages(path, std)[-1]
        found = reconstruct(snapshots, STEPS, std)["weight"].numpy()
        assert np.abs(found - wanted).max() < 0.02 * scale, std
        assert min(np.abs(kept[k][-1] - wanted).max() for k in kept) > 0.04 * scale
    earlier = reconstruct({k: v for k, v in snapshots.items() if k[0] <= 300}, 300, 0.08)["weight"].numpy()
    assert np.abs(earlier - averages(path[:300], 0.08)[-1]).max() < 0.02 * scale


def test_what_was_kept_is_itself():
    weights = reconstruction([(100, 0.05), (200, 0.05), (200, 0.1)], 200, 0.1)
    assert np.allclose(weights, [0, 0, 1], atol=1e-6)
    with pytest.raises(ValueError, match="no snapshots"):
        reconstruction([], 100, 0.1)
