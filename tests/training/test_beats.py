"""Stage 1 on canonical beats: what is drawn, what the output layer becomes, and that it trains, delivers and serves."""

import numpy as np
import pytest
import torch

from ecgtwin.ecg.canonical_beat import canonical_beat, period
from ecgtwin.ecg.simulate import STATES, Person, simulate
from ecgtwin.metrics.probe import probe
from ecgtwin.text.table import StatementTable
from ecgtwin.train.batch import stream
from ecgtwin.train.checkpoint import save_tensors
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.strict import parse
from ecgtwin.training.beat_pairs import BeatPairs, Item
from ecgtwin.training.beat_stage import base_stage
from ecgtwin.training.beat_views import OWN, OwnBeats, beat_views, beats_of, usable
from ecgtwin.training.config import BeatConfig, Config
from ecgtwin.training.denoiser import DenoiserStage
from ecgtwin.training.output_layer import beat_bases, deviations, eraser, finished, whitener
from ecgtwin.training.recipe import train
from ecgtwin.training.weights import load_base
from ecgtwin.twin import model as models
from ecgtwin.twin.base import BaseExtractor
from ecgtwin.twin.model import build_base, build_codec
from ecgtwin.twin.twin import ECGTwin

from .. import tiny_store
from ..twin.tiny import STATEMENTS, Letters

BEATS = {"views": 3, "constructed": 2}
BASE = {
    "pairs": {"real": 0.3, "same": 0.3, "constructed": 0.4},
    "grouped": 0.5,
    "group": 3,
    "spread": 0.5,
    "whiten": True,
    "erase": True,
}


