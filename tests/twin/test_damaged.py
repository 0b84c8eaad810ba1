"""A model folder that was cut, changed or made up is refused with a short ValueError, quickly; nothing
else ever comes out of it."""

import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgtwin.twin.model import load

from .. import damage
from ..damage import ODD, QUICK, changed, places
from .tiny import model


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return model().save_pretrained(tmp_path_factory.mktemp("whole"))


refused_or_read = partial(damage.refused_or_read, load)


@pytest.mark.parametrize("name", ["config.json", "statements.json"])
@QUICK
@given(data=st.data())
def test_changed_json(name, copy, data):
    folder = copy()
    tree = json.loads((folder / name).read_text())
    path = data.draw(st.sampled_from(places(tree)))
    (folder / name).write_text(json.dumps(changed(tree, path, data.draw(ODD))))
    refused_or_read(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "statements.safetensors"])
@QUICK
@given(data=st.data())
def test_cut_and_changed_tensors(name, copy, data):
    folder = copy()
    cut = damage.cut_or_changed(data, folder / name)
    assert not (refused_or_read(folder) and cut)


@pytest.mark.parametrize("name", ["config.json", "statements.json", "weights.safetensors", "statements.safetensors"])
def test_a_missing_or_empty_file_is_refused(name, copy):
    folder = copy()
    (folder / name).write_text("")
    assert not refused_or_read(folder)
    (folder / name).unlink()
    assert not refused_or_read(folder)


@pytest.mark.parametrize("name", ["config.json", "statements.json"])
def test_deep_json_is_refused(name, copy):
    folder = copy()
    (folder / name).write_text("[" * 200_000)
    assert not refused_or_read(folder)
    (folder / name).write_text('{"a":' * 5_000 + "1" + "}" * 5_000)
    assert not refused_or_read(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("denoiser", "depth"), 10**9),
        (("denoiser", "depth"), 1000),
        (("denoiser", "width"), 65_536),
        (("vae", "widths"), [8] * 100_000),
        (("vae", "groups"), 3),
        (("denoiser", "heads"), 5),
        (("diffusion", "steps"), 10**12),
        (("signal", "rate"), 0.0),
        (("text", "statements"), 0),
    ],
)
def test_sizes_that_no_machine_has_are_refused_at_once(path, value, copy):
    folder = copy()
    tree = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(changed(tree, ("model", *path), value)))
    assert not refused_or_read(folder)


def test_very_many_statements_are_refused_at_once(copy):
    folder = copy()
    tree = json.loads((folder / "statements.json").read_text())
    (folder / "statements.json").write_text(json.dumps(tree | {"statements": [f"s{k}" for k in range(200_000)]}))
    assert not refused_or_read(folder)


def test_weights_that_are_not_finite_are_refused(copy):
    from safetensors.numpy import load_file, save_file

    folder = copy()
    tensors = load_file(folder / "weights.safetensors")
    name = sorted(tensors)[0]
    save_file(
        tensors | {name: np.full_like(tensors[name], np.nan)}, folder / "weights.safetensors", metadata={"json": "{}"}
    )
    with pytest.raises(ValueError, match="not finite"):
        load(folder)


def test_a_whole_folder_loads(copy):
    assert refused_or_read(copy())
