import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ecgtwin.image.config import DataConfig, PictureConfig
from ecgtwin.image.dataset import parse_csv, parse_jsonl, read_digits, read_folder
from ecgtwin.image.picture import as_images, grid

from .tiny import pictures

GREY, COLOUR, PLAIN = PictureConfig(size=8, channels=1), PictureConfig(size=8, channels=3), DataConfig()


def image(width=12, height=8, colour=(200, 30, 30), mode="RGB"):
    return Image.new(mode, (width, height), colour)


@pytest.fixture
def folder(tmp_path):
    """Three images with their captions beside them, one in a folder of its own."""
    (tmp_path / "more").mkdir()
    for name in ("a.png", "b.jpg", "more/c.webp"):
        image().save(tmp_path / name)
        (tmp_path / name).with_suffix(".txt").write_text(f"caption of {name}\n")
    return tmp_path


def test_captions_beside_the_images(folder):
    found = read_folder(folder, COLOUR, PLAIN)
    assert found.captions == ("caption of a.png", "caption of b.jpg", "caption of more/c.webp")
    assert found.originals.tolist() == [[8, 12]] * 3
    assert [tuple(x.shape) for x in found.images] == [(3, 8, 12)] * 3


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_captions_in_one_file(folder, kind):
    names = ("a.png", "b.jpg", "more/c.webp")
    if kind == "jsonl":
        rows = [{"file_name": n, key: f"  {n}!"} for n, key in zip(names, ("text", "caption", "text"), strict=True)]
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    else:
        (folder / "captions.csv").write_text("file,caption\n" + "".join(f'{n},"{n}!"\n' for n in names))
    assert read_folder(folder, COLOUR, PLAIN).captions == tuple(f"{n}!" for n in names)