def settings(**base) -> Config:
    tree = tiny_store.tree(base=BASE | base, denoiser={"pairs": {"real": 0.5, "same": 0.5}})
    extractor = {"sees": "beat", "condition": "none", "base": 12, "width": 8, "heads": 2}
    tree["model"] = tree["model"] | {"base": tree["model"]["base"] | extractor}
    tree["train"]["beats"] = BEATS
    return parse(Config, tree, "tiny")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Simulated people as if they were real, each with two ECGs."""
    return tiny_store.as_if_real(tmp_path_factory.mktemp("store") / "a", people=14, each=2)


@pytest.fixture(scope="module")
def bank(recordings, tmp_path_factory):
    torch.manual_seed(0)
    codec = build_codec(settings().model).eval()
    return beat_views(settings(), recordings, codec, "codec", tmp_path_factory.mktemp("beats"), accelerator_of(True))


def test_a_canonical_beat_knows_no_rate(recordings):
    assert period(102.4, 8) == 104 and period(500, 8) == 496
    x = recordings.millivolts(slice(0, 1))[0]
    beat = canonical_beat(x, 102.4, 104)
    assert beat.shape == (8, 104) and abs(int(np.abs(beat).sum(0).argmax()) - 40) <= 5
    louder = canonical_beat(2 * x, 102.4, 104)
    np.testing.assert_allclose(louder, 2 * beat, atol=1e-4)
    strip = np.tile(beat, 8)
    np.testing.assert_allclose(canonical_beat(strip, 102.4, 104), beat, atol=0.06)  # it is its own canonical beat
    with pytest.raises(ValueError, match="beats"):
        canonical_beat(np.zeros((8, 1024)), 102.4, 104)


def test_beats_are_the_own_and_the_persons_in_other_states(recordings):
    beats, about = beats_of(recordings, 0, config=BeatConfig(**BEATS), samples=104)
    assert beats.shape == (6, 8, 104) and beats.dtype == np.int16 and (about[:4] == OWN).all()
    assert all(np.isnan(a) or 0 <= a < len(STATES) for a in about[4:])
    again, _ = beats_of(recordings, 0, config=BeatConfig(**BEATS), samples=104)
    assert (beats == again).all()
    own = canonical_beat(recordings.millivolts(slice(0, 1))[0], 102.4, 104) * 1000
    assert np.abs(beats[0] - own).max() <= 1
    assert not (beats[1] == beats[0]).all()  # other beats, other electrodes


def test_pairs_share_the_person_and_groups_the_condition(recordings, bank):
    task = BeatPairs(recordings, bank, 3, settings().train.base)
    assert task.constructed and len(task.differences) == len(
        {p for p in task.patient[recordings.places("train")].tolist()}
    )
    batch = task.draw(stream(3))
    rows, kinds = batch.rows.numpy(), batch.kinds.numpy()
    assert rows.shape == (8, 2) and (task.patient[rows[:, 0]] == task.patient[rows[:, 1]]).all()
    assert (recordings.split[rows] == 0).all() and usable(bank)[rows].all()
    assert not ((rows[:, 0] == rows[:, 1]) & (kinds[:, 0] == kinds[:, 1])).any()
    assert bank.about[rows.ravel(), kinds.ravel()].isfinite().all()
    whole = settings(grouped=1.0, group=8)
    alike = BeatPairs(recordings, bank, 3, whole.train.base)
    first = alike.draw(stream(5))

    key = [
        alike.key[Item(int(r), int(k) if k > 3 else -1)]
        for r, k in zip(first.rows[:, 1], first.kinds[:, 1], strict=True)
    ]
    assert len(set(key)) < len(key)
    again = task.draw(stream(3))
    assert all(torch.equal(a, b) for a, b in zip(batch[:4], again[:4], strict=True))
    loaded = task.load(batch)
    assert loaded.latents.shape == (8, 2, 4, 14)
    plain = task.load(batch._replace(shifts=torch.zeros_like(batch.shifts)))
    torch.testing.assert_close(plain.latents[:, 1], bank.target(batch.rows[:, 1], batch.kinds[:, 1]).float())
    assert not torch.allclose(plain.latents, loaded.latents)


def test_an_eraser_leaves_nothing_to_a_straight_line():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    told = rng.random((3000, 2)) < 0.3
    x = rng.standard_normal((3000, 10)) + told @ rng.standard_normal((2, 10)) * 2
    matrix, offset = eraser(x, told.astype(float))
    y = x @ matrix.T + offset
    assert np.abs((y - y.mean(0)).T @ (told - told.mean(0))).max() / len(y) < 1e-9
    assert probe(x[:2000], told[:2000, 0], x[2000:], told[2000:, 0]).auroc > 0.8
    assert abs(probe(y[:2000], told[:2000, 0], y[2000:], told[2000:, 0]).auroc - 0.5) < 0.08
    assert np.abs(y - x).mean() < np.abs(x).mean()


def test_a_whitener_evens_out_what_one_person_does():
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(500), 3)
    x = np.repeat(rng.standard_normal((500, 4)), 3, 0) + rng.standard_normal((1500, 4)) * [3.0, 1.0, 0.5, 0.1]
    turn = whitener([deviations(x, owners)], shrinkage=0.0)
    after = deviations(x @ turn.T, owners)
    np.testing.assert_allclose(after.T @ after / len(after), np.eye(4), atol=1e-8)
    assert len(deviations(x[::3], owners[::3])) == 0
    with pytest.raises(ValueError, match="two beats"):
        whitener([x[:0]])


def test_the_output_layer_is_finished_without_changing_the_network(recordings, bank):
    torch.manual_seed(0)
    extractor: BaseExtractor = build_base(settings().model).eval()
    task = BeatPairs(recordings, bank, 3, settings().train.base)
    device, rows = torch.device("cpu"), torch.tensor([item.row for item in task.alone])
    before = beat_bases(extractor, bank, rows, device)
    done = finished(extractor, task, device)
    assert torch.equal(before, beat_bases(extractor, bank, rows, device))
    after = beat_bases(done, bank, rows, device)
    assert after.shape == before.shape and not torch.allclose(after, before)
    assert torch.equal(done.layers[0].mlp[0].weight, extractor.layers[0].mlp[0].weight)
    sex = np.array([recordings.sexes(int(r)) == "female" for r in rows])
    assert np.abs(after.double().numpy().T @ (sex - sex.mean())).max() / len(sex) < 1e-3 * after.abs().max()


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="sees: beat with condition: subtract"):
        tree = tiny_store.tree()
        tree["model"] = tree["model"] | {"base": tree["model"]["base"] | {"sees": "beat", "condition": "subtract"}}
        parse(Config, tree, "tiny")
    with pytest.raises(ValueError, match="train.base.grouped is for an extractor that sees beats"):
        parse(Config, tiny_store.tree(base={"grouped": 0.5}), "tiny")


def test_own_beats_say_where_there_is_none(bank):
    own = OwnBeats(bank, 3)
    z, there = own.view(torch.arange(4), torch.tensor([0, 3, 4, 7]))
    assert there.all() and torch.equal(z[2], bank.target(torch.tensor([2]), torch.tensor([0]))[0])


def test_it_trains_goes_on_and_serves(recordings, tmp_path):
    """Stage 1 on beats, the stage after it, and the model that reads a reference's beat."""
    plan = settings()
    table = StatementTable.build(STATEMENTS, Letters())
    torch.manual_seed(0)
    codec = build_codec(plan.model)
    save_tensors(
        tmp_path / "vae" / "weights.safetensors",
        codec.state_dict(),
        {"config": plan.model_dump(), "figures": {}, "inputs": {}},
    )
    vae, base = tmp_path / "vae" / "weights.safetensors", tmp_path / "base" / "weights.safetensors"
    here = accelerator_of(True)
    found = train(base_stage(plan, recordings, vae, table, base.parent, here), base.parent, here)
    assert 0 <= found["rank1"] <= 1 and 0 <= found["eer"] <= 1 and (tmp_path / "vae" / "beats" / "bank.json").is_file()
    denoiser = tmp_path / "denoiser"
    assert train(DenoiserStage.of(plan, recordings, vae, base, table, denoiser, here), denoiser, here)["held"] > 0
    parts = models.build(plan.model, table)
    parts.base.load_state_dict(load_base(base, table)[0].state_dict())
    parts.vae.load_state_dict(codec.state_dict())
    model = ECGTwin(parts)
    slow, fast = (simulate(Person.draw(1), "sinus rhythm", rate, seed=1) for rate in (60.0, 75.0))
    other = simulate(Person.draw(2), "sinus rhythm", 60.0, seed=1)
    a, b, c = model.seen(model.signals([slow, fast, other]))
    assert a.shape == (4, 14) and (a - b).norm() < 0.5 * (a - c).norm()
    assert model.base([slow, fast]).shape == (2, 12)
    with pytest.raises(ValueError, match="beats"):
        model.base_of(torch.zeros(1, 8, 1024))
