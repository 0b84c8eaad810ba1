"""A control: nothing at the start, on its base's grid, moved by its structure; its file fits its own base alone."""

import json

import pytest
import torch
from safetensors.torch import save_file

from ecgtwin.nets import control
from ecgtwin.nets.control import ControlConfig, Controlled, control_of
from ecgtwin.nets.dit import DiT
from ecgtwin.nets.unet import UNet


class Base(torch.nn.Module):
    """The smallest network that has a body, as those of ECGs and of images do."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def prepare(self, condition):
        return condition, self.body.keys(condition)

    def forward(self, x, t, condition, extra=None):
        tokens, keys = condition
        return self.body(x, tokens.mean(1) + t[:, None], keys, None, extra)


def bodies():
    torch.manual_seed(0)
    yield 1, DiT(4, 16, 3, 2, patch=2, axes=1)
    yield 2, DiT(4, 16, 2, 2, axes=2, ratio=2)
    yield 1, UNet(4, 16, (8, 16), 2, attention=(1,), blocks=1, groups=4, dims=1)
    yield 2, UNet(4, 16, (8, 8), 2, blocks=2, groups=4, dims=2)


def parts(number: int):
    dims, body = list(bodies())[number]
    for p in body.parameters():
        if not p.abs().sum():
            torch.nn.init.normal_(p, std=0.3)
    base = Base(body).requires_grad_(False)
    grid = (3, 4, *[8] * dims)
    x, tokens, structure = torch.randn(grid), torch.randn(3, 2, 16), torch.randn(3, 2, *[24] * dims)
    made = Controlled(base, control_of(body, ControlConfig(2, factor=3, copies=2, hidden=8)))
    return base, made, x, torch.rand(3), base.prepare(tokens), structure


@pytest.mark.parametrize("number", range(4))
def test_it_changes_nothing_at_the_start_and_then_follows_the_structure(number):
    base, made, x, t, condition, structure = parts(number)
    plain = base(x, t, condition)
    assert torch.equal(made(x, t, (condition, structure)), plain)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    optimiser = torch.optim.Adam(made.parameters(), lr=0.02)
    for _ in range(3):  # the zero layers have to move before a gradient reaches what is behind them
        optimiser.zero_grad()
        made(x, t, (condition, structure)).square().sum().backward()
        optimiser.step()
    used = [k for k, p in made.named_parameters() if p.grad is None]
    assert not used, used
    assert all(torch.equal(v, before[k]) for k, v in base.state_dict().items())
    one, other = (made(x, t, (condition, s)) for s in (structure, structure.flip(0)))
    assert not torch.allclose(one, plain, atol=1e-3) and not torch.allclose(one, other, atol=1e-3)
    alone = made(x[1:2], t[1:2], (base.prepare(condition[0][1:2]), structure[1:2]))
    assert torch.allclose(alone, one[1:2], atol=1e-5)
    with pytest.raises(ValueError, match="a structure of shape"):
        made(x, t, (condition, structure[:, :1]))


def written(folder, network, made, **changes):
    told = control.facts(network, made.control, "leads") | changes
    meta = {"json": json.dumps({"config": {"control": told}})}
    save_file(made.control.state_dict(), folder / "control.safetensors", metadata=meta)
    return folder / "control.safetensors"


@pytest.mark.parametrize("number", [0, 3])
def test_its_file_gives_it_back_on_its_own_base_alone(number, tmp_path):
    base, made, x, t, condition, structure = parts(number)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.1)
    again = control.load(base, base.body, written(tmp_path, base, made), "leads")
    assert torch.allclose(again(x, t, (condition, structure)), made(x, t, (condition, structure)), atol=1e-6)
    assert not any(p.requires_grad for p in again.parameters())
    with pytest.raises(ValueError, match="reads leads"):
        control.load(base, base.body, tmp_path / "control.safetensors", "edges")
    with pytest.raises(FileNotFoundError, match="no control"):
        control.load(base, base.body, tmp_path / "none.safetensors", "leads")
    for wrong, said in (
        ({"base": "0" * 32}, "another base"),
        ({"hidden": 12}, "does not fit"),
        ({"format": 9}, "format 9"),
    ):
        with pytest.raises(ValueError, match=said):
            control.load(base, base.body, written(tmp_path, base, made, **wrong), "leads")
    (tmp_path / "control.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="no control"):
        control.load(base, base.body, tmp_path / "control.safetensors", "leads")
