"""Attention maps and edits of images' words; the shared mathematics is tested in tests/nets/test_attention.py."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ecgtwin.cli.image import app

from .tiny import CAPTIONS, DIT, UNET, pipeline

SEVEN, TWO = CAPTIONS[7], CAPTIONS[2]


def same(a, b) -> bool:
    return bool(np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1)


@pytest.mark.parametrize("denoiser", [UNET, DIT], ids=["unet", "dit"])
def test_maps_are_of_the_image_that_generate_makes_and_edits_act(denoiser):
    p = pipeline(denoiser)
    (plain,) = p.generate(SEVEN, steps=3, seed=5)
    found = p.attention(SEVEN, steps=3, seed=5)
    assert same(found.image, plain) and found.words == ("a", "handwritten", "seven")
    assert found.maps.shape == (3, 8, 8)
    torch.testing.assert_close(found.maps.sum(0), torch.ones(8, 8))
    (nothing,) = p.rewrite(SEVEN, steps=3, seed=5)
    (itself,) = p.rewrite(SEVEN, source=SEVEN, kept=1.0, steps=3, seed=5)
    assert same(nothing, plain) and same(itself, plain)
    (weighed,) = p.rewrite(SEVEN, weights={"seven": 4.0}, steps=3, seed=5)
    (kept,) = p.rewrite(SEVEN, source=TWO, kept=1.0, steps=3, seed=5)
    assert not same(weighed, plain) and not same(kept, plain)


def test_what_cannot_be_edited_is_said():
    p = pipeline()
    for wrong, what in (({"kept": -0.1}, "kept"), ({"weights": {"nine": 2.0}}, "not asked for"), ({"n": 0}, "n 0")):
        with pytest.raises(ValueError, match=what):
            p.rewrite(SEVEN, **wrong)
    with pytest.raises(ValueError, match="not a word"):
        p.attention("a zebra")


def test_the_command_line_weighs_words_and_draws_maps(tmp_path):
    model = pipeline().save_pretrained(tmp_path / "model")
    for name, more in {"a": [], "b": ["--weight", "seven=4"], "c": ["--like", TWO, "--kept", "1"]}.items():
        done = CliRunner().invoke(
            app, ["generate", str(model), SEVEN, "--steps", "2", "--output", str(tmp_path / name), "--attention", *more]
        )
        assert done.exit_code == 0, done.output
        assert (tmp_path / name / "00_attention.png").is_file()
    assert len({(tmp_path / name / "grid.png").read_bytes() for name in "abc"}) == 3
    done = CliRunner().invoke(app, ["generate", str(model), SEVEN, "--weight", "seven"])
    assert done.exit_code == 2 and "NAME=NUMBER" in done.output
