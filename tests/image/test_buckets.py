"""Aspect buckets: every picture is trained in the shape nearest to its own, batches are of one shape, and each shape
can be asked for."""

import numpy as np
import pytest
import torch
from PIL import Image

from ecgtwin.image.config import DataConfig, PictureConfig
from ecgtwin.image.dataset import gather
from ecgtwin.image.evaluation import evaluate
from ecgtwin.image.pipeline import ImagePipeline, Request
from ecgtwin.image.stages import Reconstruct
from ecgtwin.image.training import train
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.strict import parse

from .tiny import CAPTIONS, DIT, UNET, VAE, config, pipeline

PICTURE = {"size": 8, "channels": 1, "buckets": [[8, 12], [12, 8]]}
SHAPES = ((8, 8), (8, 12), (12, 8))


def pictures(n: int = 60, zoom: float = 1.0):
    """Files of four shapes, which are their brightness."""
    files = ((16, 16, 10), (20, 32, 80), (30, 18, 160), (17, 16, 240))  # height, width, brightness
    images = [Image.fromarray(np.full(files[k % 4][:2], files[k % 4][2], np.uint8)) for k in range(n)]
    return gather(
        images, [CAPTIONS[k % 10] for k in range(n)], parse(PictureConfig, PICTURE, "test"), DataConfig(zoom=zoom)
    )


def test_pictures_go_where_their_shape_is_nearest():
    found = pictures()
    assert found.sizes[:4] == ((8, 8), (8, 12), (12, 8), (8, 8))
    assert [tuple(x.shape[1:]) for x in found.images[:4]] == [(8, 8), (8, 13), (13, 8), (8, 8)]
    assert {shape: len(rows) for shape, rows in found.by_shape().items()} == {(8, 8): 30, (8, 12): 15, (12, 8): 15}
    assert set(found.commonest().sizes) == {(8, 8)} and found.select([1, 2]).sizes == SHAPES[1:]
    with pytest.raises(ValueError, match="8 x 8, 8 x 12, 12 x 8"):
        found.centred()
    wide = found.centred(torch.tensor([1]))
    assert wide.pixels.shape == (1, 1, 8, 12) and wide.frame.tolist() == [[20, 32, 0, 0, 8, 12]]


def test_a_batch_is_of_one_shape_and_each_shape_comes_as_often_as_it_has_pictures():
    found, generator = pictures(zoom=1.5), torch.Generator().manual_seed(0)
    objective = Reconstruct(found, config().train.denoiser, 0.0, 1, 1)
    seen = []
    for _ in range(300):
        batch = objective.load(objective.draw(generator))
        pixels, frame = batch.batch.pixels, batch.batch.frame
        shape = tuple(pixels.shape[2:])
        assert batch.noise.shape == pixels.shape and (frame[:, 4:] == torch.tensor(shape)).all()
        bright = {(8, 8): {10, 240}, (8, 12): {80}, (12, 8): {160}}[shape]
        assert set(((pixels[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()) <= bright
        seen.append(shape)
    assert [seen.count(shape) / 300 for shape in SHAPES] == pytest.approx([0.5, 0.25, 0.25], abs=0.08)


@pytest.mark.parametrize("more", [{}, {"denoiser": DIT}, {"denoiser": UNET, "codec": VAE}], ids=["unet", "dit", "vae"])
def test_every_shape_is_drawn_and_the_network_is_told_which(more, tmp_path):
    p = pipeline(**more, picture=PICTURE)
    for shape in SHAPES:
        requests = [Request(CAPTIONS[3], 1, shape=shape), Request(CAPTIONS[4], 2, shape=shape)]
        made = p.sample(requests, steps=2)
        assert made.shape == (2, 1, *shape)
        assert torch.allclose(made[1:], p.sample(requests[1:], steps=2), atol=1e-5)
        original = [10 * shape[0] / 8, 10 * shape[1] / 8]
        assert p.conditions(requests).frame.tolist() == [[*original, 1, 1, *shape]] * 2
    again = ImagePipeline.from_pretrained(p.save_pretrained(tmp_path / "m"))
    assert torch.equal(again.sample(requests, steps=2), made)
    assert p.generate(CAPTIONS[3], steps=2, shape=(8, 12))[0].size == (12, 8)
    assert p.generate(CAPTIONS[3], steps=2)[0].size == (8, 8)
    for wrong in ([Request(CAPTIONS[3], 1), requests[0]], [Request(CAPTIONS[3], 1, shape=(12, 12))]):
        with pytest.raises(ValueError, match="expected one shape in a batch, of 8 x 8, 8 x 12, 12 x 8"):
            p.sample(wrong, steps=2)


def test_they_are_trained_and_measured_shape_by_shape(tmp_path):
    made = train(config(picture=PICTURE), pictures(120), tmp_path / "run", accelerator=accelerator_of(cpu=True))
    assert made.parts.frame[:2] == pytest.approx((16, 16), rel=0.3)
    figures = evaluate(made, pictures(120), steps=2, judge_steps=2, accelerator=accelerator_of(cpu=True))
    assert list(figures) == ["8 x 8", "8 x 12", "12 x 8"]
    assert [f["images"] + f["training"] for f in figures.values()] == [60, 30, 30]
    with pytest.raises(ValueError, match="8 x 9 pixels"):
        pipeline(picture=PICTURE | {"buckets": [[8, 9]]})
