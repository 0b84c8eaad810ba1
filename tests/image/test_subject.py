"""Learned words: embeddings behind the model's own, in a file of their own, and what a stage makes of pictures."""

from dataclasses import replace

import pytest
import torch

from ecgtwin.image.pipeline import ImagePipeline, Request
from ecgtwin.image.subject import save_word, subject_stage
from ecgtwin.nets import adapters
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training, fit
from ecgtwin.train.subject import SubjectPlan

from .tiny import CAPTIONS, pictures, pipeline

TILTED = CAPTIONS[7].replace("handwritten", "tilted")


def styled():
    found = pictures()
    return replace(found, captions=tuple(c.replace("handwritten", "tilted") for c in found.captions))


def learn(p: ImagePipeline, **more) -> None:
    plan = SubjectPlan(steps=2, batch=4, lr=0.1, warmup=1, prior=0.5, prior_samples=3, **more)
    stage = subject_stage(p, styled(), "tilted", plan, like="handwritten")
    assert stage.others == 3 and stage.epoch == len(styled())
    training = Training(stage.network, plan, accelerator=accelerator_of(cpu=True))
    assert len(list(fit(training, stage))) == 2
    stage.network.eval().requires_grad_(False)


def sample(p, caption):
    return p.sample([Request(caption, 3)], steps=2)


def test_a_word_is_learned_saved_and_loaded_and_the_rest_stays(tmp_path):
    p, plain = pipeline(), pipeline()
    before = sample(p, CAPTIONS[7])
    learn(p)
    assert torch.equal(sample(p, CAPTIONS[7]), before) and not torch.equal(sample(p, TILTED), before)
    path = save_word(tmp_path / "tilted.safetensors", p, "tilted")
    assert plain.load_word(path) == "tilted" and torch.equal(sample(plain, TILTED), sample(p, TILTED))
    with pytest.raises(ValueError, match="knows already"):
        plain.load_word(path)
    p.save_pretrained(tmp_path / "model")  # with the word in its vocabulary
    again = ImagePipeline.from_pretrained(tmp_path / "model")
    assert torch.equal(sample(again, TILTED), sample(p, TILTED)) and torch.equal(sample(again, CAPTIONS[7]), before)
    assert torch.equal(sample(p, TILTED), sample(again, TILTED))  # and the pipeline is as it was
    with pytest.raises(ValueError, match="another model"):
        pipeline({"kind": "dit", "width": 16, "depth": 1, "heads": 2, "patch": 2}).load_word(path)


def test_a_word_with_an_adapter_are_two_files_that_go_together(tmp_path):
    p, plain = pipeline(), pipeline()
    learn(p, adapter={"rank": 2})
    word = save_word(tmp_path / "tilted.safetensors", p, "tilted")
    lora = adapters.save(p.network, tmp_path / "adapter.safetensors", adapters.TRAINED)
    for first in (True, False):
        other = pipeline()
        for load in ((other.load_word, word), (other.load_adapter, lora))[:: 1 if first else -1]:
            load[0](load[1])
        torch.testing.assert_close(sample(other, TILTED), sample(p, TILTED))
    with pytest.raises(ValueError, match="not a learned word"):
        plain.load_word(lora)


def test_captions_without_the_word_and_words_that_are_known_are_refused():
    plan = SubjectPlan(steps=1, batch=2, lr=0.1, prior=0.0)
    with pytest.raises(ValueError, match="does not have the subject's word"):
        subject_stage(pipeline(), pictures(), "tilted", plan)
    with pytest.raises(ValueError, match="knows already"):
        subject_stage(pipeline(), pictures(), "handwritten", plan)
    labels = pipeline(text={"kind": "labels"})
    with pytest.raises(ValueError, match="text kind words"):
        subject_stage(labels, styled(), "tilted", plan)
