"""Nothing is forgotten on the CPU: whole trainings and evaluations on a stand-in for a GPU."""

import json

import pytest
import torch
from typer.testing import CliRunner

from ecgtwin.cli.image import app
from ecgtwin.image.config import DataConfig
from ecgtwin.image.evaluation import evaluate
from ecgtwin.image.model import build, build_text
from ecgtwin.image.pipeline import ImagePipeline, Request
from ecgtwin.image.training import train
from ecgtwin.train.device import accelerator_of, pick_device

from .apart import META, Apart, accelerator
from .tiny import CAPTIONS, DIT, UNET, VAE, config, model_config, pictures, pipeline, write_clip

REFINER = {"share": 0.2, "denoiser": DIT | {"patch": 1}}
FLOW = {"schedule": "flow", "prediction": "flow", "min_snr": 5.0}


@pytest.fixture(autouse=True)
def plain_adam(monkeypatch):
    """The fused optimiser has no kernels on the meta device."""
    adam = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *a, fused, **k: adam(*a, **k))


def test_the_stand_in_refuses_mixtures():
    x = torch.ones(3)
    with Apart():
        y = x.to(META)
        assert (y + y).device == META and (y * 2.0).device == META
        assert y.cpu().tolist() == [1, 0.5, 0] and float(y.sum()) == 1
        with pytest.raises(AssertionError, match="cpu"):
            y + x
        with pytest.raises(AssertionError, match="cpu"):
            y[torch.tensor([0])]


@pytest.mark.parametrize(
    ("denoiser", "more"),
    [
        (UNET, {"codec": VAE, "refiner": REFINER}),
        (DIT, {"diffusion": FLOW}),
        (DIT, {"diffusion": {"min_snr": 5.0}, "refiner": REFINER}),
    ],
)
def test_every_stage_is_trained_where_accelerate_says(denoiser, more, tmp_path):
    settings = config(denoiser, data={"held": 0.25, "zoom": 1.25, "shrunk": 0.3}, **more)
    found = pictures(data=settings.data)
    with Apart() as apart:
        p = train(settings, found, tmp_path, accelerator=accelerator())
        again = train(settings, found, tmp_path, accelerator=accelerator(), resume=True)
    assert apart.seen > 1000
    assert all(x.device.type == "cpu" for x in [*p.parts.tensors().values(), *again.parts.tensors().values()])


def test_a_frozen_text_model_stays_on_the_cpu(tmp_path):
    pytest.importorskip("transformers")
    clip = write_clip(tmp_path / "clip")
    with Apart() as apart:
        p = train(
            config(text={"kind": "clip", "path": str(clip), "tokens": 24}),
            pictures(),
            tmp_path / "run",
            accelerator=accelerator(),
        )
    assert apart.seen > 1000 and next(p.text.model.parameters()).device.type == "cpu"


def test_judging_on_another_device():
    data = {"held": 0.25, "zoom": 1.25, "shrunk": 0.3}
    settings = model_config(DIT | {"patch": 1}, codec=VAE, refiner=REFINER)
    parts = build(settings, build_text(settings, CAPTIONS), (10.0, 10.0, 1.0, 1.0), {"data": data})
    found = pictures(120, data=DataConfig(**data))
    with Apart() as apart:
        p = ImagePipeline(parts, META)
        figures = evaluate(p, found, steps=2, judge_steps=3, accelerator=accelerator())
    assert apart.seen > 1000 and p.device == META
    assert figures["images"] == 30 and set(figures["frame"]) >= {"down", "roughness"}


def test_the_frame_is_measured_with_the_solver_and_refiner_that_were_asked_for(monkeypatch):
    asked = []
    sample = ImagePipeline.sample

    def noted(self, requests, **options):
        asked.append((options["solver"], options["refine"]))
        return sample(self, requests, **options)

    monkeypatch.setattr(ImagePipeline, "sample", noted)
    from ecgtwin.diffusion.solvers import DDIM

    data, solver = {"held": 0.25, "zoom": 1.25}, DDIM()
    p = pipeline(refiner=REFINER)
    p.parts.facts["data"] = data
    figures = evaluate(p, pictures(120, data=DataConfig(**data)), steps=2, judge_steps=2, solver=solver, refine=False)
    assert len(asked) > 2 and set(asked) == {(solver, False)} and figures["refine"] is False


def test_the_device_of_a_model():
    assert pick_device("cpu") == pick_device(torch.device("cpu")) == torch.device("cpu")
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device("auto") == torch.device(best)
    with pytest.raises(ValueError, match="cuda:1"):
        pick_device("gpu")


def test_cpu_leaves_gpus_alone(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    assert accelerator_of(True).device.type == "cpu"


def test_the_commands_hand_on_where_to_run(tmp_path, monkeypatch):
    wanted = []

    def noted(cpu):
        wanted.append(cpu)
        return accelerator_of(True)

    monkeypatch.setattr("ecgtwin.train.device.accelerator_of", noted)
    pipeline().save_pretrained(tmp_path / "model")
    runner = CliRunner()
    for more in ((), ("--cpu",)):
        assert (
            runner.invoke(app, ["train", "--output", str(tmp_path / "x"), "--set", "data.zom=2.0", *more]).exit_code
            == 2
        )
    assert wanted == [False, True]
    options = ["evaluate", str(tmp_path / "model"), "--data", str(tmp_path / "nowhere"), "--device", "cpu"]
    assert runner.invoke(app, options).exit_code == 2 and wanted == [False, True, True]
    out = tmp_path / "out"
    made = runner.invoke(
        app, ["generate", str(tmp_path / "model"), CAPTIONS[7], "--steps", "2", "--device", "cpu", "--output", str(out)]
    )
    assert made.exit_code == 0 and json.loads((out / "images.json").read_text())["device"] == "cpu"
    assert runner.invoke(app, ["generate", str(tmp_path / "model"), CAPTIONS[7], "--device", "gpu"]).exit_code == 2


def test_a_sample_is_made_where_the_model_is():
    settings = model_config(refiner=REFINER)
    parts = build(settings, build_text(settings, CAPTIONS), (8.0, 8.0, 0.0, 0.0))
    with Apart() as apart:
        assert ImagePipeline(parts, META).sample([Request(CAPTIONS[7], 0)], steps=6).device == META
    assert apart.seen > 1000
