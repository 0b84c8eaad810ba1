"""Learned statements: a row beside the table, exact while it is learned and afterwards, and refused by other models."""

import numpy as np
import pytest
import torch

from ecgtwin import Condition
from ecgtwin.nets import adapters
from ecgtwin.twin import subject
from ecgtwin.twin.request import Request
from ecgtwin.twin.subject import Taught

from . import tiny

VECTOR = torch.linspace(-2, 2, tiny.CONFIG["text"]["width"])


@pytest.fixture
def twin():
    return tiny.model()


@pytest.fixture
def file(twin, tmp_path):
    return subject.save(tmp_path / "a.safetensors", "patient A", VECTOR, adapters.fingerprint(twin.parts.denoiser))


def drawn(model, *reports):
    request = Request(None, Condition(reports, age=50), 3)
    return model.sample([request], steps=2)


def test_a_statement_is_asked_for_and_taken_away(twin, file):
    before, hashed = drawn(twin, "sinus rhythm"), twin.weights_hash
    assert twin.load_statement(file) == "patient A" and twin.statements[-1] == "patient A"
    assert twin.normalise(["patient A", "AFIB"]) == ("atrial fibrillation", "patient A")
    np.testing.assert_array_equal(twin.table.lookup(["patient A"])[0], VECTOR.numpy())
    assert torch.equal(drawn(twin, "sinus rhythm"), before) and twin.weights_hash != hashed
    assert not torch.allclose(drawn(twin, "sinus rhythm", "patient A"), before)
    with pytest.raises(ValueError, match="known already"):
        twin.load_statement(file)
    twin.remove_statement("patient A")
    assert twin.weights_hash == hashed and "patient A" not in twin.statements
    with pytest.raises(ValueError, match="no learned statement"):
        twin.remove_statement("patient A")


def test_what_is_no_statement_of_this_model_is_refused(twin, file, tmp_path):
    other = tiny.model()
    with torch.no_grad():
        other.parts.denoiser.null_base.add_(1)
    with pytest.raises(ValueError, match="another model"):
        other.load_statement(file)
    path = adapters_file(twin, tmp_path)
    with pytest.raises(ValueError, match="not a learned statement"):
        twin.load_statement(path)
    for name, vector in (("sinus rhythm", VECTOR), ("b", VECTOR[:3]), ("b", VECTOR * torch.nan), ("a|b", VECTOR)):
        bad = subject.save(tmp_path / "bad.safetensors", name, vector, adapters.fingerprint(twin.parts.denoiser))
        with pytest.raises(ValueError, match="statement"):
            twin.load_statement(bad)


def adapters_file(twin, folder):
    adapters.attach(twin.parts.denoiser, adapters.AdapterConfig(rank=1), "x")
    path = adapters.save(twin.parts.denoiser, folder / "x.safetensors", "x")
    adapters.remove(twin.parts.denoiser, "x")
    return path


def test_while_it_is_learned_the_network_sees_what_it_sees_afterwards(twin, file):
    network, marker = twin.parts.denoiser, torch.randn(VECTOR.shape, generator=torch.Generator().manual_seed(1))
    network.requires_grad_(False)
    taught = Taught(network, marker[None], VECTOR[None])
    x, t = torch.randn(2, *twin.latent, generator=torch.Generator().manual_seed(2)), torch.tensor([3.0, 9.0])
    wanted = [Condition("sinus rhythm|patient A", age=50), Condition("sinus rhythm")]
    table = twin.table
    twin.table = table.taught("patient A", marker.numpy())
    marked = taught(x, t, twin.conditions(wanted, torch.zeros(2, 8)))
    twin.table = table
    twin.load_statement(file)
    torch.testing.assert_close(marked, network(x, t, twin.conditions(wanted, torch.zeros(2, 8))))
    marked[1].sum().backward()
    assert not taught.learned.grad.any()  # a sample without the subject
    taught(x, t, twin.conditions(wanted, torch.zeros(2, 8)))[0].sum().backward()
    assert [name for name, p in taught.named_parameters() if p.requires_grad] == ["learned"]
