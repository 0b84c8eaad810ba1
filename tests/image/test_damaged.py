"""A model folder that was cut, changed or made up, and a picture of absurd size, are refused with a short sentence,
quickly; nothing else ever comes out of them."""

import json
import struct
import zlib
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ecgtwin.image.config import DataConfig, PictureConfig
from ecgtwin.image.dataset import gather, read_folder, read_image
from ecgtwin.image.model import load
from ecgtwin.image.pipeline import ImagePipeline

from .. import damage
from ..damage import ODD, QUICK, changed, places
from . import tiny

VOCABULARY = "text/vocabulary.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    refiner = {"share": 0.3, "denoiser": tiny.DIT}
    return tiny.pipeline(codec=tiny.VAE, refiner=refiner).save_pretrained(tmp_path_factory.mktemp("whole"))


refused_or_read = partial(damage.refused_or_read, load)


@pytest.mark.parametrize("name", ["config.json", VOCABULARY])
@QUICK
@given(data=st.data())
def test_changed_json(name, copy, data):
    folder = copy()
    tree = json.loads((folder / name).read_text())
    path = data.draw(st.sampled_from(places(tree)))
    (folder / name).write_text(json.dumps(changed(tree, path, data.draw(ODD))))
    refused_or_read(folder)


@QUICK
@given(data=st.data())
def test_cut_and_changed_tensors(copy, data):
    folder = copy()
    cut = damage.cut_or_changed(data, folder / "weights.safetensors")
    assert not (refused_or_read(folder) and cut)


@pytest.mark.parametrize("name", ["config.json", VOCABULARY, "weights.safetensors"])
def test_a_missing_or_empty_file_is_refused(name, copy):
    folder = copy()
    (folder / name).write_text("")
    assert not refused_or_read(folder)
    (folder / name).unlink()
    assert not refused_or_read(folder)


@pytest.mark.parametrize("name", ["config.json", VOCABULARY])
def test_deep_json_is_refused(name, copy):
    folder = copy()
    for text in ("[" * 200_000, '{"a":' * 5_000 + "1" + "}" * 5_000):
        (folder / name).write_text(text)
        assert not refused_or_read(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model", "picture", "size"), 10**9),
        (("model", "picture", "size"), 8191),
        (("model", "denoiser", "width"), 65_536),
        (("model", "denoiser", "widths"), [8] * 100_000),
        (("model", "denoiser", "heads"), 5),
        (("model", "refiner", "denoiser", "depth"), 10**9),
        (("model", "text", "tokens"), 10**9),
        (("model", "diffusion", "steps"), 10**12),
        (("frame",), [1.0, 2.0]),
        (("frame",), [10.0, float("nan"), 0.0, 0.0]),
    ],
)
def test_sizes_that_no_machine_has_are_refused_at_once(path, value, copy):
    folder = copy()
    tree = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(changed(tree, path, value)))
    assert not refused_or_read(folder)


def test_weights_that_are_not_finite_are_refused(copy):
    from safetensors.numpy import load_file, save_file

    path = copy() / "weights.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    save_file(tensors | {name: np.full_like(tensors[name], np.nan)}, path, metadata={"json": "{}"})
    with pytest.raises(ValueError, match="not finite"):
        load(path.parent)


def test_a_whole_folder_is_the_model_that_was_saved(whole):
    refiner = {"share": 0.3, "denoiser": tiny.DIT}
    before, after = tiny.pipeline(codec=tiny.VAE, refiner=refiner), ImagePipeline.from_pretrained(whole, device="cpu")
    images = [np.array(one.generate(tiny.CAPTIONS[3], steps=2)[0]) for one in (before, after)]
    assert np.array_equal(*images)
    assert all(torch.equal(p, q) for p, q in zip(before.network.parameters(), after.network.parameters(), strict=True))


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("sides", [(60_000, 60_000), (11_000, 11_000), (1, 1_000_000), (900_000, 3)])
def test_pictures_of_absurd_sizes_are_refused(sides, tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(claims(*sides))
    with pytest.raises(ValueError, match="pixels"):
        read_image(path)
    (tmp_path / "bomb.txt").write_text("a bomb")
    with pytest.raises(ValueError, match="bomb.png"):
        read_folder(tmp_path, PictureConfig(size=8, channels=1), DataConfig())


def test_a_narrow_picture_in_memory_is_refused():
    with pytest.raises(ValueError, match="one side may be 50 times"):
        gather([Image.new("L", (1, 51))], ["a line"], PictureConfig(size=8, channels=1), DataConfig())
