"""The lean forward pass answers as the network does."""

import pytest
import torch

from ecgtwin.nets import lean as leans
from ecgtwin.nets.dit import DiT
from ecgtwin.nets.lean import LeanDiT, runs

from .test_dit import wake

MASKS = {
    "none": None,
    "one token each": [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]],
    "several in the middle": [[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]],
    "several for all": [[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 1, 1]],
}


@torch.inference_mode()
@pytest.mark.parametrize("given", list(MASKS))
@pytest.mark.parametrize(("axes", "size"), [(1, (16,)), (2, (8, 4))])
@pytest.mark.parametrize("fused", [True, False])
def test_it_answers_as_the_network(given, axes, size, fused, monkeypatch):
    monkeypatch.setattr(leans, "fused", leans.fused if fused else lambda: False)
    network = wake(DiT(5, 32, 3, 4, axes=axes, patch=2, out=3)).eval()
    x, beside, tokens = torch.randn(4, 3, *size), torch.randn(4, 2, *size), torch.randn(4, 3, 32)
    mask = None if MASKS[given] is None else torch.tensor(MASKS[given]).bool()
    rows, vectors = torch.tensor([1, 1, 0, 2]), torch.randn(2, 3, 32)  # at two timesteps
    keys = network.keys(tokens)
    lean = LeanDiT(network, size, rows, keys=keys, mask=mask, beside=beside)
    for r, modulation in zip(vectors, lean.modulations(vectors), strict=True):
        expected = network(torch.cat([x, beside], 1), r[rows], keys, mask)
        found = lean(x, modulation)
        assert expected.std() > 0.05
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(lean(x, modulation), found)  # nothing of it was spoilt by the call


@torch.inference_mode()
def test_without_cross_attention_and_channels_beside():
    network = wake(DiT(3, 32, 2, 4, cross=False)).eval()
    x, r = torch.randn(2, 3, 16), torch.randn(1, 1, 32)
    lean = LeanDiT(network, (16,), torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(lean(x, lean.modulations(r)[0]), network(x, r[0].expand(2, -1)), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_other_operands_change_little():
    network = wake(DiT(3, 32, 2, 4)).eval()
    x, r, keys = torch.randn(2, 3, 16), torch.randn(1, 2, 32), network.keys(torch.randn(2, 3, 32))
    lean = LeanDiT(network, (16,), torch.arange(2), keys=keys, dtype=torch.bfloat16)
    expected = network(x, r[0], keys)
    missed = (lean(x, lean.modulations(r)[0]) - expected).norm() / expected.norm()
    assert 1e-4 < missed < 0.02


def test_stretches_of_equal_rows():
    assert runs([2, 2, 0, 2]) == [(0, 2, 2), (2, 3, 0), (3, 4, 2)]
