import pytest

from ecgtwin.image.config import CONFIGS as CONFIG_FOLDER
from ecgtwin.image.config import read_config
from ecgtwin.image.model import build, build_text
from ecgtwin.train.strict import read_yaml

CONFIGS = sorted(CONFIG_FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_configuration_parses_and_builds(path):
    model = read_config(path).model
    parts = build(model, build_text(model, ("a handwritten seven",)), (8.0, 8.0, 0.0, 0.0))
    assert (parts.refiner is not None) == (model.refiner is not None)


def test_there_are_configurations():
    assert len(CONFIGS) >= 4


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.denoiser.widht=3", ["model.denoiser.unet.widht", "did you mean 'width'"]),
        ("model.picture.sise=3", ["did you mean 'size'"]),
        ("train.denoiser.lr=1e-4", ["1.0e-4"]),
        ("model.picture.channels=2", ["channels"]),
        ("model.denoiser.kind=unett", ["unett"]),
        ("model.refiner={denoiser: {kind: dit}}", ["train.refiner"]),
        ("model.codec={kind: vae}", ["train.vae"]),
        ("data.held=0.0", ["held"]),
        ("steps", ["section.key=value"]),
        ("model.picture.size.x=3", ["not a section"]),
    ],
)
def test_a_mistake_is_named(override, words):
    with pytest.raises(ValueError) as error:
        read_config(next(p for p in CONFIGS if p.stem == "unet"), [override])
    for word in words:
        assert word in str(error.value)


def test_a_file_that_is_no_configuration(tmp_path):
    with pytest.raises(FileNotFoundError, match="no configuration"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="expected sections"):
        read_yaml(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1,\n")
    with pytest.raises(ValueError, match="not YAML"):
        read_yaml(tmp_path / "broken.yaml")
