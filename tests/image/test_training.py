import csv
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ecgtwin.image.config import CONFIGS as CONFIG_FOLDER
from ecgtwin.image.config import read_config
from ecgtwin.image.dataset import read_digits
from ecgtwin.image.evaluation import distances, evaluate, nearest
from ecgtwin.image.judge import Clip, in_parts, train_judge
from ecgtwin.image.pipeline import ImagePipeline, Request
from ecgtwin.image.training import train
from ecgtwin.train.checkpoint import load_tensors, part

from .tiny import CAPTIONS, DIT, VAE, config, pictures, pipeline, write_clip

ROOT = Path(__file__).resolve().parents[2]
REFINER = {"share": 0.2, "denoiser": DIT | {"patch": 1}}


def test_all_stages(tmp_path):
    settings = config(DIT | {"patch": 1}, codec=VAE, refiner=REFINER, picture={"size": 8, "channels": 3})
    p = train(settings, pictures(channels=3), tmp_path)
    assert set(p.parts.facts["stages"]) == {"vae", "denoiser", "refiner"}
    assert p.parts.frame == (10.0, 10.0, 0.0, 0.0)
    for name, module in (("denoiser", p.network), ("refiner", p.refiner), ("vae", p.codec.vae)):
        averaged, _ = load_tensors(tmp_path / name / "weights.safetensors")
        assert all(torch.equal(averaged[k], v) for k, v in module.state_dict().items())
    seen, _ = pictures(channels=3).split(0.25)
    z = p.codec.encode(seen.centred().pixels)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(2), atol=1e-3, rtol=0)
    again = ImagePipeline.from_pretrained(tmp_path / "model")
    requests = [Request(CAPTIONS[7], 0)]
    assert torch.equal(again.sample(requests, steps=2), p.sample(requests, steps=2))


def test_a_frozen_text_model_conditions_training(tmp_path):
    pytest.importorskip("transformers")
    clip = write_clip(tmp_path / "clip")
    p = train(config(text={"kind": "clip", "path": str(clip), "tokens": 24}), pictures(), tmp_path / "run")
    assert p.text.width == 16 and not any("model" in k for k in p.parts.tensors())
    assert p.sample([Request("a cat", 0)], steps=2).isfinite().all()


def test_a_finished_run_is_not_overwritten_and_resuming_repeats_it(tmp_path):
    settings = config()
    first = train(settings, pictures(), tmp_path)
    with pytest.raises(FileExistsError, match="resume"):
        train(settings, pictures(), tmp_path)
    again = train(settings, pictures(), tmp_path, resume=True)
    a, b = first.parts.tensors(), again.parts.tensors()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert again.parts.facts == first.parts.facts


