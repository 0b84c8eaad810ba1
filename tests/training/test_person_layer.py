"""The output layer that reads the median beat too: its closed form, whom it recognises, and that a model with it is
saved, loaded, asked and trained on like any other."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from typer.testing import CliRunner

from ecgtwin.ecg.beats import r_aligned, take
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.metrics.identity import identity
from ecgtwin.text.table import StatementTable
from ecgtwin.train.batch import stream
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.strict import parse
from ecgtwin.training.base import untrained
from ecgtwin.training.config import Config
from ecgtwin.training.denoiser import DenoiserStage
from ecgtwin.training.latents import views
from ecgtwin.training.output_layer import SHRINKAGE, deviations
from ecgtwin.training.person_layer import AMOUNT, Read, fitted, refit, with_person_layer
from ecgtwin.training.weights import load_base, load_vae
from ecgtwin.twin import model as models
from ecgtwin.twin.config import ModelConfig
from ecgtwin.twin.person_layer import (
    AHEAD,
    BEHIND,
    COMPLEX,
    POINTS,
    POWER,
    PersonLayer,
    aligned,
    curves,
    middle_of_qrs,
)
from ecgtwin.twin.twin import ECGTwin

from .. import tiny_store
from ..twin import tiny
from ..twin.tiny import CONFIG, STATEMENTS, Letters


def people(n: int, each: int, seed: int = 0) -> tuple[Read, np.ndarray]:
    """Made-up people: one half of what tells them apart is in the extractor's vector, the other in the beat,
    and in both there is a direction that is large and means nothing."""
    world, rng = np.random.default_rng(7), np.random.default_rng(seed)
    who, found = np.repeat(np.arange(n), each), []
    for width in (12, POINTS):
        ways = np.linalg.qr(world.standard_normal((width, 5)))[0].T  # 4 of the person, 1 of the day
        own = rng.standard_normal((n, 4))[who] + 0.6 * rng.standard_normal((len(who), 4))
        found.append([np.c_[own, 4 * rng.standard_normal((len(who), 1))] @ ways for _ in range(3)])
    (h, _, _), beats = torch.from_numpy(np.array(found[0])).float(), torch.from_numpy(np.array(found[1])).float()
    return Read(h + 0.01, h, beats.sign() * beats.abs() ** (1 / POWER)), who


def closed_form(x: np.ndarray, apart: list[np.ndarray], width: int) -> np.ndarray:
    """Another way to the same: axes.T within axes = 1."""
    within = sum(d.T @ d / len(d) for d in apart) / len(apart)
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    values, axes = eigh(np.cov(x.T), within)
    between = np.maximum(values - 1, 0)[-width:]
    found = (x - x.mean(0)) @ axes[:, -width:] * np.sqrt(between / (between + 1))
    return found / np.sqrt((found**2).sum(1).mean())


def test_the_layer_is_the_closed_form_that_it_says():
    read, who = people(60, 2)
    layer = fitted(read, who, components=(4, 3), width=12)
    told, untold = (x[:, :12].double().numpy() for x in read.of(layer.directions))
    whole, first, second = (layer.directions(read.untold, x)[:, 12:].double().numpy() for x in read.beats)
    both, alone = np.concatenate([told, untold]), np.tile(np.arange(len(who)), 2)
    beat = closed_form(whole, [deviations(whole, who), deviations(np.concatenate([first, second]), alone)], 7)
    kinds = [deviations(untold, who), deviations(told, who), deviations(both, alone)]
    network = AMOUNT * closed_form(both, kinds, 5)
    expected = np.concatenate([np.tile(beat, (2, 1)), network], 1)
    found = torch.cat(read.of(layer)).double().numpy()
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-3 * (expected**2).sum(1).max())


def test_people_are_recognised_by_what_a_day_does_not_change():
    read, who = people(150, 2)
    layer = fitted(read, who, components=(5, 5), width=14)
    new, others = people(100, 2, seed=1)
    rank = {
        name: identity(x.numpy(), others).rank1
        for name, x in (
            ("h", new.untold),
            ("beat", new.beats[0]),
            ("both", layer(new.untold, new.beats[0]).detach()),
        )
    }
    assert rank["both"] > 1.5 * max(rank["h"], rank["beat"]), rank


def test_the_middle_of_qrs_stays_where_another_peak_is_taken_for_r():
    signal = tiny.reference().resample(102.4).select(INDEPENDENT).signal
    _, beat = take(signal, 102.4)
    other = replace(beat, before=beat.before + 0.03)
    assert middle_of_qrs(other) == pytest.approx(middle_of_qrs(beat) - 0.03, abs=0.002)


def test_a_beat_is_read_alike_at_another_rate():
    person = Person.draw(3)
    slow, fast = (
        simulate(person, "sinus rhythm", rate, seed=1).resample(102.4).select(INDEPENDENT).signal for rate in (60, 95)
    )

    def apart(read) -> float:
        a, b = read(slow, 102.4), read(fast, 102.4)
        return np.square(a - b)[:, -len(BEHIND) :].mean()

    grid = np.concatenate([AHEAD, COMPLEX, BEHIND])
    assert apart(aligned) < 0.5 * apart(lambda signal, rate: r_aligned(signal, rate, grid))


def test_curvature_is_that_of_the_qrs_complex_alone():
    beats = torch.randn(2, POINTS)
    around = beats.unflatten(-1, (8, -1)).clone()
    around[..., : len(AHEAD)] = 0
    around[..., -len(BEHIND) :] = 0
    expected = np.diff(around[..., len(AHEAD) : -len(BEHIND)].numpy(), n=2)
    np.testing.assert_allclose(curves(beats).unflatten(-1, (8, -1)), expected, rtol=1e-5, atol=1e-6)


def test_a_refitted_layer_is_exact_where_there_is_an_exact_one():
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    true, found = torch.nn.Linear(6, 9), torch.nn.Linear(6, 9)
    refit(found, [x[:100], x[100:]], [true(x[:100]).detach(), true(x[100:]).detach()])
    torch.testing.assert_close(found(x), true(x), atol=1e-4, rtol=1e-3)


def test_a_recording_without_a_beat_counts_as_a_mean_one():
    layer = PersonLayer(4, 8, 3, 5)
    h = torch.randn(2, 4)
    found = layer.directions(h, layer.beats_of(np.zeros((2, 8, 1024), np.float32), 102.4))
    assert found.isfinite().all() and (found[:, 4:] == 0).all() and (found[:, :4] != 0).any()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Simulated people as if they were real, each with two ECGs."""
    return tiny_store.as_if_real(tmp_path_factory.mktemp("store") / "a", people=24, each=2)


