"""Twins by a model's student: one call of the network a step, both sliders, and a file that belongs to one model."""

import shutil

import numpy as np
import pytest
import torch

from ecgtwin import Condition, ECGTwin
from ecgtwin.diffusion.solvers import DDIM, UniPC
from ecgtwin.nets import student as students
from ecgtwin.nets.adapters import AdapterConfig
from ecgtwin.nets.student import Student
from ecgtwin.twin.lean import LeanTwin

from . import tiny

WANTED = Condition("atrial fibrillation", heart_rate=80)


def student(model: ECGTwin, std: float) -> Student:
    """A student with random content; std 0: one that has learned nothing."""
    found = Student(model.parts.denoiser, model.config.denoiser.width, 3, AdapterConfig(rank=2, targets=("dit.*",)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in found.parameters():
            if p.requires_grad and std:
                p.copy_(std * torch.randn(p.shape, generator=generator))
    return found


def folder(place, std: float, **diffusion):
    model = tiny.model(tiny.CONFIG | {"diffusion": tiny.CONFIG["diffusion"] | diffusion})
    model.save_pretrained(place)
    students.save(student(model, std), place / "student.safetensors", {"calls": [2, 4]})
    return place


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ECGTwin.from_pretrained(folder(tmp_path_factory.mktemp("fast") / "model", 0.3), device="cpu")


@pytest.fixture(scope="module")
def requests(model):
    return model.requests(tiny.reference(), WANTED, range(3))


@pytest.mark.parametrize("diffusion", [{}, {"prediction": "edm", "data_std": 0.5}, {"learned_variance": True}])
def test_one_that_has_learned_nothing_draws_as_the_model_without_guidance(tmp_path, diffusion):
    model = ECGTwin.from_pretrained(folder(tmp_path / "model", 0.0, **diffusion), device="cpu")
    asked = model.requests(tiny.reference(), WANTED, range(2))
    for steps in (2, 4):
        plain = model.sample(asked, steps=steps, guidance=1.0, base_guidance=1.0, solver=UniPC(2))
        fast = model.sample(asked, steps=steps, fast=True)
        torch.testing.assert_close(fast, plain, atol=1e-5, rtol=0)


def test_the_network_is_called_once_a_step_whatever_the_scales_of_the_requests(model, requests, monkeypatch):
    batches, inside = [], LeanTwin.__call__
    monkeypatch.setattr(LeanTwin, "__call__", lambda lean, x, t: batches.append(len(x)) or inside(lean, x, t))
    model.sample([requests[0], requests[1]._replace(leaves=True)], fast=True)
    assert batches == [2, 2, 2, 2]


def test_both_scales_and_the_number_of_calls_act(model, requests):
    def drawn(**options):
        return model.sample(requests[:1], fast=True, **options)

    before = drawn(guidance=1.5, base_guidance=1.5)
    for other in ({"guidance": 3.0}, {"base_guidance": 1.0}, {"steps": 2}):
        assert (drawn(**({"guidance": 1.5, "base_guidance": 1.5} | other)) - before).abs().max() > 1e-3
    assert torch.equal(drawn(), drawn(steps=4))


def test_a_sample_is_the_same_alone_or_among_others_at_other_scales(model, requests):
    together = model.sample([requests[0]._replace(leaves=True), requests[1], requests[2]], fast=True)
    alone = torch.cat([model.sample([r], fast=True) for r in requests])
    torch.testing.assert_close(together[1:], alone[1:], atol=1e-5, rtol=0)


def test_generate_draws_by_it(model):
    reference = tiny.reference()
    fast, slow = (model.generate(reference, WANTED, steps=4, fast=flag)[0].signal for flag in (True, False))
    assert fast.shape == slow.shape and np.isfinite(fast).all() and not np.allclose(fast, slow)


def test_what_it_cannot_do_is_refused(model, requests, tmp_path):
    with pytest.raises(ValueError, match="has learned 4, 2"):
        model.sample(requests, fast=True, steps=3)
    with pytest.raises(ValueError, match="goes with steps"):
        model.sample(requests, fast=True, rescale=0.5)
    for one in (model, tiny.model()):
        with pytest.raises(ValueError, match="solver of its own"):
            one.sample(requests, fast=True, solver=DDIM())
    with pytest.raises(ValueError, match="no student"):
        _ = tiny.model().fast


def test_without_a_student_it_is_few_steps_of_unipc_at_the_models_scales(requests):
    plain = tiny.model()
    assert plain.config.sampling.fast_steps == 6
    for steps in (None, 3):
        expected = plain.sample(requests, steps=steps or 6, solver=UniPC(2))
        assert torch.equal(plain.sample(requests, steps=steps, fast=True), expected)
    assert not torch.allclose(plain.sample(requests, fast=True), plain.sample(requests, steps=6), atol=1e-3)
    apart = plain.sample([requests[0]._replace(leaves=True), requests[1]], fast=True)
    torch.testing.assert_close(apart[1:], plain.sample(requests[1:2], fast=True), atol=1e-5, rtol=0)


def test_it_goes_with_its_model_and_with_no_other(model, tmp_path):
    model.save_pretrained(tmp_path / "copy")
    back = ECGTwin.from_pretrained(tmp_path / "copy", device="cpu")
    asked = back.requests(tiny.reference(), WANTED, [0])
    assert torch.equal(back.sample(asked, fast=True), model.sample(asked, fast=True))
    other = tiny.model()
    with torch.no_grad():
        other.parts.denoiser.null_base += 1
    other.save_pretrained(tmp_path / "other")
    shutil.copy(model.parts.student, tmp_path / "other")
    with pytest.raises(ValueError, match="another network"):
        ECGTwin.from_pretrained(tmp_path / "other", device="cpu").sample(asked, fast=True)
