import pytest
import torch

from ecgtwin.nets.dit import position_table
from ecgtwin.twin.base import BaseExtractor, Tokens
from ecgtwin.twin.condition import Conditions


def conditions(b=2, m=3, text=5) -> Conditions:
    torch.manual_seed(0)
    yes = torch.ones(b, dtype=torch.bool)
    return Conditions(
        torch.randn(b, m, 3 + text),
        torch.ones(b, m, dtype=torch.bool),
        torch.ones(b, 3, dtype=torch.bool),
        torch.randn(b, 6),
        yes,
        yes,
    )


def extractor(condition="subtract"):
    torch.manual_seed(0)
    return BaseExtractor(4, 5, width=16, depth=2, heads=2, patch=2, hidden=32, base=8, condition=condition).eval()


@pytest.mark.parametrize("condition", ["subtract", "add", "none"])
def test_gradient_reaches_every_parameter(condition):
    network, c = extractor(condition).train(), conditions()
    c = c._replace(keep_condition=torch.tensor([True, False]), known=torch.tensor([[False] * 3, [True] * 3]))
    network(torch.randn(2, 4, 8), c).square().sum().backward()
    # The bias of keys cancels in softmax: its gradient is zero but for rounding.
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert silent == []


def test_padding_and_order_of_statements_change_nothing():
    network, c = extractor(), conditions()
    z = torch.randn(2, 4, 8)
    plain = network(z, c)
    padded = torch.cat([c.tokens[:, [1, 2, 0]], 50 * torch.randn(2, 4, 8)], 1)
    mask = torch.cat([c.mask, torch.zeros(2, 4, dtype=torch.bool)], 1)
    torch.testing.assert_close(network(z, c._replace(tokens=padded, mask=mask)), plain, atol=1e-5, rtol=1e-4)


def test_a_dropped_condition_does_not_act():
    network, c = extractor(), conditions()
    z, none = torch.randn(2, 4, 8), torch.zeros(2, dtype=torch.bool)
    other = c._replace(tokens=torch.randn_like(c.tokens), keep_condition=none)
    torch.testing.assert_close(network(z, other), network(z, c._replace(keep_condition=none)))
    assert not torch.allclose(network(z, c), network(z, other), atol=1e-4)


def test_subtraction_only_takes_away():
    network, c = extractor(), conditions()
    layer = network.layers[0]
    tokens, mask = network.tokens(c)
    taken = torch.relu(layer.cross(torch.randn(2, 4, 16), layer.cross.keys(tokens), mask))
    assert (taken >= 0).all() and (taken > 0).any()


def test_unknown_is_not_zero():
    tokens = Tokens(5, 16, position_table(4, 16))
    torch.nn.init.normal_(tokens.unknown)
    c = conditions()
    c = c._replace(tokens=c.tokens.clone())
    c.tokens[..., :3] = 0
    given, _ = tokens(c)
    missing, _ = tokens(c._replace(known=torch.zeros_like(c.known)))
    assert not torch.allclose(given, missing)