def test_resuming_equals_never_stopping(tmp_path):
    short, long = config(), config()
    stage = short.train.denoiser.model_copy(update={"steps": 4, "validate_every": 2})
    long = long.model_copy(update={"train": long.train.model_copy(update={"denoiser": stage})})
    train(long, pictures(), tmp_path / "whole")
    stopped = tmp_path / "stopped" / "denoiser"
    from ecgtwin.train import run

    fit = run.fit
    with pytest.MonkeyPatch.context() as patch:

        def interrupted(*arguments):
            for step in fit(*arguments):
                yield step
                if step.number == 3:
                    raise KeyboardInterrupt

        patch.setattr("ecgtwin.train.run.fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(long, pictures(), tmp_path / "stopped")
    assert load_tensors(stopped / "last.safetensors")[1]["step"] == 2
    train(long, pictures(), tmp_path / "stopped", resume=True)
    a, b = (load_tensors(tmp_path / n / "denoiser" / "weights.safetensors")[0] for n in ("whole", "stopped"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_refiner_sees_clean_levels_only():
    from ecgtwin.diffusion.schedule import Flow, cosine

    generator = torch.Generator().manual_seed(0)
    for schedule in (cosine(1000), Flow(1000)):
        i = schedule.draw(5000, generator, 0.2)
        assert 190 < i.max() <= 200 and i.min() < 10
        assert schedule.even(10, 0.2).max() < 200
        assert schedule.draw(5000, generator).max() > 990 and schedule.even(10).max() > 900


def test_training_lowers_the_loss_with_its_caption_most(tmp_path):
    """The bright row is where the caption says: knowing it must help."""
    settings = config(DIT)
    stage = settings.train.denoiser.model_copy(
        update={"steps": 500, "batch": 64, "lr": 5e-3, "validate_every": 500, "ema_decay": 0.95}
    )
    settings = settings.model_copy(update={"train": settings.train.model_copy(update={"denoiser": stage})})
    facts = train(settings, pictures(80), tmp_path).parts.facts["stages"]["denoiser"]
    assert facts["held"] < 0.9 * facts["held_no_caption"] and facts["seconds"] > 0


def test_a_judge_names_real_pictures_and_not_noise():
    found = pictures(200).select([k for k in range(200) if k % 10 in (0, 3, 6, 9)])  # rows apart: it shifts them
    seen, held = found.split(0.2)
    judge = train_judge(seen, steps=60)
    x = held.centred().pixels
    assert judge.accuracy(x, held.captions) > 0.9
    assert judge.accuracy(torch.randn_like(x), held.captions) < 0.5
    with pytest.raises(ValueError, match="CLIP"):
        train_judge(found.select(range(10)))


def test_distances_tell_real_from_noise():
    x = pictures(90).centred().pixels
    found = distances(lambda x: x.flatten(1)[:, :16], torch.randn(30, 1, 8, 8), x[:30], x[30:])
    assert found["fid"] > 3 * found["fid_floor"] and found["kid"] > abs(found["kid_floor"])
    with pytest.raises(ValueError, match="equal numbers"):
        distances(lambda x: x.flatten(1), x[:5], x[:6], x)


def test_nearest_sees_a_copy():
    x = pictures(20).centred().pixels
    assert nearest(x[:3], x).max() < 1e-3 < nearest(-x[:3], x).min()


def test_evaluate_with_a_clip(tmp_path):
    pytest.importorskip("transformers")
    clip = Clip(write_clip(tmp_path / "clip"))
    figures = evaluate(pipeline(), pictures(120), steps=2, clip=clip, judge_steps=5)
    assert figures["images"] == 30 and 0 <= figures["recognised"] <= 1
    assert {"fid", "fid_floor", "kid", "kid_floor", "nearest", "nearest_real"} <= set(figures)
    assert 0 <= figures["clip"]["score"] <= 100


def test_clip_scores_are_cosines(tmp_path):
    pytest.importorskip("transformers")
    clip = Clip(write_clip(tmp_path / "clip"))
    x, captions = torch.rand(3, 1, 8, 8) * 2 - 1, ["a cat", "a dog", "a cat"]
    if float((in_parts(clip.features, x) * clip.read(captions)).sum()) < 0:
        clip.model.visual_projection.weight.neg_()  # a random model: only positive cosines count
    seen, read = in_parts(clip.features, x), clip.read(captions)
    assert seen.shape == read.shape == (3, 8)
    torch.testing.assert_close(read.norm(dim=1), torch.ones(3))
    expected = [100 * max(0.0, float(a @ b)) for a, b in zip(seen, read, strict=True)]
    assert clip.score(x, captions) == pytest.approx(sum(expected) / 3, rel=1e-4)
    assert max(expected) > 1


def test_clip_agrees_with_its_own_forward(tmp_path):
    pytest.importorskip("transformers")
    clip = Clip(write_clip(tmp_path / "clip"))
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    batch = clip.tokenizer(["a cat", "a dog"], padding=True, return_tensors="pt")
    pixels = ((x + 1) / 2 - clip.mean) / clip.std
    with torch.no_grad():
        answer = clip.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], pixel_values=pixels)
    torch.testing.assert_close(clip.features(x), answer.image_embeds, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(clip.read(["a cat", "a dog"]), answer.text_embeds, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_script_runs_two_steps(path, tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    arguments = ["--config", str(path), "--output", str(tmp_path)]
    for stage in ("vae", "denoiser", "refiner"):
        if f"\n  {stage}:" in path.read_text().split("train:")[1]:
            arguments += ["--set", f"train.{stage}.steps=2", "--set", f"train.{stage}.batch=4"]
    monkeypatch.setattr(sys, "argv", ["train_image.py", *arguments])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(ROOT / "scripts" / "train_image.py"), run_name="__main__")
    assert done.value.code == 0
    made = ImagePipeline.from_pretrained(tmp_path / "model").generate("a handwritten seven", steps=2)
    assert len(made) == 1


def test_two_processes_equal_one(tmp_path):
    """The same losses and the same model, by gloo, with the same global batch."""
    pytest.importorskip("sklearn")
    path = CONFIG_FOLDER / "latent.yaml"
    short = [
        f"train.{s}.{v}"
        for s in ("vae", "denoiser")
        for v in ("steps=2", "batch=4", "validate_every=1", "precision=float32")
    ]
    settings = read_config(path, short)
    train(settings, read_digits(settings.model.picture, settings.data), tmp_path / "one")
    line = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(ROOT / "scripts/train_image.py"),
    ]
    line += [
        "--config",
        str(path),
        "--cpu",
        "--output",
        str(tmp_path / "two"),
        *(part for item in short for part in ("--set", item)),
    ]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("model in") == 1
    for stage in ("vae", "denoiser"):
        a, b = (rows(tmp_path / n / stage / "losses.csv") for n in ("one", "two"))
        assert a.keys() == b.keys() and len(a) > 4
        assert [b[k] for k in a] == pytest.approx([a[k] for k in a], rel=1e-3)
    a, b = (load_tensors(tmp_path / n / "model" / "weights.safetensors")[0] for n in ("one", "two"))
    assert all(torch.allclose(a[k], b[k], atol=1e-2) for k in a)


def rows(path):
    with path.open() as file:
        found = {(r["step"], r["figure"]): float(r["value"]) for r in csv.DictReader(file)}
    return {k: v for k, v in found.items() if k[1] not in ("steps_per_second", "waiting", "seconds", "cpu_seconds")}


def test_part_of_a_checkpoint_is_one_network(tmp_path):
    p = pipeline(refiner=REFINER | {"denoiser": DIT})
    p.save_pretrained(tmp_path)
    tensors, _ = load_tensors(tmp_path / "weights.safetensors")
    assert part(tensors, "refiner").keys() == p.refiner.state_dict().keys()
