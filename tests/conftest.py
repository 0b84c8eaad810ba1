"""Fixtures for all tests. Real recordings are not part of the project: tests that want them
skip where they are absent."""

import importlib.util
import os
import shutil
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many workers as cores: one thread each

import pytest

SHARED = Path(os.environ.get("ECGTWIN_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"no real recordings at {SHARED}; set ECGTWIN_TEST_DATA to a folder that holds ptbxl/")
    return SHARED


@pytest.fixture(scope="session")
def ptbxl(shared_data) -> Path:
    folder = shared_data / "ptbxl"
    if not (folder / "ptbxl_database.csv").is_file():
        pytest.skip(f"no PTB-XL folder at {folder}")
    return folder


@pytest.fixture(scope="session")
def simulated_store(tmp_path_factory):
    """A store of 40 simulated people with three ECGs each, to read only."""
    from .tiny_store import write_store

    return write_store(tmp_path_factory.mktemp("simulated") / "store", people=40)


@pytest.fixture(scope="session")
def loaded():
    """Loads a Python file that is in no package, such as a script, by its path from the project's root."""

    def load(path: str):
        place = Path(__file__).resolve().parents[1] / path
        spec = importlib.util.spec_from_file_location(place.stem, place)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def copy(whole, tmp_path):
    """Makes fresh copies of the folder that a test module's `whole` is, to damage."""

    def fresh() -> Path:
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        return shutil.copytree(whole, folder)

    return fresh
