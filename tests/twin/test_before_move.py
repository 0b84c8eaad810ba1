"""What the code computed before it was put into rooms: twins, bases, training losses, simulated ECGs.
Moving code changes none of it.

Numbers are kept of every 32nd sample. They are compared to float32 rounding, since processors and releases of
torch differ in the last bits. After a change of the arithmetic that is meant: `python -m
tests.twin.test_before_move` writes them again.
"""

import csv
import tempfile
from pathlib import Path

import numpy as np
import pytest

from ecgtwin import ECG, Condition, ECGTwin
from ecgtwin.ecg.datasets.source import Statements
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.ecg.store.collect import collect
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.text.table import StatementTable
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.strict import parse
from ecgtwin.training.config import Config
from ecgtwin.training.recipe import train_all
from ecgtwin.twin.request import Request

from .tiny import CONFIG, STATEMENTS, Letters

KEPT = Path(__file__).with_name("before_move.npz")
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}
STATES = ("sinus rhythm", "atrial fibrillation", "complete left bundle branch block", "inferior myocardial infarction")
WAVES = ((-0.17, 0.025, 0.12), (-0.025, 0.010, -0.10), (0.0, 0.012, 1.0), (0.025, 0.012, -0.25), (0.27, 0.055, 0.30))
"""Of a beat: seconds from R, width in seconds, mV."""


def drawn(person: int, heart_rate: float, statement: str = "sinus rhythm", rate: float = 250.0) -> ECG:
    """An ECG by formula, so that nothing here hangs on the simulator."""
    rng = np.random.default_rng(person)
    t = np.arange(int(10 * rate)) / rate
    beats = np.arange(0.3, 10.3, 60 / heart_rate)
    turn = rng.normal(1.0, 0.4, (8, len(WAVES)))
    signal = sum(
        turn[:, [k]] * size * np.exp(-0.5 * ((t - beats[:, None] - place) / width) ** 2).sum(0)
        for k, (place, width, size) in enumerate(WAVES)
    )
    age, sex = 30.0 + person, ("female", "male")[person % 2]
    return ECG(
        signal,
        rate,
        INDEPENDENT,
        patient=f"p{person}",
        sex=sex,
        age=age,
        reports=(statement,),
        name=f"p{person} {heart_rate}",
    )


def twins() -> dict[str, np.ndarray]:
    model = ECGTwin.from_pretrained(device="cpu")
    model.parts.vae.taps = None  # of the networks alone: equaliser and scales are tuned, not moved
    now, was = Condition("atrial fibrillation", "female", 63, 110), Condition("sinus rhythm", "female", 63, 72)
    reference = drawn(1, 72.0)
    found = {"base": model.base(reference, was)[0].numpy(), "base_free": model.base(reference)[0].numpy()}
    requests = [Request(model.base(reference, was)[0], now, seed) for seed in (3, 4)]
    ecgs = [
        model.as_ecg(x, now, reference, "") for x in model.sample(requests, steps=6, guidance=1.25, base_guidance=1.25)
    ]
    return found | {"twins": np.stack([e.signal[:, ::32] for e in ecgs]), "weights": np.array(model.parts.weights_hash)}


def simulated() -> dict[str, np.ndarray]:
    return {
        "simulated": np.stack([simulate(Person.draw(5 + k), s, seed=k).signal[:, ::32] for k, s in enumerate(STATES)])
    }


def losses(folder: Path) -> dict[str, np.ndarray]:
    """Of the first three steps of each stage, in a tiny configuration."""
    ecgs = [drawn(p, rate, s) for p in range(30) for rate, s in ((66.0, STATEMENTS[1]), (104.0, STATEMENTS[p % 4]))]
    store = collect(ecgs, folder / "store", statements=Statements(lambda line: (line,), STATEMENTS))
    recordings, table = Recordings.of([store]), StatementTable.build(STATEMENTS, Letters())
    plan = {"steps": 3, "batch": 8, "lr": 1.0e-3, "warmup": 1, "validate_every": 1}
    pairs = {"pairs": {"real": 0.5, "same": 0.5, "simulated": 0.0}}
    train = {"vae": plan, "base": plan | pairs, "denoiser": plan | pairs, "bank": {"targets": 2, "views": 3}}
    settings = parse(Config, {"model": CONFIG, "train": train}, "tiny")
    train_all(settings, recordings, table, folder, least=1, accelerator=accelerator_of(cpu=True))
    return {f"losses_{name}": logged(folder / name) for name in ("vae", "base", "denoiser")}


def logged(folder: Path) -> np.ndarray:
    with (folder / "losses.csv").open() as file:
        return np.array([float(row["value"]) for row in csv.DictReader(file) if row["figure"] == "loss"])


@pytest.fixture(scope="module")
def kept():
    with np.load(KEPT) as file:
        return dict(file)


def same(found: dict[str, np.ndarray], kept: dict[str, np.ndarray]) -> None:
    for name, values in found.items():
        np.testing.assert_allclose(values, kept[name], **TOLERANCE, err_msg=name)


def test_twins_and_bases_of_the_default_model_are_the_same(kept):
    found = twins()
    if found.pop("weights") != kept["weights"]:
        pytest.skip("the default model has other weights than those whose twins were kept")
    same(found, kept)


def test_simulated_ecgs_are_the_same(kept):
    same(simulated(), kept)


def test_training_losses_are_the_same(kept, tmp_path):
    same(losses(tmp_path), kept)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        np.savez_compressed(KEPT, **twins(), **simulated(), **losses(Path(folder)))
