import pytest
import torch

from ecgtwin.nets.dit import DiT, pooled, position_table
from ecgtwin.nets.layers import CrossAttention, Rotary, sinusoid


def wake(network):
    """Move zero-initialised layers off zero, so that every path shows."""
    torch.manual_seed(1)
    for p in network.parameters():
        if not p.abs().sum():
            torch.nn.init.normal_(p, std=0.05)
    return network


@pytest.mark.parametrize(("axes", "size"), [(1, (16,)), (2, (8, 4))])
@pytest.mark.parametrize("patch", [1, 2])
def test_zero_at_start_and_gradient_everywhere(axes, size, patch):
    network = DiT(3, 32, 2, 4, axes=axes, patch=patch)
    x, r, tokens = torch.randn(2, 3, *size), torch.randn(2, 32), torch.randn(2, 5, 32)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    out = network(x, r, network.keys(tokens), mask)
    assert out.shape == x.shape and not out.any()
    wake(network)(x, r, network.keys(tokens), mask).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_padding_and_order_of_condition_tokens_change_nothing():
    network = wake(DiT(2, 32, 2, 4)).eval()
    x, r, tokens = torch.randn(1, 2, 8), torch.randn(1, 32), torch.randn(1, 3, 32)
    plain = network(x, r, network.keys(tokens), torch.ones(1, 3, dtype=torch.bool))
    padded = torch.cat([tokens[:, [2, 0, 1]], 100 * torch.randn(1, 4, 32)], 1)
    mask = torch.tensor([[True] * 3 + [False] * 4])
    torch.testing.assert_close(network(x, r, network.keys(padded), mask), plain, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(network(x, r, network.keys(padded)), plain, atol=1e-3)


def test_rows_do_not_see_each_other():
    network = wake(DiT(2, 32, 2, 4, cross=False)).eval()
    x, r = torch.randn(4, 2, 8), torch.randn(4, 32)
    torch.testing.assert_close(network(x, r)[2:3], network(x[2:3], r[2:3]), atol=1e-5, rtol=1e-4)


def test_rotary_scores_depend_on_the_distance_only():
    rotary = Rotary(16)
    q, k = torch.randn(1, 1, 1, 16).expand(1, 1, 9, 16), torch.randn(1, 1, 1, 16).expand(1, 1, 9, 16)
    angles = rotary.angles((9,))
    scores = (Rotary.turn(q, angles) @ Rotary.turn(k, angles).transpose(-1, -2))[0, 0]
    for offset in range(-8, 9):
        diagonal = scores.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)


def test_rotary_in_two_axes_knows_rows_from_columns():
    cos, _ = Rotary(16, axes=2).angles((3, 4))
    assert cos.shape == (12, 8)
    torch.testing.assert_close(cos[0:4, :4], cos[0:1, :4].expand(4, 4))
    assert not torch.allclose(cos[0, 4:], cos[1, 4:])


def test_keys_computed_once_are_the_same():
    attention = CrossAttention(16, 2, normalise=True)
    x, tokens = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    keys = attention.keys(tokens)
    torch.testing.assert_close(attention(x, keys), attention(x, attention.keys(tokens)))


def test_pooled_counts_masked_tokens_only():
    tokens = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert pooled(tokens, torch.tensor([[True, True, False]])).item() == 2.0


def test_codes():
    assert sinusoid(torch.tensor([0.0, 5.0]), 8).shape == (2, 8)
    assert position_table(4, 6).shape == (4, 6)


def test_a_wrong_shape_says_what_is_expected():
    with pytest.raises(ValueError, match="divisible by 2"):
        DiT(2, 32, 1, 4, patch=2)(torch.randn(1, 2, 7), torch.randn(1, 32))


def test_tokens_in_context_act_as_a_set_and_are_no_part_of_the_answer():
    network = DiT(2, 32, 2, 4, context=True)
    x, r, tokens = torch.randn(2, 2, 8), torch.randn(2, 32), torch.randn(2, 3, 32)
    assert not any("cross" in name for name, _ in network.named_parameters())
    assert network(x, r, network.keys(tokens)).shape == x.shape
    wake(network).eval()
    mask = torch.ones(2, 3, dtype=torch.bool)
    plain = network(x, r, network.keys(tokens), mask)
    padded = torch.cat([tokens[:, [2, 0, 1]], 100 * torch.randn(2, 4, 32)], 1)
    hidden = torch.cat([mask, torch.zeros(2, 4, dtype=torch.bool)], 1)
    torch.testing.assert_close(network(x, r, network.keys(padded), hidden), plain, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(network(x, r, network.keys(-tokens), mask), plain, atol=1e-3)


def test_a_modulated_last_norm_is_plain_at_the_start_and_then_follows_r():
    torch.manual_seed(0)
    plain = DiT(2, 32, 1, 4, cross=False)
    torch.manual_seed(0)
    modulated = DiT(2, 32, 1, 4, cross=False, last=True)
    x, r = torch.randn(1, 2, 8), torch.randn(1, 32)
    for network in (plain, modulated):
        torch.nn.init.constant_(network.head.weight, 0.01)
    assert torch.equal(plain(x, r), modulated(x, r))
    before = modulated(x, r)
    torch.nn.init.constant_(modulated.last.weight, 0.1)
    assert not torch.allclose(modulated(x, r), before) and not torch.allclose(modulated(x, 2 * r), modulated(x, r))
