"""Training that goes on: with more steps, from another model, with blocks computed twice, and on
captions that are sentences."""

import pytest
import torch

from ecgtwin.image.config import CONFIGS, DataConfig, read_config
from ecgtwin.image.dataset import Pictures
from ecgtwin.image.evaluation import evaluate
from ecgtwin.image.judge import Clip
from ecgtwin.image.training import train
from ecgtwin.train.checkpoint import load_tensors

from .tiny import CAPTIONS, DIT, UNET, VAE, config, pictures, pipeline, write_clip


def with_stage(settings, **changes):
    stages = settings.train.model_dump(exclude_none=True)
    stages = {name: stage | changes for name, stage in stages.items()}
    return type(settings).model_validate(settings.model_dump() | {"train": stages})


def captioned(found: Pictures, captions) -> Pictures:
    return Pictures(found.images, found.shrunk, found.originals, tuple(captions), found.size)


@pytest.mark.parametrize("denoiser", [UNET, DIT])
def test_blocks_computed_twice_train_the_same_model(denoiser, tmp_path):
    key = next(k for k in ("recompute", "gradient_checkpointing") if k in type(config().train.denoiser).model_fields)
    a, b = (
        train(
            with_stage(config(denoiser, codec=VAE), **{key: twice}), pictures(), tmp_path / str(twice)
        ).parts.tensors()
        for twice in (False, True)
    )
    assert all(torch.allclose(a[k], b[k], atol=1e-6) for k in a)


def test_a_finished_training_goes_on_with_more_steps(tmp_path):
    train(config(), pictures(), tmp_path)
    longer = with_stage(config(), steps=4)
    with pytest.raises(FileExistsError, match="resume"):
        train(longer, pictures(), tmp_path)
    p = train(longer, pictures(), tmp_path, resume=True)
    assert load_tensors(tmp_path / "denoiser" / "last.safetensors")[1]["step"] == 4
    assert p.parts.facts["stages"]["denoiser"]["steps"] == 4
    with pytest.raises(ValueError, match="other inputs"):
        train(with_stage(longer, batch=8), pictures(), tmp_path, resume=True)


def test_fine_tuning_begins_with_the_weights_of_a_model_and_learns_new_words(tmp_path):
    settings = config(codec=VAE)
    first = train(settings, pictures(), tmp_path / "first")
    other = captioned(pictures(), (c.replace("handwritten", "printed") for c in pictures().captions))
    still = with_stage(settings, **{k: 0.0 for k in ("rate", "lr") if k in type(settings.train.denoiser).model_fields})
    p = train(still, other, tmp_path / "second", start=tmp_path / "first" / "model")
    assert p.text.names[: len(first.text.names)] == first.text.names and "printed" in p.text.names
    a, b = first.parts.tensors(), p.parts.tensors()
    assert a.keys() == b.keys() and all(torch.equal(v, b[k][: len(v)] if v.ndim else b[k]) for k, v in a.items())
    assert len(b["denoiser.caption.read.weight"]) == len(a["denoiser.caption.read.weight"]) + 1
    assert "vae" in p.parts.facts["stages"] and not (tmp_path / "second" / "vae").exists()
    moved = train(settings, other, tmp_path / "third", start=tmp_path / "first" / "model").parts.tensors()
    assert any(not torch.equal(moved[k], b[k]) for k in b)
    with pytest.raises(ValueError, match=r"built otherwise in model\.denoiser"):
        train(config(DIT | {"patch": 1}, codec=VAE), other, tmp_path / "fourth", start=tmp_path / "first" / "model")


SENTENCES = tuple(f"{digit.split()[-1]} number{k} on paper" for k, digit in enumerate(CAPTIONS * 12))


def test_words_of_held_out_captions_alone_are_not_learned(tmp_path):
    found = captioned(pictures(40), [f"a handwritten {'one' if k % 4 else 'word' + str(k)}" for k in range(40)])
    seen, held = found.split(0.25)
    only = {w for c in held.captions for w in c.split()} - {w for c in seen.captions for w in c.split()}
    assert only
    p = train(config(), found, tmp_path)
    assert not only & set(p.text.names) and p.parts.facts["held_unreadable"] == sum(
        bool(only & set(c.split())) for c in held.captions
    )
    assert p.parts.facts["stages"]["denoiser"]["held"] > 0
    with pytest.raises(ValueError, match="none of 10 held-out captions has only words of the training set"):
        train(config(), captioned(pictures(40), [f"word{k}" for k in range(40)]), tmp_path / "words")


def test_free_captions_are_evaluated_without_a_judge(tmp_path):
    pytest.importorskip("transformers")
    clip = write_clip(tmp_path / "clip")
    p = pipeline(captions=SENTENCES)
    figures = evaluate(p, captioned(pictures(120), SENTENCES), steps=2, judge_steps=2)
    assert "recognised" not in figures and "CLIP" in figures["left_out"]["recognised"] and figures["nearest"] > 0
    figures = evaluate(p, captioned(pictures(120), SENTENCES), steps=2, judge_steps=2, clip=Clip(clip))
    assert {"score", "fid", "kid"} <= set(figures["clip"]) and figures["images"] == 30


def test_pictures_of_several_sizes_are_evaluated_with_zoom():
    data = {"held": 0.25, "zoom": 1.25, "shrunk": 0.3}
    square, wide = pictures(120, data=DataConfig(**data)), pictures(120, data=DataConfig(**data))
    images = [torch.cat([x, x[:, :, :3]], 2) if k % 3 == 0 else x for k, x in enumerate(square.images)]
    shrunk = [torch.cat([x, x[:, :, :3]], 2) if k % 3 == 0 else x for k, x in enumerate(wide.shrunk)]
    mixed = Pictures(tuple(images), tuple(shrunk), square.originals, square.captions, square.size)
    assert len({x.shape for x in mixed.images}) == 2
    p = pipeline()
    p.parts.facts["data"] = data
    figures = evaluate(p, mixed, steps=2, judge_steps=2)
    assert 10 < figures["frame"]["pictures"] < 30 and {"down", "right", "roughness"} <= set(figures["frame"])


def test_the_configurations_are_inside_the_package_and_go_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_config("unet") == read_config(CONFIGS / "unet.yaml")
    with pytest.raises(FileNotFoundError, match="no configuration"):
        read_config("unett")
