from pathlib import Path

import pytest
import torch

from ecgtwin.diffusion.schedule import Flow, build_schedule, linear
from ecgtwin.image import upsampling
from ecgtwin.nets.vae import parameters
from ecgtwin.train.diffusion import DiffusionConfig
from ecgtwin.train.strict import parse
from ecgtwin.training import cascade, control
from ecgtwin.training.config import read_config
from ecgtwin.twin.model import build_base, build_codec, build_denoiser, build_vae

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_paper_has_the_published_sizes():
    config = read_config(CONFIGS / "paper.yaml").model
    sizes = [parameters(f(config)) / 1e6 for f in (build_vae, build_base, build_denoiser)]
    assert [round(s, 2) for s in sizes] == [29.55, 3.36, 10.54]


@pytest.mark.parametrize("name", ["base", "paper", "small"])
def test_every_configuration_builds(name):
    config = read_config(CONFIGS / f"{name}.yaml").model
    for build in (build_codec, build_base, build_denoiser):
        assert build(config) is not None
    assert build_schedule(config.diffusion).noisiest == config.diffusion.steps - 1


READERS = {
    "cascade": cascade.read_settings,
    "cascade_image": upsampling.read_settings,
    "control": control.read_settings,
}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_has_a_reader_and_is_read(path):
    if path.stem in READERS:
        assert READERS[path.stem](path, []) is not None
    else:
        assert path.stem in ("base", "paper", "small") or path.stem.startswith("distill")  # tests of their own


def test_overrides():
    config = read_config(CONFIGS / "small.yaml", ["train.denoiser.steps=7", "model.denoiser.inject=cross"])
    assert config.train.denoiser.steps == 7 and config.model.denoiser.inject == "cross"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.denoiser.step=7", "did you mean 'steps'"),
        ("model.denoiser.dpeth=7", "did you mean 'depth'"),
        ("train.denoiser.lr=1e-4", "write 1.0e-4"),
        ("train.denoiser.steps=few", "train.denoiser.steps"),
        ("model.denoiser.inject=magic", "'adax'"),
        ("nonsense", "section.key=value"),
    ],
)
def test_mistakes_are_named(override, message):
    with pytest.raises(ValueError, match=message):
        read_config(CONFIGS / "small.yaml", [override])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.yaml"):
        read_config(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("diffusion", "message"),
    [
        ({"schedule": "cosine", "start": 0.001}, "start with schedule cosine"),
        ({"schedule": "flow", "end": 0.01}, "end with schedule flow"),
        ({"zero_terminal": True, "prediction": "eps"}, "pure noise"),
        ({"schedule": "flow", "zero_terminal": True, "prediction": "flow"}, "leave it out"),
        ({"schedule": "flow", "prediction": "eps"}, "predict flow, v or x0"),
        ({"steps": 10**9}, "steps"),
        ({"schedule": "linear", "start": 1.5}, "start"),
        ({"min_snr": -1.0}, "min_snr"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(diffusion, message):
    with pytest.raises(ValueError, match=message):
        parse(DiffusionConfig, diffusion, "test")


def test_what_a_schedule_is_told_is_followed():
    paper = read_config(CONFIGS / "paper.yaml").model.diffusion
    assert torch.equal(build_schedule(paper).alpha_bar, linear(1000, 0.00085, 0.012).alpha_bar)
    assert torch.equal(build_schedule(parse(DiffusionConfig, {"schedule": "linear"}, "")).alpha_bar, linear().alpha_bar)
    assert build_schedule(parse(DiffusionConfig, {"zero_terminal": True}, "")).level(999).alpha == 0
    assert build_schedule(parse(DiffusionConfig, {"schedule": "flow", "prediction": "flow"}, "")) == Flow(1000)
