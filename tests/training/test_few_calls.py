"""The script fits solvers of few calls to a model, which takes them with `fast`; to another they are of no use."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
import typer

from ecgtwin import Condition, ECGTwin
from ecgtwin.diffusion.levels import trailing, uniform_logsnr
from ecgtwin.diffusion.solvers import Fitted, UniPC
from ecgtwin.nets.adapters import AdapterConfig, attach
from ecgtwin.training import few_calls
from ecgtwin.twin.model import SOLVERS

from ..twin import tiny

ROOT = Path(__file__).resolve().parents[2]
WANTED = Condition("atrial fibrillation", heart_rate=80)


@pytest.fixture(scope="module")
def folder(simulated_store, tmp_path_factory):
    """A model with what the script fitted to it."""
    place = tmp_path_factory.mktemp("fit") / "model"
    tiny.model(tiny.CONFIG | {"denoiser": tiny.CONFIG["denoiser"] | {"draft": True}}).save_pretrained(place)
    spec = importlib.util.spec_from_file_location("fit_solver", ROOT / "scripts" / "fit_solver.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_calls, "BATCH", 4)
        run = {"model": place, "store": simulated_store.folder, "references": 16}
        script.main(**run, calls=[3, 2], usual=2, output=place.parent / "report.json")
        with pytest.raises(typer.Exit):
            script.main(**run, calls=[3, 2], usual=4)
    return place


@pytest.fixture(scope="module")
def model(folder):
    return ECGTwin.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def requests(model):
    return model.requests(tiny.reference(), WANTED, range(3))


def test_what_was_fitted_ends_nearer_to_the_long_run_of_people_whom_it_was_not_fitted_to(folder):
    found = json.loads((folder.parent / "report.json").read_text())
    assert found["references"]["held"] > 0 and set(found["calls"]) == {"3", "2"}
    for row in found["calls"].values():
        assert row["asked"][0] == 0 and row["fitted_uv"] < 0.9 * row["unipc_uv"]


def test_fast_walks_by_it_at_its_own_levels(model, requests):
    solver = model.fitted.solvers[2]
    assert isinstance(solver, Fitted) and model.steps_of(None, fast=True) == 2
    expected = model.sample(requests, steps=2, solver=solver, levels=solver.levels)
    assert torch.equal(model.sample(requests, fast=True), expected)
    assert not torch.allclose(expected, model.sample(requests, steps=2, solver=UniPC(2)), atol=1e-3)
    three = model.sample(requests, fast=True, steps=3)
    assert not torch.allclose(three, expected, atol=1e-3)


def test_for_other_numbers_and_levels_it_is_unipc(model, requests):
    expected = model.sample(requests, steps=4, solver=UniPC(2))
    assert torch.equal(model.sample(requests, fast=True, steps=4), expected)
    expected = model.sample(requests, steps=2, solver=UniPC(2), levels=uniform_logsnr)
    assert torch.equal(model.sample(requests, fast=True, steps=2, levels=uniform_logsnr), expected)


def test_both_scales_act_and_a_sample_is_the_same_alone(model, requests):
    before = model.sample(requests, fast=True, guidance=1.5, base_guidance=1.5)
    for other in ({"guidance": 3.0}, {"base_guidance": 1.0}):
        now = model.sample(requests, fast=True, **({"guidance": 1.5, "base_guidance": 1.5} | other))
        assert (now - before).abs().max() > 1e-3
    among = model.sample([requests[0]._replace(leaves=True), *requests[1:]], fast=True)
    torch.testing.assert_close(among[1:2], model.sample(requests[1:2], fast=True), atol=1e-5, rtol=0)


def test_it_is_kept_with_the_weights_that_it_was_fitted_to(model, requests, tmp_path):
    model.save_pretrained(tmp_path / "copy")
    back = ECGTwin.from_pretrained(tmp_path / "copy", device="cpu")
    assert torch.equal(back.sample(requests, fast=True), model.sample(requests, fast=True))
    model.save_pretrained(tmp_path / "rounded", half=True)
    other = ECGTwin.from_pretrained(tmp_path / "copy", device="cpu")
    attach(other.parts.denoiser, AdapterConfig(rank=2, targets=("dit.*",)), "some")
    with torch.no_grad():
        for name, p in other.parts.denoiser.named_parameters():
            if ".up." in name:
                p.add_(0.1)
    assert torch.isfinite(other.sample(requests, fast=True)).all()
    other.save_pretrained(tmp_path / "merged")
    for name in ("rounded", "merged"):
        assert not (tmp_path / name / SOLVERS).exists()


def test_another_network_and_damage_are_refused(folder, model, requests, tmp_path):
    other = ECGTwin.from_pretrained(folder, device="cpu")
    with torch.no_grad():
        other.parts.denoiser.null_base.add_(1)
    other.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other" / SOLVERS).exists()
    shutil.copy(folder / SOLVERS, tmp_path / "other")
    loaded = ECGTwin.from_pretrained(tmp_path / "other", device="cpu")
    assert torch.isfinite(loaded.sample(requests, steps=2)).all()
    with pytest.raises(ValueError, match="another network"):
        loaded.sample(requests, fast=True)
    said = json.loads((folder / SOLVERS).read_text())
    weights = {"indices": [999.0, 5.0], "weights": [[1, float("nan")], [1, 2, 3]]}
    for change in ({"calls": 7}, {"solvers": {"2": {"indices": [1.0]}}}, {"solvers": {"2": weights}}, {"solvers": [1]}):
        (tmp_path / "other" / SOLVERS).write_text(json.dumps(said | change))
        with pytest.raises(ValueError, match="damaged"):
            ECGTwin.from_pretrained(tmp_path / "other", device="cpu").sample(requests, fast=True)
    (tmp_path / "other" / SOLVERS).write_text("[")
    with pytest.raises(ValueError, match="not JSON"):
        ECGTwin.from_pretrained(tmp_path / "other", device="cpu")


def test_a_long_run_is_that_of_the_model_at_the_groups_scales(model, simulated_store):
    from ecgtwin.ecg.store.recordings import Recordings

    recordings, levels = Recordings.of([simulated_store]).only("train"), trailing(model.schedule, few_calls.STEPS)
    made = [*few_calls.islice(few_calls.groups(model, recordings, 3, 0), 3)]
    with torch.inference_mode():
        denoise, path = few_calls.taught(model, made, levels)
        drawn = torch.cat([
            model.sample(g.requests, steps=20, solver=UniPC(2), guidance=g.guidance, base_guidance=g.base_guidance)
            for g in made
        ])  # fmt: skip
        torch.testing.assert_close(model.parts.vae.decode(path[:, -1]), drawn, atol=1e-5, rtol=0)
        asked = torch.cat([
            model.denoiser(g.requests, guidance=g.guidance, base_guidance=g.base_guidance)(x, levels[7]).x0
            for g, x in zip(made, path[:, 7].split(3), strict=True)
        ])  # fmt: skip
        torch.testing.assert_close(denoise(path[:, 7], levels[7]).x0, asked, atol=1e-5, rtol=0)
