"""What tests of several commands use: a folder with a tiny model, and people to answer."""

import pytest

from ..twin.tiny import model, reference


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A model folder, to read only."""
    return model().save_pretrained(tmp_path_factory.mktemp("model"))


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "patient.hea"
    reference().write(path)
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A folder with the records p1 to p3."""
    place = tmp_path_factory.mktemp("people")
    for k in (1, 2, 3):
        reference(k).write(place / f"p{k}.hea")
    return place
