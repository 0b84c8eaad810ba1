"""A model is distilled by the script from its own paths, which are made once, into a student that it loads."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from ecgtwin import ECGTwin
from ecgtwin.diffusion.solvers import UniPC
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.train.checkpoint import load_tensors
from ecgtwin.training import distill
from ecgtwin.training.distill import TeacherConfig
from ecgtwin.twin.request import Request

from ..twin import tiny

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
teacher: {paths: 12, held: 4, steps: 4, batch: 4}
adapter: {rank: 2, targets: ["dit.*"]}
calls: [1, 2]
train: {steps: 3, batch: 4, lr: 1.0e-2, warmup: 1, validate_every: 3, ema_decay: 0.5}
"""


@pytest.fixture(scope="module")
def place(simulated_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distill")
    model = tiny.model(tiny.CONFIG | {"denoiser": tiny.CONFIG["denoiser"] | {"draft": True}})
    model.save_pretrained(folder / "model")
    (folder / "distill.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def model(place):
    return ECGTwin.from_pretrained(place / "model", device="cpu")


@pytest.fixture(scope="module")
def recordings(simulated_store):
    return Recordings.of([simulated_store]).only("train")


def script():
    spec = importlib.util.spec_from_file_location("distill_script", ROOT / "scripts" / "distill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_path_ends_where_the_guided_model_ends_and_what_is_told_is_what_was_asked(model, recordings):
    config = TeacherConfig(steps=4, batch=3)
    group = next(distill.groups(model, recordings, 3, 0))
    paths = distill.answered(model, group, config)
    scales = {"guidance": group.guidance, "base_guidance": group.base_guidance}
    drawn = model.sample(group.requests, steps=4, solver=UniPC(2), **scales)
    with torch.no_grad():
        torch.testing.assert_close(model.parts.vae.decode(paths.states[:, -1].float()), drawn, atol=5e-3, rtol=0)
    assert paths.states.shape == (3, 5, *model.latent) and paths.scales[0].tolist() == pytest.approx(
        list(scales.values())
    )
    told = model.asked(group.requests)
    assert torch.equal(paths.condition.keep_draft, told.keep_draft)
    torch.testing.assert_close(paths.condition.draft.float(), told.draft, atol=5e-3, rtol=1e-3)
    assert paths.condition.mask.sum(1).tolist() == told.mask.sum(1).tolist()


def test_requests_are_of_every_kind_and_depend_on_the_seed_alone(model, recordings):
    made = [next(distill.groups(model, recordings, 4, seed)) for seed in range(24)]
    again = next(distill.groups(model, recordings, 4, 5))
    assert [r.seed for r in again.requests] == [r.seed for r in made[5].requests]
    requests: list[Request] = [r for group in made for r in group.requests]
    tuned = model.config.sampling
    scales = {(g.guidance, g.base_guidance) for g in made}
    assert (tuned.guidance, tuned.base_guidance) in scales and len(scales) > 5
    assert len({r.condition.reports for r in requests}) >= 3
    rates = [r.condition.heart_rate for r in requests]
    assert min(rates) < 60 and max(rates) > 100


def test_the_script_makes_paths_once_trains_and_leaves_a_student_that_the_model_loads(
    place, simulated_store, monkeypatch
):
    run = script().main
    given = {"model": place / "model", "store": [simulated_store.folder], "config": place / "distill.yaml", "cpu": True}
    run(output=place / "out", **given)
    learned = load_tensors(place / "out" / "weights.safetensors")
    assert set(learned[1]["figures"]) == {"held_1", "held_2"} and any(t.abs().sum() for t in learned[0].values())

    def never(*_):
        raise AssertionError("paths that are there are read")

    with monkeypatch.context() as patch:
        patch.setattr(distill, "answered", never)
        run(output=place / "again", paths=place / "out", **given)
    files = [safe_open(place / name / "student.safetensors", "pt") for name in ("out", "again")]
    first, second = ({name: file.get_tensor(name) for name in file.keys()} for file in files)  # noqa: SIM118
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert files[0].metadata() == files[1].metadata()
    (place / "out" / "student.safetensors").rename(place / "model" / "student.safetensors")
    model = ECGTwin.from_pretrained(place / "model", device="cpu")
    assert model.fast.calls == (2, 1)
    twins = model.sample(model.requests(tiny.reference(), tiny_condition(), [0]), fast=True, steps=1)
    assert torch.isfinite(twins).all()


def tiny_condition():
    from ecgtwin import Condition

    return Condition("sinus rhythm", heart_rate=70)


def test_paths_of_another_model_are_made_anew_and_calls_must_divide(place, model, recordings, tmp_path):
    config = TeacherConfig(paths=4, steps=2, batch=4)
    kept = distill.paths_of(model, recordings, config, 4, 0, tmp_path)
    assert len(kept.states) == 4
    key = json.loads((tmp_path / "paths.json").read_text())
    distill.paths_of(model, recordings, config.model_copy(update={"steps": 4}), 4, 0, tmp_path)
    assert json.loads((tmp_path / "paths.json").read_text()) != key
    with pytest.raises(ValueError, match="divide"):
        distill.DistillConfig(teacher=config, calls=(3,), train={"steps": 1, "batch": 1, "lr": 1.0})
