import pytest
import torch

from ecgtwin.nets.dit import DiT
from ecgtwin.nets.encoder import Encoder
from ecgtwin.nets.unet import UNet


def wake(network):
    """Move zero-initialised layers off zero, so that every path shows."""
    torch.manual_seed(1)
    for p in network.parameters():
        if not p.abs().sum():
            torch.nn.init.normal_(p, std=0.05)
    return network.eval()


def unet(dims=1, **more):
    return UNet(3, 24, (8, 16), 2, attention=(1,), dims=dims, blocks=1, groups=4, **more)


def inputs(size, rows=2):
    torch.manual_seed(0)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:rows]
    return torch.randn(rows, 3, *size), torch.randn(rows, 24), torch.randn(rows, 5, 24), mask


@pytest.mark.parametrize(("dims", "size"), [(1, (16,)), (2, (8, 4))])
def test_zero_at_start_and_gradient_everywhere(dims, size):
    network = unet(dims)
    x, r, tokens, mask = inputs(size)
    out = network(x, r, network.keys(tokens), mask)
    assert out.shape == x.shape and not out.any()
    wake(network)(x, r, network.keys(tokens), mask).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize(("dims", "size"), [(1, (16,)), (2, (8, 4))])
def test_it_stands_where_the_transformer_stands(dims, size):
    """The same call, on the same conditions, gives the same shape: `TwinNetwork` may use either."""
    x, r, tokens, mask = inputs(size)
    for network in (unet(dims), DiT(3, 24, 2, 2, axes=dims)):
        assert network(x, r, network.keys(tokens), mask).shape == x.shape
        assert network(x, r).shape == x.shape
    assert unet(dims, out=6)(x, r).shape == (2, 6, *size)


def test_every_input_acts_and_a_masked_token_does_not():
    network = wake(unet(2))
    x, r, tokens, mask = inputs((8, 8))

    def run(x, r, tokens, mask):
        return network(x, r, network.keys(tokens), mask)

    plain = run(x, r, tokens, mask)
    assert not torch.allclose(run(x + 0.1, r, tokens, mask), plain, atol=1e-4)
    assert not torch.allclose(run(x, r + 0.1, tokens, mask), plain, atol=1e-4)
    assert not torch.allclose(run(x, r, tokens + 0.1, mask), plain, atol=1e-4)
    hidden = torch.where(mask[..., None], tokens, 100.0)
    torch.testing.assert_close(run(x, r, hidden, mask), plain)


def test_rows_do_not_see_each_other():
    network = wake(unet(2))
    x, r, tokens, mask = inputs((8, 8))
    both = network(x, r, network.keys(tokens), mask)
    alone = network(x[1:], r[1:], network.keys(tokens[1:]), mask[1:])
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)


def test_keys_are_one_pair_for_each_transformer():
    network = UNet(1, 16, (8, 8, 8), 2, attention=(0, 2), blocks=2, groups=4)
    tokens = torch.randn(2, 3, 16)
    assert len(network.keys(tokens)) == 2 + 2 + 1 + 3 + 3  # down at 0 and 2, middle, up at 2 and 0
    assert not unet(cross=False)(*inputs((16,))[:2]).any()


def test_a_wrong_size_or_level_is_refused():
    network = unet(2)
    with pytest.raises(ValueError, match="divisible by 2"):
        network(torch.randn(1, 3, 7, 8), torch.randn(1, 24))
    with pytest.raises(ValueError, match="2 axes"):
        network(torch.randn(1, 3, 8), torch.randn(1, 24))
    with pytest.raises(ValueError, match="levels 0 to 1"):
        UNet(3, 24, (8, 16), 2, attention=(2,), groups=4)


@pytest.mark.parametrize(("dims", "size"), [(1, (16,)), (2, (8, 6))])
def test_encoder_features_and_scores(dims, size):
    network = Encoder(2, (8, 16), 3, dims=dims, groups=4)
    x = torch.randn(4, 2, *size)
    assert network.features(x).shape == (4, 16)
    torch.testing.assert_close(network(x), network.head(network.features(x)))
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), atol=1e-5, rtol=1e-4)
    network(x).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())
