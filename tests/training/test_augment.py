import math

import torch

from ecgtwin.train.batch import stream
from ecgtwin.training.augment import Electrodes, disturb


def electrodes(x, generator, **sizes):
    return Electrodes.draw(len(x), generator, **sizes).apply(x)


def test_nothing_changes_at_zero():
    x = torch.randn(3, 8, 50)
    torch.testing.assert_close(electrodes(x, stream(0), angle=0, shift=0, gain=0), x, atol=1e-5, rtol=1e-5)


def test_turning_the_frontal_plane_keeps_its_length():
    x = torch.randn(5, 8, 50)
    y = electrodes(x, stream(1), angle=40, shift=0, gain=0)

    def plane(z):
        return torch.stack([z[:, 0], (2 * z[:, 1] - z[:, 0]) / math.sqrt(3)])

    torch.testing.assert_close(plane(y).norm(dim=0), plane(x).norm(dim=0), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(y[:, :2], x[:, :2], atol=1e-2)
    torch.testing.assert_close(y[:, 2:], x[:, 2:])


def test_precordial_leads_stay_between_their_neighbours():
    x = torch.randn(4, 8, 1).expand(4, 8, 20)
    y = electrodes(x, stream(2), angle=0, shift=0.5, gain=0)
    assert (y[:, 2:] <= x[:, 2:].amax(1, keepdim=True) + 1e-5).all()
    assert (y[:, 2:] >= x[:, 2:].amin(1, keepdim=True) - 1e-5).all()
    assert not torch.allclose(y, x)


def test_noise_is_small_and_repeats():
    x = torch.zeros(4, 8, 1024)
    y = disturb(x, stream(3), 102.4, wander=0.1, noise=0.015)
    assert torch.equal(y, disturb(x, stream(3), 102.4, wander=0.1, noise=0.015))
    assert 0 < y.abs().max() < 0.25
