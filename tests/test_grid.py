"""The grid search over images, and what both searches over samplers refuse."""

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from .image import tiny

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
FIGURES = ["FID", "share not recognised"]


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name, *arguments):
    return CliRunner().invoke(script(name).app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.pipeline().save_pretrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 160)


def test_images_are_searched_and_drawn(model, pictures, tmp_path):
    axes = (
        "--sampler",
        "DDIM",
        "--sampler",
        "DPM-Solver++ 2M",
        "--steps",
        3,
        "--steps",
        2,
        "--guidance",
        1,
        "--guidance",
        4,
    )
    given = ("image", model, "--data", pictures, "--judge-steps", 5, "--most", 16, "--json")
    done = run("grid", *given, *axes, "--output", tmp_path / "a")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    cells = {(row["sampler"], row["steps"], row["guidance"]) for row in rows}
    assert cells == {(name, n, g) for name in ("DDIM", "DPM-Solver++ 2M") for n in (2, 3) for g in (1.0, 4.0)}
    fids = [row["figures"]["FID"] for row in rows]
    assert fids == sorted(fids) and fids[0] > 0
    assert all(list(row["figures"]) == FIGURES and 0 <= row["figures"][FIGURES[1]] <= 1 for row in rows)
    table = (tmp_path / "a" / "grid.md").read_text().splitlines()
    assert table[0] == "| sampler | steps | guidance | FID | share not recognised |" and rows[0]["sampler"] in table[2]
    assert Image.open(tmp_path / "a" / "grid.png").size[0] > 300
    one = (*given, "--sampler", "DDIM", "--steps", 2, "--guidance", 4)
    a, b = (json.loads(run("grid", *one, "--seed", seed, "--output", tmp_path / "b").stdout) for seed in (0, 5))
    assert a[0] in rows and b[0]["figures"]["FID"] != a[0]["figures"]["FID"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("grid", ("ecg", "--real", "{0}", "--output", "{0}/out"), "ptbxl_database.csv"),
        ("grid", ("ecg", "--real", "{0}", "--model", "{0}/nowhere", "--output", "{0}/out"), "nowhere"),
        ("grid", ("image", "{0}/nowhere", "--output", "{0}/out"), "no image model"),
        ("grid", ("image", "{0}/nowhere", "--sampler", "Magic", "--output", "{0}/out"), "UniPC 2"),
        ("bench_samplers_ecg", ("--real", "{0}", "--output", "{0}/out"), "ptbxl_database.csv"),
        ("bench_samplers_ecg", ("--real", "{0}", "--steps", "1"), "steps"),
    ],
)
def test_what_is_missing_is_named(name, arguments, words, tmp_path):
    done = run(name, *(a.format(tmp_path) for a in arguments))
    assert done.exit_code == 2 and words in done.output, done.output
    assert not (tmp_path / "out").exists()


def test_steps_below_one_are_refused(model, pictures, tmp_path):
    done = run(
        "grid", "image", model, "--data", pictures, "--judge-steps", 1, "--steps", 0, "--output", tmp_path / "out"
    )
    assert done.exit_code == 2 and "expected 1 or more" in done.output


@pytest.mark.parametrize("name", ["grid", "bench_samplers_ecg"])
def test_help_names_the_data(name):
    done = run(name, *(["ecg"] if name == "grid" else []), "--help")
    assert done.exit_code == 0 and "PTB-XL" in done.output
