"""Pictures that are not square: trained, drawn, filled in and looked at like others."""

import numpy as np
import pytest
import torch
from PIL import Image

from ecgtwin.image.config import DataConfig, PictureConfig
from ecgtwin.image.dataset import gather
from ecgtwin.image.pipeline import ImagePipeline, Request
from ecgtwin.image.training import train
from ecgtwin.train.device import accelerator_of

from .tiny import CAPTIONS, DIT, UNET, VAE, config, pipeline

WIDE = {"picture": {"size": 8, "width": 12, "channels": 1}}


def pictures(n: int = 40, zoom: float = 1.0):
    """Bright columns whose place is the digit of the caption."""
    images = []
    for k in range(n):
        x = np.zeros((16, 24), np.uint8)
        x[:, 2 * (k % 10) : 2 * (k % 10) + 4] = 255
        images.append(Image.fromarray(x))
    picture = PictureConfig(size=8, width=12, channels=1)
    return gather(images, [CAPTIONS[k % 10] for k in range(n)], picture, DataConfig(zoom=zoom))


def test_pictures_are_scaled_until_they_cover_and_then_cut():
    found = pictures()
    assert found.size == (8, 12) and found.centred().pixels.shape == (40, 1, 8, 12)
    assert found.images[0].shape == (1, 8, 12) and not found.centred().frame[:, 2:].any()  # 16 x 24 has that shape
    tall = gather([Image.new("L", (10, 40))], ["a"], PictureConfig(size=8, width=12, channels=1), DataConfig())
    assert tall.images[0].shape == (1, 48, 12) and tall.centred().frame.tolist() == [[40, 10, 20, 0]]
    drawn = pictures(zoom=1.5).draw(torch.arange(40), torch.Generator().manual_seed(0))
    assert drawn.pixels.shape == (40, 1, 8, 12)
    assert drawn.frame[:, 2].max() <= 4 and drawn.frame[:, 3].max() > 4


@pytest.mark.parametrize("more", [{}, {"denoiser": DIT}, {"denoiser": UNET, "codec": VAE}], ids=["unet", "dit", "vae"])
def test_every_part_knows_both_sides(more, tmp_path):
    p = pipeline(**more, **WIDE)
    requests = [Request(CAPTIONS[3], 1), Request(CAPTIONS[4], 2)]
    assert p.sample(requests, steps=2).shape == (2, 1, 8, 12)
    p.save_pretrained(tmp_path / "m")
    again = ImagePipeline.from_pretrained(tmp_path / "m")
    assert torch.equal(again.sample(requests, steps=2), p.sample(requests, steps=2))
    known = torch.ones(8, 12, dtype=torch.bool)
    known[:, 8:] = False
    (filled,) = p.fill(Image.new("L", (12, 8), 77), known, CAPTIONS[3], steps=2, resample=1)
    assert filled.size == (12, 8) and (np.asarray(filled)[:, :8] == 77).all()
    assert p.attention(CAPTIONS[3], steps=2).maps.shape == (3, 8, 12)


def test_a_wide_model_is_trained_and_a_side_that_does_not_fit_is_named(tmp_path):
    settings = config(**WIDE)
    made = train(settings, pictures(), tmp_path / "run", accelerator=accelerator_of(cpu=True))
    assert made.generate(CAPTIONS[3], steps=2)[0].size == (12, 8)
    with pytest.raises(ValueError, match="8 x 9 pixels"):
        pipeline(picture={"size": 8, "width": 9, "channels": 1})
