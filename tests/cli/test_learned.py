"""Files that trainings beside a model leave, on the command line: learned statements and words, classifiers."""

import json

import pytest
import torch
from typer.testing import CliRunner

from ecgtwin import ECG
from ecgtwin.cli import app
from ecgtwin.image.pipeline import ImagePipeline
from ecgtwin.image.subject import save_word, teach
from ecgtwin.nets import adapters
from ecgtwin.nets.noisy import NoisyClassifier
from ecgtwin.train.checkpoint import save_tensors
from ecgtwin.twin import subject

from ..image.tiny import CAPTIONS, pipeline
from ..twin import tiny

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, [str(a) for a in arguments])


def classifier(path, channels, names, dims, space):
    torch.manual_seed(0)
    network = NoisyClassifier(channels, names, (8,), dims=dims, exclusive=dims == 2)
    return save_tensors(path, network.state_dict(), {"config": {"classifier": network.facts | {"space": space}}})


@pytest.fixture(scope="module")
def ecgs(tmp_path_factory):
    folder, twin = tmp_path_factory.mktemp("ecgs"), tiny.model()
    twin.save_pretrained(folder / "model")
    tiny.reference().write(folder / "patient.hea")
    subject.save(folder / "a.safetensors", "patient A", torch.ones(12), adapters.fingerprint(twin.parts.denoiser))
    classifier(folder / "c.safetensors", 4, ["atrial fibrillation"], 1, twin.latent_space)
    return folder


def drawn(ecgs, output, *more):
    base = ["generate", ecgs / "patient.hea", "--model", ecgs / "model", "--steps", 2, "--format", "npz"]
    done = run(*base, "--report", "AFIB", "--heart-rate", 70, "--output", output, *more)
    assert done.exit_code == 0, done.output
    return ECG.read(output / "twin_000.npz").signal, json.loads((output / "twins.json").read_text())


def test_a_learned_statement_and_a_classifier_reach_a_twin(ecgs, tmp_path):
    plain, _ = drawn(ecgs, tmp_path / "plain")
    taught, told = drawn(ecgs, tmp_path / "taught", "--report", "patient A", "--learned", ecgs / "a.safetensors")
    guided, options = drawn(ecgs, tmp_path / "guided", "--classifier", f"{ecgs / 'c.safetensors'}=5000")
    assert "patient A" in told["condition"]["reports"] and options["options"]["walk"]["classifier"][1] == 5000
    assert abs(taught - plain).max() > 1e-4 and abs(guided - plain).max() > 1e-4
    for wrong, what in (
        (["--classifier", "c.safetensors"], "FILE=SCALE"),
        (["--learned", ecgs / "c.safetensors"], "not a"),
    ):
        done = run("generate", ecgs / "patient.hea", "--model", ecgs / "model", "--output", tmp_path / "x", *wrong)
        assert done.exit_code == 2 and what in " ".join(done.output.split())


def test_a_learned_word_and_a_classifier_reach_an_image(tmp_path):
    p = pipeline()
    p.save_pretrained(tmp_path / "model")
    classifier(tmp_path / "c.safetensors", 1, list(CAPTIONS), 2, adapters.fingerprint(p.codec))
    teach(p, ["tilted"], torch.ones(1, 16))
    save_word(tmp_path / "tilted.safetensors", p, "tilted")
    made = {}
    for name, caption, more in (
        ("plain", CAPTIONS[7], []),
        ("guided", CAPTIONS[7], ["--classifier", f"{tmp_path / 'c.safetensors'}=3"]),
        ("taught", "a tilted seven", ["--learned", tmp_path / "tilted.safetensors"]),
    ):
        done = run("image", "generate", tmp_path / "model", caption, "--steps", 3, "--output", tmp_path / name, *more)
        assert done.exit_code == 0, done.output
        made[name] = (tmp_path / name / "grid.png").read_bytes()
    assert len(set(made.values())) == 3
    assert "tilted" not in ImagePipeline.from_pretrained(tmp_path / "model").text.names
