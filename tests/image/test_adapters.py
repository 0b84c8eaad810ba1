"""An adapter of an image model: trained on its own, of one base, without new words."""

from dataclasses import replace

import pytest
import torch

from ecgtwin.image.config import Config
from ecgtwin.image.pipeline import ImagePipeline, Request
from ecgtwin.image.training import train
from ecgtwin.train.strict import parse

from . import tiny

ADAPTER = {"kind": "lora", "rank": 2, "targets": ["*attention*", "*mlp*"]}


def with_adapter(config: Config, adapter=ADAPTER) -> Config:
    tree = config.model_dump()
    tree["train"]["denoiser"]["adapter"] = adapter
    return parse(Config, tree, "test")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny.pipeline(tiny.DIT).save_pretrained(folder / "model")
    return folder / "model"


def test_only_the_adapter_learns_and_its_file_fits_its_base_alone(base, tmp_path):
    config = with_adapter(tiny.config(tiny.DIT))
    made = train(config, tiny.pictures(), tmp_path, start=base)
    before, asked = ImagePipeline.from_pretrained(base, device="cpu"), [Request(tiny.CAPTIONS[3], 0)]
    file = tmp_path / "denoiser" / "weights.safetensors"
    plain = before.sample(asked, steps=2)
    assert before.load_adapter(file, name="style") == "style" and before.adapters == {"style": 1.0}
    changed = before.sample(asked, steps=2)
    assert not torch.equal(changed, plain) and torch.allclose(changed, made.sample(asked, steps=2), atol=1e-5)
    # The model that the training leaves has the adapter in its weights, so it is another base.
    whole = ImagePipeline.from_pretrained(tmp_path / "model", device="cpu")
    assert torch.allclose(whole.sample(asked, steps=2), changed, atol=1e-4)
    with pytest.raises(ValueError, match="another base"):
        whole.load_adapter(file)
    before.remove_adapter("style")
    assert torch.equal(before.sample(asked, steps=2), plain)


def test_what_no_adapter_can_be_trained_on_is_refused(base, tmp_path):
    config = with_adapter(tiny.config(tiny.DIT))
    with pytest.raises(ValueError, match="adapter without --start"):
        train(config, tiny.pictures(), tmp_path)
    pictures = tiny.pictures()
    strange = replace(pictures, captions=tuple("a rotated three" for _ in pictures.captions))
    with pytest.raises(ValueError, match="1 words that .* does not know, such as 'rotated'"):
        train(config, strange, tmp_path, start=base)