@pytest.fixture(scope="module")
def folders(recordings, tmp_path_factory):
    """A tiny model, and the same with such a layer, by the script's own steps."""
    place = tmp_path_factory.mktemp("models")
    plain = tiny.model()
    plain.save_pretrained(place / "plain")
    parts, figures = with_person_layer(plain, recordings, components=(4, 3))
    models.save(parts, place / "layered")
    return place, parts, figures


def test_a_model_with_it_is_saved_loaded_and_asked(folders):
    place, parts, figures = folders
    assert {"rank1", "old_rank1", "eer_free", "explained", "explained_free"} <= set(figures)
    plain, layered = (ECGTwin.from_pretrained(place / name, device="cpu") for name in ("plain", "layered"))
    assert plain.config.base.beat == 0 and layered.config.base.beat == 4 and layered.config.base.curvature == 3
    reference = tiny.reference()
    found = layered.base(reference)
    assert found.shape == (1, 8) and not torch.allclose(found, plain.base(reference))
    torch.testing.assert_close(found, ECGTwin(parts).base(reference))
    # The network reads the new vector much as it read the old one.
    answers = [
        m.parts.denoiser.base(torch.nn.functional.normalize(m.base(reference)) * 8**0.5) for m in (plain, layered)
    ]
    assert torch.nn.functional.cosine_similarity(*answers) > 0.5
    flat = layered.base_of(torch.zeros(1, 8, 1024))
    assert flat.isfinite().all()
    with pytest.raises(ValueError, match="reads beats already"):
        with_person_layer(layered, None)


def test_folders_of_before_load_as_they_were(folders):
    place, _, _ = folders
    path = place / "plain" / "config.json"
    tree = json.loads(path.read_text())
    del tree["model"]["base"]["beat"]
    path.write_text(json.dumps(tree))
    assert ECGTwin.from_pretrained(place / "plain", device="cpu").config.base.beat == 0


def test_a_denoiser_trains_on_its_base_vectors(folders, recordings, tmp_path):
    place, _, _ = folders
    tree = tiny_store.tree(denoiser={"pairs": {"real": 0.5, "same": 0.5, "simulated": 0.0}})
    tree["model"] = CONFIG | {"base": CONFIG["base"] | {"beat": 4, "curvature": 3}}
    settings = parse(Config, tree, "tiny")
    codec, key = load_vae(place / "layered")
    extractor, _ = load_base(place / "layered")
    bank = views(settings, recordings, codec, key, tmp_path / "bank", accelerator_of(True))
    table = StatementTable.build(STATEMENTS, Letters())
    stage = DenoiserStage(settings, recordings, bank, codec, extractor, table, torch.device("cpu"))
    batch = stage.load(stage.draw(stream(0, 1)))
    assert batch.beats.shape == (8, POINTS) and batch.beats.any()
    signals = codec.decode(batch.latents[1].float()).numpy()
    torch.testing.assert_close(batch.beats, extractor.beats_of(signals, 102.4), atol=2e-3, rtol=2e-3)
    losses, _ = stage.losses(stage.network, batch)
    assert losses.isfinite().all()
    with pytest.raises(ValueError, match="give those of"):
        stage.losses(stage.network, batch._replace(beats=None))
    with pytest.raises(ValueError, match="add_person_layer"):
        untrained(settings)


def test_the_script_says_what_it_cannot_do(folders, loaded):
    place, _, _ = folders
    app = loaded("scripts/add_person_layer.py").app
    told = CliRunner().invoke(app, [str(place / "plain"), str(place), str(place / "plain")])
    assert told.exit_code != 0 and "a folder of its own" in told.output


@pytest.mark.parametrize("alone", ["beat", "curvature"])
def test_beat_and_curvature_go_together(alone):
    with pytest.raises(ValueError, match="expected components of both"):
        parse(ModelConfig, CONFIG | {"base": CONFIG["base"] | {alone: 4}}, "tiny")


def test_an_extractor_of_beats_takes_no_second_beat():
    tree = CONFIG | {"base": CONFIG["base"] | {"sees": "beat", "condition": "none", "beat": 4, "curvature": 4}}
    with pytest.raises(ValueError, match="reads the beat already"):
        parse(ModelConfig, tree, "tiny")
