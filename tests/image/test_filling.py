"""Parts of pictures are drawn anew and the rest stays; variations."""

import numpy as np
import pytest
import torch
from PIL import Image

from . import tiny

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8))
KNOWN = torch.ones(8, 8, dtype=torch.bool)
KNOWN[:5, 2:6] = False


@pytest.mark.parametrize("more", [{}, {"codec": tiny.VAE}], ids=["pixels", "latents"])
def test_known_pixels_stay_and_the_others_are_drawn(more):
    pipeline = tiny.pipeline(tiny.DIT | {"patch": 1}, **more)
    one, two = (np.array(x) for x in pipeline.fill(PICTURE, KNOWN, tiny.CAPTIONS[2], n=2, steps=3, resample=2))
    known = KNOWN.numpy()
    assert (one[known] == np.array(PICTURE)[known]).all() and (two[~known] != one[~known]).any()
    other = np.array(PICTURE)
    other[~known] = 0  # in pixels, what is drawn anew is never read
    if not more:
        again = pipeline.fill(Image.fromarray(other), KNOWN, tiny.CAPTIONS[2], steps=3, resample=2)[0]
        assert (np.array(again) == one).all()


def test_a_variation_changes_more_the_stronger_it_is():
    pipeline = tiny.pipeline(tiny.DIT)
    change = []
    for strength in (0.1, 1.0):
        made = np.array(pipeline.vary(PICTURE, tiny.CAPTIONS[2], strength=strength, steps=10)[0], float)
        change.append(np.abs(made - np.array(PICTURE)).mean())
    assert change[0] < change[1]


def test_what_cannot_be_filled_is_refused():
    pipeline = tiny.pipeline(tiny.DIT)
    for known in (torch.ones(8, 8, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.bool), torch.zeros(8, 8)):
        with pytest.raises(ValueError, match="expected \\(8, 8\\) bool"):
            pipeline.fill(PICTURE, known, tiny.CAPTIONS[2])
