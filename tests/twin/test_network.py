import pytest
import torch

from ecgtwin.ecg.beats import KINDS as BEATS
from ecgtwin.twin.condition import Condition, stack
from ecgtwin.twin.config import ModelConfig, TextConfig, UNetConfig
from ecgtwin.twin.network import TwinNetwork

from .test_base import conditions

SHAPES = ModelConfig(text=TextConfig(width=8, statements=18))
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


def beside(n: int, seed: int = 0) -> dict:
    """Beats and drafts of n requests for a network whose latents are an eighth as long as its signals."""
    g = torch.Generator().manual_seed(seed)
    yes = torch.ones(n, dtype=torch.bool)
    track, draft = torch.rand(n, len(BEATS), 128, generator=g), torch.randn(n, 4, 16, generator=g)
    return {"track": track, "draft": draft, "keep_track": yes, "keep_draft": yes}


@pytest.mark.parametrize("unet", [None, UNET], ids=["dit", "unet"])
def test_beats_and_drafts_act_and_are_left_out_where_they_are_not_kept(unet):
    torch.manual_seed(0)
    network = TwinNetwork(4, 8, 16, width=32, depth=2, heads=4, unet=unet, factor=8).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    c = stack([Condition(heart_rate=70.0)] * 3, lambda _: None, SHAPES, torch.randn(3, 16))
    x, t = torch.randn(3, 4, 16), torch.full((3,), 500.0)
    no = torch.zeros(3, dtype=torch.bool)
    full = c._replace(**beside(3))
    plain = network(x, t, c)
    seen = network(x, t, full)
    assert (seen - plain).abs().amax((1, 2)).min() > 1e-3
    assert torch.equal(network(x, t, full._replace(keep_track=no, keep_draft=no)), plain)
    for name in ("track", "draft"):
        other = network(x, t, full._replace(**{name: beside(3, 1)[name]}))
        assert (other - seen).abs().amax((1, 2)).min() > 1e-4, name
        hidden = full._replace(**{f"keep_{name}": no})
        assert torch.equal(network(x, t, hidden), network(x, t, hidden._replace(**{name: beside(3, 1)[name]})))


def test_beats_and_drafts_change_nothing_at_the_start():
    network = TwinNetwork(4, 8, 16, width=32, depth=2, heads=4, factor=8)
    c = stack([Condition(heart_rate=70.0)] * 2, lambda _: None, SHAPES, torch.randn(2, 16))._replace(**beside(2))
    assert network(torch.randn(2, 4, 16), torch.zeros(2), c).abs().max() == 0
