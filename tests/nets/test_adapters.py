"""Adapters: nothing at the start, exact to merge and to take away, and in a file that knows its base."""

import copy

import pytest
import torch
from torch import nn

from ecgtwin.nets import adapters
from ecgtwin.nets.adapters import AdapterConfig
from ecgtwin.nets.vae import VAE

KINDS = ["lora", "loha"]


def network() -> nn.Module:
    """Linear layers and convolutions over one axis and two."""
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "first": nn.Conv1d(3, 8, 3, padding=1),
            "second": nn.Linear(16, 16),
            "image": nn.Conv2d(8, 4, 3),
            "frozen": nn.Linear(16, 5),
        }
    )


def run(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    h = net["second"](net["first"](x))  # (B, 8, 16)
    return net["frozen"](h).sum() + net["image"](h.unflatten(-1, (4, 4))).sum() + h.square().sum()


def trained(net: nn.Module, name: str, config: AdapterConfig = AdapterConfig(rank=2), seed: int = 1) -> None:
    """An adapter with some random content."""
    adapters.attach(net, config, name)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in adapters.parameters(net, name):
            p.copy_(0.1 * torch.randn(p.shape, generator=generator))


@pytest.fixture
def x():
    return torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_changes_at_the_start_and_every_part_can_learn(kind, x):
    net = network()
    before = run(net, x)
    adapters.attach(net.requires_grad_(False), AdapterConfig(kind, 3), "site")
    assert torch.equal(run(net, x), before)
    for _ in range(2):  # the factors beside those that are zero learn from the second step on
        net.zero_grad()
        run(net, x).backward()
        learned = adapters.parameters(net, "site")
        with torch.no_grad():
            for p in learned:
                p.sub_(p.grad, alpha=1e-3)
    assert all(bool((p.grad != 0).any()) for p in learned) and not torch.equal(run(net, x), before)
    assert [n for n, p in net.named_parameters() if p.requires_grad] == [
        n for n, p in net.named_parameters() if ".0." in n
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_merge_gives_the_same_outputs_and_unmerge_the_same_bits(kind, x):
    net = network()
    trained(net, "one", AdapterConfig(kind, 2))
    trained(net, "two", AdapterConfig(kind, 3, 0.5, ("second",)), seed=2)
    kept, wanted = copy.deepcopy(net.state_dict()), run(net, x)
    merged = adapters.merge(net)
    assert (
        torch.equal(run(net, x), wanted)
        and adapters.names(net) == ()
        and net.state_dict().keys() == network().state_dict().keys()
    )
    adapters.unmerge(net, merged)
    assert adapters.names(net) == ("one", "two") and torch.equal(run(net, x), wanted)
    assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items())


def test_several_add_up_with_their_strengths(x):
    net = network()
    own = net["second"].weight.detach().clone()
    trained(net, "one")
    one = net["second"].weight.detach() - own
    trained(net, "two", AdapterConfig("loha", 2), seed=2)
    two = net["second"].weight.detach() - own - one
    adapters.strengthen(net, "one", 0.5)
    adapters.strengthen(net, "two", -2.0)
    assert torch.allclose(net["second"].weight, own + 0.5 * one - 2 * two, atol=1e-6)
    adapters.remove(net, "one")
    assert adapters.names(net) == ("two",) and torch.allclose(net["second"].weight, own - 2 * two, atol=1e-6)
    adapters.remove(net, "two")
    assert torch.equal(net["second"].weight, own) and net.state_dict().keys() == network().state_dict().keys()


def test_a_convolution_is_two_smaller_ones(x):
    """LoCon: a convolution to `rank` channels and one of kernel 1 back."""
    net = network()
    trained(net, "locon")
    layer = net["first"]
    (delta,) = layer.parametrizations.weight
    down, up = delta.down[0].view(2, 3, 3), delta.up[0][..., None]
    wanted = nn.functional.conv1d(nn.functional.conv1d(x, down, padding=1), up) + network()["first"](x)
    assert torch.allclose(layer(x), wanted, atol=1e-5)


def test_it_is_the_lora_of_peft(x):
    peft = pytest.importorskip("peft")
    theirs = peft.get_peft_model(network(), peft.LoraConfig(r=4, lora_alpha=8, target_modules=["second"]))
    ours = network()
    adapters.attach(ours, AdapterConfig(rank=4, scale=2.0, targets=("second",)), "site")
    layer = theirs.base_model.model["second"]
    with torch.no_grad():
        for mine, other in zip(adapters.parameters(ours, "site"), (layer.lora_A, layer.lora_B), strict=True):
            value = torch.randn(mine.shape)
            mine.copy_(value), other["default"].weight.copy_(value)
    h = torch.randn(2, 8, 16)
    assert torch.allclose(ours["second"](h), layer(h), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_its_inverse_and_refuses_another_base(kind, x, tmp_path):
    net = network()
    trained(net, "site", AdapterConfig(kind, 2, targets=("first", "sec*")))
    path = adapters.save(net, tmp_path / "hospital.safetensors", "site")
    again = network()
    trained(again, "other", seed=5)  # adapters are no part of the base
    adapters.remove(again, "other")
    assert adapters.load(again, path) == "hospital"
    assert torch.equal(run(again, x), run(net, x))
    weak = network()
    adapters.load(weak, path, name="weak", strength=0.0)
    assert torch.equal(run(weak, x), run(network(), x))
    stranger = network()
    with torch.no_grad():
        stranger["frozen"].bias[0] += 1
    with pytest.raises(ValueError, match="another base"):
        adapters.load(stranger, path)
    assert adapters.names(stranger) == ()


def test_what_is_no_adapter_is_refused(tmp_path):
    net = network()
    with pytest.raises(FileNotFoundError, match="no adapter at"):
        adapters.load(net, tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no safetensors at all")
    with pytest.raises(ValueError, match="not an adapter"):
        adapters.load(net, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=r"match none of 4 layers: they are called first, second"):
        adapters.attach(net, AdapterConfig(targets=("attention",)), "site")
    adapters.attach(net, AdapterConfig(), "site")
    with pytest.raises(ValueError, match="'site' is attached already"):
        adapters.attach(net, AdapterConfig(), "site")
    with pytest.raises(ValueError, match="no adapter named 'sight': attached are site"):
        adapters.strengthen(net, "sight", 1.0)
    with pytest.raises(ValueError, match="finite"):
        adapters.strengthen(net, "site", float("nan"))
    for wrong in ({"kind": "dora"}, {"rank": 0}, {"scale": 0.0}, {"targets": ()}):
        with pytest.raises(ValueError, match="give kind lora or loha"):
            AdapterConfig(**wrong)


def test_a_whole_network_takes_one():
    """Group norms and biases are left alone; gradients reach every adapter of an auto-encoder."""
    vae = VAE(2, 2, (8,), blocks=1, middle=1, groups=4).requires_grad_(False)
    x = torch.randn(2, 2, 16)
    before = vae(x)[0]
    adapters.attach(vae, AdapterConfig(rank=2), "site")
    assert torch.equal(vae(x)[0], before)
    vae(x)[0].square().mean().backward()
    grads = [delta.up[0].grad for _, delta in adapters.deltas(vae)]
    assert len(grads) > 10 and all(g is not None and bool(g.isfinite().all()) for g in grads)
