"""Attention maps and edits: nothing changes by looking, and each edit is what its formula says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecgtwin.nets.attention import Edit, Maps, aligned, attending, steered
from ecgtwin.nets.dit import DiT
from ecgtwin.nets.layers import CrossAttention
from ecgtwin.nets.unet import UNet


def dit() -> DiT:
    torch.manual_seed(0)
    net = DiT(2, 16, 2, 2)
    for p in net.parameters():
        if not p.abs().sum():
            torch.nn.init.normal_(p, std=0.3)
    return net.eval()


@pytest.fixture
def given_(request):
    g = torch.Generator().manual_seed(1)
    x, r, tokens = (torch.randn(s, generator=g) for s in ((3, 2, 8), (3, 16), (3, 4, 16)))
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    return x, r, tokens, mask


def answer(net, given_):
    x, r, tokens, mask = given_
    return net(x, r, net.keys(tokens), mask)


@torch.no_grad()
def test_looking_changes_nothing_and_finds_probabilities_of_the_tokens_that_count(given_):
    net, maps = dit(), Maps(2)
    before = answer(net, given_)
    with attending(net, maps):
        torch.testing.assert_close(answer(net, given_), before)
    assert torch.equal(answer(net, given_), before)  # the fused path again
    assert maps.mean.shape == (2, 4, 8)  # the last two rows
    torch.testing.assert_close(maps.mean.sum(1), torch.ones(2, 8))
    assert not maps.mean[0, 2:].any() and bool((maps.mean[1] > 0).all())


@torch.no_grad()
def test_attention_of_known_keys_is_found():
    """One head, keys of which the query at place n is parallel to number n: the map is the softmax of 1 / sqrt(d)."""
    layer = CrossAttention(4, 1)
    torch.nn.init.eye_(layer.q.weight)
    torch.nn.init.zeros_(layer.q.bias)
    maps = Maps(1)
    with attending(layer, maps):
        layer(torch.eye(4)[None], (torch.eye(4)[None, None], torch.eye(4)[None, None]))
    torch.testing.assert_close(maps.mean[0], torch.softmax(torch.eye(4) / 2, -1))


@torch.no_grad()
def test_a_weight_scales_what_a_token_adds_and_the_last_rows_alone(given_):
    x, r, tokens, mask = given_
    layer = dit().blocks[0].cross
    h, keys = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(2)), layer.keys(tokens)
    seen = []
    with attending(layer, lambda k, p: seen.append(p) or p):
        plain = layer(h, keys, mask)
    with attending(layer, Edit.of([["a", "b"]], {"b": 3.0})):
        edited = layer(h, keys, mask)
    torch.testing.assert_close(edited[:2], plain[:2])
    p, v = seen[0][2], keys[1][2]
    added = (2 * p[..., 1:2] * v[:, None, 1]).transpose(0, 1).flatten(1)  # once more and once more of token 1
    torch.testing.assert_close(edited[2] - plain[2], added @ layer.out.weight.T, atol=1e-5, rtol=1e-4)


def test_kept_tokens_look_where_those_of_the_source_do():
    p = torch.rand(2, 1, 3, 2, generator=torch.Generator().manual_seed(0))
    edit = Edit.of([["new", "old"]], {"new": 0.5}, before=[["old", "gone"]])
    found = edit(0, p)
    assert torch.equal(found[0], p[0])
    torch.testing.assert_close(found[1, :, :, 1], p[0, :, :, 0])
    torch.testing.assert_close(found[1, :, :, 0], 0.5 * p[0, :, :, 1])  # in the place of the one that went
    late = Edit.of([["new", "old"]], {"new": 0.5}, before=[["old", "gone"]], kept=False)(0, p)
    torch.testing.assert_close(late[1], p[1] * torch.tensor([0.5, 1.0]))
    wider = torch.rand(6, 1, 3, 5)
    assert torch.equal(edit(0, wider)[:5], wider[:5]) and torch.equal(edit(0, wider)[5, ..., 2:], wider[5, ..., 2:])


@pytest.mark.parametrize(
    "before, after, wanted",
    [
        (["a", "b"], ["a", "b"], [0, 1]),
        (["a", "b"], ["c", "a"], [1, 0]),
        (["a"], ["a", "c"], [0, -1]),
        (["a", "b", "c"], ["b"], [1]),
        (["a", "a"], ["a", "a"], [0, 1]),
        ([], ["a"], [-1]),
    ],
)
def test_alignment(before, after, wanted):
    assert aligned(before, after) == wanted


@given(st.lists(st.sampled_from("abcd"), max_size=5), st.lists(st.sampled_from("abcd"), max_size=5))
def test_alignment_uses_each_place_once_and_equal_names_first(before, after):
    found = aligned(before, after)
    used = [k for k in found if k >= 0]
    assert len(set(used)) == len(used) and all(k < len(before) for k in used)
    for name in set(before) & set(after):
        count = sum(k >= 0 and before[k] == n == name for k, n in zip(found, after, strict=True))
        assert count == min(before.count(name), after.count(name))


def test_errors_and_the_way_back():
    net = dit()
    with pytest.raises(ValueError, match="not asked for"):
        Edit.of([["a"]], {"b": 1.0})
    with pytest.raises(ValueError, match="finite"):
        Edit.of([["a"]], {"a": float("nan")})
    with pytest.raises(ValueError, match="no cross-attention"):
        steered(lambda x, at: x, DiT(2, 16, 1, 2, context=True), lambda at: Maps(1))
    with attending(net, Maps(1)), pytest.raises(RuntimeError, match="already"), attending(net, Maps(1)):
        pass
    with pytest.raises(ZeroDivisionError), attending(net, Maps(1)):
        raise ZeroDivisionError
    assert all(block.cross.control is None for block in net.blocks)
    with pytest.raises(ValueError, match="no attention was seen"):
        _ = Maps(1).mean


@torch.no_grad()
def test_of_a_unet_the_finest_grid_counts():
    torch.manual_seed(0)
    net = UNet(1, 8, (4, 8), 2, attention=(0,), dims=1, blocks=1, groups=4).eval()
    maps = Maps(1)
    with attending(net, maps):
        net(torch.randn(1, 1, 8), torch.randn(1, 8), net.keys(torch.randn(1, 3, 8)))
    assert maps.mean.shape == (1, 3, 8) and sorted(maps.sums) == [4, 8]
