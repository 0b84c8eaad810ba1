"""A student starts as its network, is told how it is run, and comes back from a file that belongs to one network."""

from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ecgtwin.nets import student as students
from ecgtwin.nets.adapters import AdapterConfig
from ecgtwin.nets.student import Student

WIDTH = 16


class Prepared(NamedTuple):
    vector: torch.Tensor | None


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, WIDTH), nn.Linear(WIDTH, 4)

    def prepare(self, condition):
        return Prepared(condition)

    def forward(self, x, t, prepared):
        return self.second(torch.tanh(self.first(x) + t[:, None] + prepared.vector))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network()


def asked():
    generator = torch.Generator().manual_seed(1)
    condition, settings = (torch.randn(3, n, generator=generator) for n in (WIDTH, 2))
    return torch.randn(3, 4, generator=generator), torch.tensor([0.1, 0.5, 0.9]), (condition, settings)


def taught(network) -> Student:
    """A student with some random content, as the file keeps it."""
    student = Student(network, WIDTH, 2, AdapterConfig(rank=2, targets=("first",)))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in student.parameters():
            if p.requires_grad:
                p.copy_((0.3 * torch.randn(p.shape, generator=generator)).half())
    return student


def test_it_starts_as_its_network_which_is_not_touched_and_all_that_is_its_own_learns(network):
    x, t, wanted = asked()
    before = network(x, t, network.prepare(wanted[0]))
    student = Student(network, WIDTH, 2, AdapterConfig(rank=2))
    torch.testing.assert_close(student(x, t, wanted), before, atol=0, rtol=0)
    optimiser = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        optimiser.zero_grad()
        student(x, t, wanted).square().sum().backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for g in optimiser.param_groups for p in g["params"])
    assert not torch.allclose(student(x, t, wanted), before)
    assert torch.equal(network(x, t, network.prepare(wanted[0])), before)


def test_settings_act_row_by_row(network):
    x, t, (condition, settings) = asked()
    student = taught(network)
    before = student(x, t, (condition, settings))
    settings = settings.clone()
    settings[1, 0] += 1
    moved = (student(x, t, (condition, settings)) - before).abs().amax(1) > 1e-6
    assert moved.tolist() == [False, True, False]


def test_it_comes_back_from_its_file_merged_and_the_same(network, tmp_path):
    student, facts = taught(network), {"calls": [2, 4]}
    path = students.save(student, tmp_path / "student.safetensors", facts)
    back, told = students.load(network, WIDTH, path)
    x, t, wanted = asked()
    torch.testing.assert_close(back(x, t, wanted), student(x, t, wanted), atol=1e-6, rtol=0)
    assert told == facts and not any(p.requires_grad for p in back.parameters())
    assert not any("parametrizations" in name for name, _ in back.named_parameters())


def test_a_file_of_another_network_or_a_damaged_one_is_refused(network, tmp_path):
    path = students.save(taught(network), tmp_path / "student.safetensors", {})
    other = Network()
    with pytest.raises(ValueError, match="another network"):
        students.load(other, WIDTH, path)
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        meta = file.metadata()
    for name, change in (("code.0.weight", torch.full((16, 2), float("nan"))), ("code.0.bias", torch.zeros(3))):
        save_file(tensors | {name: change}, tmp_path / "bad.safetensors", metadata=meta)
        with pytest.raises(ValueError, match=name):
            students.load(network, WIDTH, tmp_path / "bad.safetensors")
    save_file(tensors, tmp_path / "bad.safetensors", metadata={"format": "7"})
    (tmp_path / "none.safetensors").write_bytes(b"nothing")
    for name in ("bad", "none"):
        with pytest.raises(ValueError, match="no student"):
            students.load(network, WIDTH, tmp_path / f"{name}.safetensors")


def test_a_network_that_cannot_be_told_says_so(network):
    x, t, (_, settings) = asked()
    with pytest.raises(ValueError, match="cannot be told"):
        taught(network)(x, t, (None, settings))
