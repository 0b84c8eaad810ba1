"""What the stages are trained on: recordings of stores, pairs in stated fractions, the bank of latents."""

import json
import math
import shutil
from functools import partial

import numpy as np
import pytest
import torch
import yaml

from ecgtwin.ecg.store import Store
from ecgtwin.ecg.store.recordings import Recordings, fitting
from ecgtwin.evaluation.evaluate import opened
from ecgtwin.text.table import StatementTable
from ecgtwin.train.batch import stream
from ecgtwin.train.checkpoint import load_tensors
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.strict import parse
from ecgtwin.training import latents as bank
from ecgtwin.training.base import BaseStage
from ecgtwin.training.config import Config, Pairing
from ecgtwin.training.held_out import thinned, validation
from ecgtwin.training.latents import Bank, third
from ecgtwin.training.pairing import Pairer
from ecgtwin.training.recipe import train
from ecgtwin.training.vae import VAEStage

from .. import tiny_store
from ..twin.tiny import STATEMENTS, Letters

SETTINGS = parse(Config, tiny_store.tree(), "tiny")
MAKE = partial(bank.changed, config=SETTINGS.train.bank)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Simulated people, and the same kind of people as if they were real."""
    folder = tmp_path_factory.mktemp("stores")
    made = [tiny_store.write_store(folder / "a", people=20), tiny_store.write_store(folder / "b", people=16, each=2)]
    flags = folder / "b" / "columns" / "flags.npy"
    synthetic = np.load(flags)
    np.save(flags, np.zeros_like(synthetic))
    return [made[0], Store.open(folder / "b")]


@pytest.fixture(scope="module")
def recordings(stores):
    return Recordings.of(stores)


@pytest.fixture(scope="module")
def filled(recordings, tmp_path_factory):
    return bank.fill(tmp_path_factory.mktemp("bank"), "key", recordings, shrunk, MAKE, (5, 8, 128), targets=2)


def shrunk(x):
    """A stand-in for the auto-encoder."""
    return x.unflatten(-1, (128, 8)).mean(-1)


def test_recordings_of_two_stores(stores, recordings):
    assert len(recordings) == 60 + 32 and recordings.simulated.sum() == 60
    place = 60 + 7
    assert recordings.statements(place) == stores[1].statements(7)
    assert stores[1].texts("name")[7] in recordings.name(place) and "row 7" in recordings.name(place)
    both = np.array([place, 3])
    assert (recordings.read(both)[0] == stores[1].read([7])[0]).all() and (
        recordings.read(both)[1] == stores[0].read([3])[0]
    ).all()
    assert not set(recordings.patient[:60]) & set(recordings.patient[60:])
    train, held = recordings.only("train"), recordings.only("validation")
    assert len(train) and len(held) and not set(train.patient) & set(held.patient)
    assert train.digest != recordings.digest != Recordings.of(stores[:1]).digest


def test_stores_that_do_not_fit_are_refused(stores, tmp_path):
    tiny_store.app(
        ["data", "simulate", str(tmp_path / "x"), "--people", "2", "--rate", "200", "--no-progress"],
        standalone_mode=False,
    )
    other = Store.open(tmp_path / "x")
    with pytest.raises(ValueError, match="2000 samples at 200 Hz"):
        Recordings.of([stores[0], other])
    with pytest.raises(ValueError, match="--rate 102.4 --seconds 10"):
        fitting(tmp_path / "x", 102.4, 1024)
    with opened(stores[0].folder, 102.4, 1024) as found:
        assert len(found) == 60


def test_pairs_come_in_the_stated_fractions(recordings):
    fractions = Pairing(real=0.5, same=0.2, simulated=0.3)
    a, b = Pairer(recordings, "train", fractions).draw(4000, stream(0))
    simulated = torch.from_numpy(recordings.simulated)[a]
    kinds = {"same": a == b, "simulated": (a != b) & simulated, "real": (a != b) & ~simulated}
    for name, mask in kinds.items():
        assert abs(mask.float().mean().item() - getattr(fractions, name)) < 0.03, name
    patient, split = torch.from_numpy(recordings.patient), torch.from_numpy(recordings.split.astype(int))
    assert (patient[a] == patient[b]).all() and (split[a] == 0).all() and (split[b] == 0).all()
    assert not simulated[a == b].any()  # real recordings where there are some
    again = Pairer(recordings, "train", fractions).draw(4000, stream(0))
    assert torch.equal(a, again[0]) and torch.equal(b, again[1])


def test_fractions_that_cannot_be_are_refused(stores):
    with pytest.raises(ValueError, match="sum of 1"):
        Pairing(real=0.5, same=0.2, simulated=0.2)
    alone = Recordings.of(stores[:1])
    with pytest.raises(ValueError, match=r"pairs.real is 0.5, but no real patient.*add a store"):
        Pairer(alone, "train", Pairing(real=0.5, same=0.5))
    assert Pairer.available(alone, "validation").simulated == 0.5
    with pytest.raises(ValueError, match="simulated"):
        VAEStage(changed("vae", simulated=0.5), Recordings.of(stores[1:]), accelerator_of(cpu=True))


def test_recording_weights_act_on_same_pairs(recordings):
    chosen = recordings.places("train", simulated=False)[:2]
    weight = torch.zeros(len(recordings))
    weight[torch.from_numpy(chosen)] = torch.tensor([1.0, 3.0])
    a, _ = Pairer(recordings, "train", Pairing(real=0.0, same=1.0), weight).draw(2000, stream(1))
    assert set(a.tolist()) == set(chosen.tolist()) and abs((a == chosen[1]).float().mean().item() - 0.75) < 0.05


def test_a_bank_holds_targets_and_views(recordings, filled):
    assert filled.latents.shape == (92, 5, 8, 128) and filled.targets == 2 and filled.views == 3
    x = recordings.millivolts(slice(0, 5))
    expected = shrunk(torch.from_numpy(x - np.median(x, -1, keepdims=True)))
    found = filled.target(torch.arange(5), torch.zeros(5, dtype=torch.long)).float()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)
    rates = filled.about
    assert (rates[:, 0] > 20).float().mean() > 0.95 and not torch.allclose(rates[:, 0], rates[:, 1])
    assert [third(k, 16) for k in (0, 5, 6, 10, 11, 15)] == [0, 0, 1, 1, 2, 2]


def test_a_bank_goes_on_where_it_was_stopped(recordings, filled, tmp_path):
    calls = []

    def failing(x):
        calls.append(len(x))
        if len(calls) == 4:  # a shard of 64 x 5 signals takes three calls
            raise KeyboardInterrupt
        return shrunk(x)

    with pytest.raises(KeyboardInterrupt):
        bank.fill(tmp_path, "key", recordings, failing, MAKE, (5, 8, 128), targets=2)
    assert Bank.open(tmp_path, "key") is None and [p.name for p in (tmp_path / "done").iterdir()] == ["0"]
    calls.clear()
    calls.extend([0] * 10)
    made = bank.fill(tmp_path, "key", recordings, failing, MAKE, (5, 8, 128), targets=2)
    assert sum(calls) == 28 * 5  # the second shard alone
    assert np.array_equal(made.latents, filled.latents) and torch.equal(
        made.about.nan_to_num(), filled.about.nan_to_num()
    )
    assert Bank.open(tmp_path, "other") is None
    other = bank.fill(tmp_path, "other", recordings, lambda x: 2 * shrunk(x), MAKE, (5, 8, 128), targets=2)
    assert np.allclose(other.latents[:3], 2 * filled.latents[:3], atol=1e-2)


def test_workers_and_processes_make_the_same_bank(recordings, filled, tmp_path):
    made = bank.fill(tmp_path / "w", "key", recordings, shrunk, MAKE, (5, 8, 128), targets=2, workers=1)
    assert np.array_equal(made.latents, filled.latents)
    bank.begin(tmp_path / "p", "key", filled.latents.shape, True)
    with pytest.raises(AssertionError):  # the second process finds no finished bank yet, having done its own share
        bank.fill(tmp_path / "p", "key", recordings, shrunk, MAKE, (5, 8, 128), targets=2, part=1, parts=2)
    assert [p.name for p in (tmp_path / "p" / "done").iterdir()] == ["64"]


def changed(stage, **settings):
    """The tiny configuration with settings of one stage changed."""
    return parse(Config, tiny_store.tree(**{stage: settings}), "tiny")


TABLE = StatementTable.build(STATEMENTS, Letters())


def test_views_of_one_recording_share_no_beat_and_one_condition_is_told(recordings, filled):
    stage = BaseStage(changed("base", batch=400), recordings, filled, TABLE, "vae", torch.device("cpu"))
    batch = stage.draw(stream(3))
    alone = batch.rows[0] == batch.rows[1]
    assert alone.any() and not alone.all()
    assert (
        (batch.kinds[0][alone] == 0).all()
        and (batch.kinds[1][alone] == 1).all()
        and (batch.kinds[0][~alone] == 2).all()
    )
    told = torch.stack([drop.condition for drop in batch.drops])
    assert told[:, alone].sum(0).max() == 1 and told[:, ~alone].float().mean() > 0.7
    loaded = stage.load(batch)
    assert loaded.latents[0].shape == (400, 8, 128) and stage.names(batch)[0].count("row") == 1 + (not alone[0])


def test_a_damaged_latent_stops_the_training_and_is_named(recordings, filled, tmp_path):
    """NaN in the latents of one recording: the message names it and the checkpoint stays."""
    settings = changed("base", steps=60, validate_every=1, pairs={"real": 0.0, "same": 1.0, "simulated": 0.0})
    bad = recordings.places("train", simulated=False)[5]
    latents = np.array(filled.latents)[:, :, :4]
    latents[bad] = math.nan
    damaged = Bank(latents, filled.about, filled.targets)
    accelerator = accelerator_of(cpu=True)
    with pytest.raises(FloatingPointError) as error:
        train(BaseStage(settings, recordings, damaged, TABLE, "vae", accelerator.device), tmp_path, accelerator)
    assert recordings.name(bad) in str(error.value) and "in step" in str(error.value) and "intact" in str(error.value)
    if (tmp_path / "last.safetensors").exists():
        assert all(t.isfinite().all() for t in load_tensors(tmp_path / "last.safetensors")[0].values())


def test_validation_keeps_patients_whole(recordings):
    held = validation(recordings).numpy()
    assert set(held) == set(recordings.places("validation", simulated=False))
    assert thinned(np.arange(10), 4).tolist() == [0, 3, 6, 9] and thinned(np.arange(3), 4).tolist() == [0, 1, 2]


def test_the_tiny_configuration_is_yaml(tmp_path):
    path = tiny_store.write_config(tmp_path / "tiny.yaml")
    assert yaml.safe_load(path.read_text()) == json.loads(json.dumps(tiny_store.tree()))
    shutil.rmtree(tmp_path)
