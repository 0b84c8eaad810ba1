"""A control of edges: trained beside an image model, followed, and refused by another model."""

import pytest
import torch
from PIL import Image

from ecgtwin.image.config import Config
from ecgtwin.image.control import edges
from ecgtwin.image.pipeline import ImagePipeline
from ecgtwin.image.training import train
from ecgtwin.train.strict import parse

from . import tiny


def test_edges_are_where_a_picture_changes():
    x = torch.full((1, 3, 8, 8), -1.0)
    x[..., 4:] = 1.0
    found = edges(x)
    assert found.shape == (1, 1, 8, 8) and torch.allclose(found[..., 3:5], torch.ones(8, 2)[None, None])
    assert not found[..., :3].any() and not found[..., 5:].any()
    assert torch.allclose(edges(x.transpose(2, 3)), found.transpose(2, 3))


@pytest.mark.parametrize("denoiser", [tiny.UNET, tiny.DIT], ids=["unet", "dit"])
def test_a_control_is_trained_beside_its_model_and_followed(denoiser, tmp_path):
    start = tiny.pipeline(denoiser).save_pretrained(tmp_path / "start")
    tree = tiny.config(denoiser).model_dump()
    tree["train"]["denoiser"] |= {"control": {"copies": 1, "hidden": 8}, "lr": 0.05, "steps": 3}
    config = parse(Config, tree, "test")
    train(config, tiny.pictures(), tmp_path / "run", start=start)
    assert not (tmp_path / "run" / "model").exists()
    file = tmp_path / "run" / "denoiser" / "weights.safetensors"
    pipeline = ImagePipeline.from_pretrained(start, device="cpu")
    first, second = (Image.fromarray(x[0].numpy()) for x in tiny.pictures().images[:2])
    with pytest.raises(ValueError, match="no control is loaded"):
        pipeline.follow(first, tiny.CAPTIONS[0])
    pipeline.load_control(file)
    made = pipeline.follow(first, tiny.CAPTIONS[0], 2, steps=2, seed=1)
    assert [image.size for image in made] == [(8, 8), (8, 8)] and made[0].tobytes() != made[1].tobytes()
    assert made[1].tobytes() == pipeline.follow(first, tiny.CAPTIONS[0], 1, steps=2, seed=2)[0].tobytes()
    assert made[0].tobytes() != pipeline.follow(second, tiny.CAPTIONS[0], 1, steps=2, seed=1)[0].tobytes()
    with torch.no_grad():
        next(pipeline.network.parameters()).add_(1)
    with pytest.raises(ValueError, match="another base"):
        pipeline.load_control(file)
    with pytest.raises(ValueError, match="needs --start"):
        train(config, tiny.pictures(), tmp_path / "other")
