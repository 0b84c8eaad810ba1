import pytest
import torch

from ecgtwin.twin.config import UNetConfig
from ecgtwin.twin.network import TwinNetwork

from .test_base import conditions

UNET = UNetConfig(widths=(8, 16), attention=(1,), groups=4)
KINDS = pytest.mark.parametrize("unet", [None, UNET], ids=["dit", "unet"])


def network(inject="adax", unet=None):
    torch.manual_seed(0)
    net = TwinNetwork(4, 5, 6, width=32, depth=2, heads=4, patch=2, statements=4, inject=inject, unet=unet)
    for p in net.parameters():
        if not p.abs().sum():
            torch.nn.init.normal_(p, std=0.2)
    return net


@KINDS
@pytest.mark.parametrize("inject", ["adax", "adaln", "cross"])
def test_everything_that_is_given_acts(inject, unet):
    net, c = network(inject, unet).eval(), conditions()
    x, t = torch.randn(2, 4, 8), torch.tensor([10.0, 500.0])
    plain = net(x, t, c)
    assert plain.shape == x.shape
    text = c.tokens.clone()
    text[..., 3:] += 1
    changes = {
        "report": c._replace(tokens=text),
        "no condition": c._replace(keep_condition=torch.zeros_like(c.keep_condition)),
        "base": c._replace(base=c.base.flip(0)),
        "no base": c._replace(keep_base=torch.zeros_like(c.keep_base)),
    }
    for index, name in enumerate(("heart rate", "age", "sex")):
        tokens = c.tokens.clone()
        tokens[..., index] += 1
        changes[name] = c._replace(tokens=tokens)
    for name, changed in changes.items():
        assert not torch.allclose(net(x, t, changed), plain, atol=1e-4), name
    assert not torch.allclose(net(x, t + 100, c), plain, atol=1e-4)


@KINDS
@pytest.mark.parametrize("inject", ["adax", "adaln", "cross"])
def test_gradient_reaches_every_parameter(inject, unet):
    net, c = network(inject, unet), conditions()
    c = c._replace(
        tokens=torch.cat([c.tokens, c.tokens[:, :1]], 1),
        mask=torch.ones(2, 4, dtype=torch.bool),
        keep_condition=torch.tensor([True, False]),
        keep_base=torch.tensor([False, True]),
        known=torch.tensor([[False] * 3, [True] * 3]),
    )
    net(torch.randn(2, 4, 8), torch.tensor([1.0, 2.0]), c).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


@KINDS
def test_preparing_once_is_the_same(unet):
    net, c = network(unet=unet).eval(), conditions()
    x, t = torch.randn(2, 4, 8), torch.tensor([10.0, 500.0])
    torch.testing.assert_close(net(x, t, net.prepare(c)), net(x, t, c))


def test_the_length_of_a_base_vector_does_not_matter():
    net, c = network().eval(), conditions()
    x, t = torch.randn(2, 4, 8), torch.tensor([10.0, 500.0])
    torch.testing.assert_close(net(x, t, c._replace(base=7 * c.base)), net(x, t, c), atol=1e-5, rtol=1e-4)
