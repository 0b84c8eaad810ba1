"""Networks without weights: shapes as ever, angles as ever, and nothing larger than a table."""

import pytest
import torch

from ecgtwin.nets.dit import DiT, position_table
from ecgtwin.nets.hollow import LARGEST, Hollow


def test_only_weights_are_missing():
    made = DiT(4, 32, 2, 4, out=4, cross=True)
    with Hollow():
        hollow = DiT(4, 32, 2, 4, out=4, cross=True)
    shapes = [{k: v.shape for k, v in one.state_dict().items()} for one in (made, hollow)]
    assert shapes[0] == shapes[1] and all(p.is_meta for p in hollow.parameters())
    assert torch.equal(hollow.rotary.frequency, made.rotary.frequency)
    hollow.load_state_dict(made.state_dict(), assign=True)
    x, r, keys = torch.randn(2, 4, 8), torch.randn(2, 32), made.keys(torch.randn(2, 3, 32))
    with torch.no_grad():
        assert torch.equal(hollow(x, r, keys), made(x, r, keys))


def test_absurd_sizes_take_no_memory():
    with Hollow():
        assert torch.nn.Linear(10**9, 10**6).weight.shape == (10**6, 10**9)
        for make in (torch.randn, torch.zeros, torch.arange, lambda n: position_table(n, 8)):
            with pytest.raises(RuntimeError, match=f"of {10**9}: expected at most {LARGEST}"):
                make(10**9)