def test_every_broken_image_is_named(folder):
    (folder / "b.jpg").write_bytes((folder / "b.jpg").read_bytes()[:300])
    (folder / "a.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"2 files cannot be read.*a\.png.*b\.jpg"):
        read_folder(folder, COLOUR, PLAIN)


def test_missing_captions_and_missing_images_are_named(folder):
    (folder / "b.txt").unlink()
    (folder / "a.txt").write_text(" \n")
    with pytest.raises(ValueError, match=r"2 files have no caption: a\.png, b\.jpg"):
        read_folder(folder, COLOUR, PLAIN)
    (folder / "captions.csv").write_text("file,caption\na.png,x\nghost.png,y\n")
    with pytest.raises(ValueError, match=r"not there: ghost\.png"):
        read_folder(folder, COLOUR, PLAIN)


def test_empty_and_absent_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image"):
        read_folder(tmp_path, COLOUR, PLAIN)
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_folder(tmp_path / "nowhere", COLOUR, PLAIN)


@pytest.mark.parametrize("line", ["{", "[1]", '{"file_name": "a.png"}', '{"text": "x"}', "3"])
def test_a_bad_line_of_metadata_is_named(tmp_path, line):
    path = tmp_path / "metadata.jsonl"
    path.write_text('{"file_name": "a.png", "text": "x"}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2"):
        parse_jsonl(path)


def test_wrong_columns_are_named(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("image;caption\na.png;x\n")
    with pytest.raises(ValueError, match="expected file and caption"):
        parse_csv(path)


@given(st.dictionaries(st.text("abc/é", min_size=1), st.text().filter(lambda t: "\r" not in t), min_size=1))
def test_jsonl_round_trip(tmp_path_factory, captions):
    path = tmp_path_factory.mktemp("jsonl") / "metadata.jsonl"
    rows = [json.dumps({"file_name": k, "text": v}) for k, v in captions.items()]
    path.write_text("\n".join(rows), encoding="utf-8")
    assert dict(parse_jsonl(path)) == {k: v.strip() for k, v in captions.items()}


def test_transparency_lies_on_white_and_rotation_is_undone(tmp_path):
    image(mode="RGBA", colour=(0, 0, 0, 0)).save(tmp_path / "clear.png")
    tall, tag = image(12, 8), Image.Exif()
    tag[0x0112] = 6  # turned by a quarter
    tall.save(tmp_path / "turned.jpg", exif=tag)
    for name in ("clear", "turned"):
        (tmp_path / f"{name}.txt").write_text(name)
    found = read_folder(tmp_path, COLOUR, PLAIN)
    assert (found.images[0] == 255).all()
    assert found.originals.tolist() == [[8, 12], [12, 8]]


def test_more_than_eight_bits_are_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "deep.txt").write_text("deep")
    with pytest.raises(ValueError, match=r"deep\.png.*8 bits"):
        read_folder(tmp_path, GREY, PLAIN)


def test_crops_are_what_their_frame_says():
    found = pictures(10, data=DataConfig(zoom=1.25))
    batch = found.draw(torch.arange(10).repeat(20), torch.Generator().manual_seed(0))
    assert batch.pixels.shape == (200, 1, 8, 8) and batch.pixels.abs().max() <= 1
    assert {tuple(c) for c in batch.frame[:, 2:].tolist()} == {(a, b) for a in range(3) for b in range(3)}
    for pixels, (height, width, top, left), row in zip(
        batch.pixels, batch.frame.int().tolist(), batch.rows, strict=True
    ):
        assert (height, width) == (10, 10)
        part = found.images[row][:, top : top + 8, left : left + 8]
        torch.testing.assert_close(pixels, part.float() / 127.5 - 1)


def test_shrunk_pictures_say_so_and_are_blurred():
    found = pictures(40, size=10, data=DataConfig(shrunk=0.5))
    batch = found.draw(torch.arange(40).repeat(5), torch.Generator().manual_seed(0), 0.5)
    half = batch.frame[:, 0] == 5
    assert 0.3 < half.float().mean() < 0.7 and set(batch.frame[:, 0].tolist()) == {5.0, 10.0}
    roughness = batch.pixels.diff(dim=-1).abs().mean((1, 2, 3))
    assert roughness[half].mean() < 0.6 * roughness[~half].mean()


def test_draws_depend_on_the_generator_alone():
    found = pictures(10, data=DataConfig(zoom=1.5))
    a, b = (found.draw(torch.arange(10), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a.pixels, b.pixels) and torch.equal(a.frame, b.frame)


def test_split_is_repeatable_disjoint_and_even():
    found = pictures(100)
    seen, held = found.split(0.2)
    assert (len(seen), len(held)) == (80, 20)
    assert set(Counter(held.captions).values()) == {2}
    whole = {x.numpy().tobytes() for x in found.images}
    parts = [{x.numpy().tobytes() for x in part.images} for part in (seen, held)]
    assert parts[0] | parts[1] == whole and not parts[0] & parts[1]
    assert found.split(0.2)[1].captions == held.captions
    with pytest.raises(ValueError, match="add pictures"):
        found.select([0]).split(0.1)


def test_typical_frame_is_the_centre():
    assert pictures(4, data=DataConfig(zoom=1.25)).typical() == (10.0, 10.0, 1.0, 1.0)


def test_digits():
    pytest.importorskip("sklearn")
    found = read_digits(GREY, PLAIN)
    assert len(found) == 1797 and found.captions[0] == "a handwritten zero"
    assert found.images[0].shape == (1, 8, 8) and found.originals[0].tolist() == [8, 8]
    from sklearn.datasets import load_digits

    back = torch.stack(found.images)[:, 0].float() * (16 / 255)
    np.testing.assert_allclose(back.numpy(), load_digits().images, atol=0.04)


def test_images_and_back():
    x = (torch.randint(256, (3, 3, 4, 5)) / 127.5 - 1).float()
    made = as_images(x)
    back = torch.stack([torch.from_numpy(np.array(m)).permute(2, 0, 1) for m in made]).float() / 127.5 - 1
    torch.testing.assert_close(back, x)
    assert as_images(x[:, :1])[0].mode == "L"


def test_grid():
    made = [Image.new("L", (2, 3), 50 * k) for k in range(5)]
    found = np.array(grid(made, 3, scale=2, gap=1))
    assert found.shape == (2 * 6 + 1, 3 * 4 + 2, 3)
    assert (found[:6, 5:9] == 50).all() and (found[7:, :4] == 150).all() and (found[6] == 128).all()
    with pytest.raises(ValueError, match="at least one"):
        grid([], 3)
