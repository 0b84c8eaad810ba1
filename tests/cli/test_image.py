import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from ecgtwin.cli import app as whole
from ecgtwin.cli.image import app

from ..image.tiny import CAPTIONS, pipeline, write_pictures

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, [str(a) for a in arguments])


def run_whole(*arguments):
    return RUNNER.invoke(whole, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return pipeline().save_pretrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures in a folder, captioned by a table."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), 160)


def test_generate_writes_images_grid_and_sidecar(model, tmp_path):
    result = run(
        "generate", model, CAPTIONS[7], CAPTIONS[2], "-n", 2, "--steps", 2, "--seed", 4, "--output", tmp_path, "--json"
    )
    assert result.exit_code == 0, result.output
    sidecar = json.loads((tmp_path / "images.json").read_text())
    assert json.loads(result.stdout) == sidecar
    assert [(row["caption"], row["seed"]) for row in sidecar["images"]] == [
        (CAPTIONS[k], s) for k in (7, 2) for s in (4, 5)
    ]
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == sorted(["grid.png", "images.json", *(row["file"] for row in sidecar["images"])])
    assert Image.open(tmp_path / sidecar["images"][0]["file"]).size == (8, 8)


def test_a_folder_with_another_run_is_refused_or_replaced(model, tmp_path):
    assert run("generate", model, CAPTIONS[7], "-n", 2, "--steps", 1, "--output", tmp_path).exit_code == 0
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    again = ("generate", model, CAPTIONS[2], "--steps", 1, "--output", tmp_path)
    refused = run(*again)
    assert refused.exit_code == 2 and "holds another run" in refused.output
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert run(*again, "--overwrite").exit_code == 0
    (row,) = json.loads((tmp_path / "images.json").read_text())["images"]
    assert {p.name for p in tmp_path.iterdir()} == {"grid.png", "images.json", row["file"]}


@pytest.mark.parametrize(
    ("command", "more"), [("fill", ("--box", "0,0,4,8")), ("vary", ("--strength", "0.3"))], ids=["fill", "vary"]
)
def test_pictures_filled_in_and_varied_come_with_grid_and_sidecar(command, more, model, folder, tmp_path):
    output = tmp_path / "out"
    wanted = (command, model, folder / "7.png", CAPTIONS[7], *more, "-n", 2, "--steps", 2, "--seed", 5)
    result = run_whole("image", *wanted, "--output", output)
    assert result.exit_code == 0, result.output
    sidecar = json.loads((output / "images.json").read_text())
    assert [row["seed"] for row in sidecar["images"]] == [5, 6] and sidecar["settings"]["steps"] == 2
    assert {p.name for p in output.iterdir()} == {"grid.png", "images.json", *(r["file"] for r in sidecar["images"])}
    again = run_whole("image", *wanted, "--output", output)
    assert again.exit_code == 2 and "holds another run" in again.output


def test_the_same_seed_writes_the_same_bytes(model, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert (
            run("generate", model, CAPTIONS[7], "--steps", 2, "--seed", seed, "--output", tmp_path / name).exit_code
            == 0
        )
    a, b, c = ((tmp_path / n / "grid.png").read_bytes() for n in "abc")
    assert a == b != c


def test_size_crop_and_solver_act(model, tmp_path):
    options = {"plain": (), "size": ("--size", 5, 5), "crop": ("--crop", 0, 2), "solver": ("--solver", "heun")}
    for name, more in options.items():
        done = run("generate", model, CAPTIONS[7], "--steps", 3, "--output", tmp_path / name, *more)
        assert done.exit_code == 0, done.output
    assert len({(tmp_path / name / "grid.png").read_bytes() for name in options}) == len(options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a handwritten sevn",), ["seven"]),
        ((CAPTIONS[7], "--steps", "0"), ["steps"]),
        ((CAPTIONS[7], "--solver", "magic"), ["magic"]),
    ],
)
def test_bad_input_is_refused(arguments, words, model, tmp_path):
    result = run("generate", model, *arguments, "--output", tmp_path / "out")
    assert result.exit_code == 2 and not (tmp_path / "out").exists()
    for word in words:
        assert word in result.output


def test_a_missing_model_is_refused(tmp_path):
    result = run("generate", tmp_path / "nowhere", CAPTIONS[7])
    assert result.exit_code == 2 and "no image model" in result.output


def test_train_then_evaluate_on_a_folder(folder, tmp_path):
    tiny = (
        "model.denoiser.widths=[8, 8]",
        "model.denoiser.heads=2",
        "model.denoiser.groups=4",
        "model.denoiser.width=16",
    )
    short = ("train.denoiser.steps=2", "train.denoiser.batch=4")
    overrides = [part for item in (*tiny, *short) for part in ("--set", item)]
    result = run("train", "--data", folder, "--output", tmp_path, *overrides)
    assert result.exit_code == 0, result.output
    result = run(
        "evaluate",
        tmp_path / "model",
        "--data",
        folder,
        "--steps",
        2,
        "--judge-steps",
        20,
        "--output",
        tmp_path / "figures.json",
    )
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["images"] == 32 and figures["training"] == 128
    assert figures["recognised"] <= 1 and figures["model"]["stages"]["denoiser"]["steps"] == 2


def test_train_refuses_what_is_not_there(tmp_path):
    result = run("train", "--data", tmp_path / "nowhere", "--output", tmp_path / "out")
    assert result.exit_code == 2 and "no folder" in result.output
    result = run("train", "--set", "data.zom=2.0", "--output", tmp_path / "out")
    assert result.exit_code == 2 and "zoom" in result.output
    assert not (tmp_path / "out").exists()
