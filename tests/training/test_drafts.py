"""Pairs with drafts: a training batch read back into beats, rates and people, and the bank that it comes from."""

import dataclasses

import numpy as np
import pytest
import torch

from ecgtwin import ECG, ECGTwin
from ecgtwin.ecg.datasets.source import Statements
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.store.collect import collect
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.nets import adapters
from ecgtwin.text.table import StatementTable
from ecgtwin.train.batch import stream
from ecgtwin.train.checkpoint import save_tensors
from ecgtwin.train.strict import parse
from ecgtwin.training import drafts as bank
from ecgtwin.training.album import KINDS
from ecgtwin.training.config import Config, DraftPairs, DraftsConfig
from ecgtwin.training.denoiser import DenoiserStage
from ecgtwin.training.drafts import DraftPairer
from ecgtwin.training.weights import begin_from
from ecgtwin.twin.condition import Conditions
from ecgtwin.twin.model import build_base, build_codec, build_denoiser
from ecgtwin.twin.rhythm import beat_track

from .. import tiny_store
from ..twin import tiny
from ..twin.tiny import CONFIG, STATEMENTS, Letters
from .fold import FOLD, decoded, encode

RATE, N = 102.4, 64
FRACTIONS = {"same": 0.2, "rate": 0.2, "real": 0.0, "simulated": 0.2, "constructed": 0.1, "expected": 0.1, "back": 0.2}
STATES = DraftsConfig(states=2)


@pytest.fixture(scope="module")
def recordings(simulated_store):
    found = Recordings.of([simulated_store])
    train, held = (np.unique(found.patient[found.places(split)]) for split in ("train", "validation"))
    return found.where(np.flatnonzero(np.isin(found.patient, [*train[:9], held[0]])))


@pytest.fixture(scope="module")
def filled(recordings, tmp_path_factory):
    return bank.fill(tmp_path_factory.mktemp("drafts") / "a", "key", recordings, encode, STATES)


@pytest.fixture(scope="module")
def stage(recordings, filled):
    told = {
        "drop_condition": 0.0,
        "drop_base": 0.0,
        "drop_field": 0.0,
        "drop_draft": 0.3,
        "drop_track": 0.0,
        "drop_person": 0.0,
    }
    tree = tiny_store.tree(denoiser=told | {"drafts": FRACTIONS})
    tree["model"] = CONFIG | {
        "vae": CONFIG["vae"] | {"latent": 8 * FOLD},
        "denoiser": CONFIG["denoiser"] | {"draft": True},
    }
    settings = parse(Config, tree, "tiny")
    table = StatementTable.build(STATEMENTS, Letters())
    torch.manual_seed(0)
    vae, base = build_codec(settings.model), build_base(settings.model).eval()
    return DenoiserStage(settings, recordings, filled, vae, base, table, torch.device("cpu"))


def peaks_of(track):
    """Seconds of the bumps of a beat track (K, L)."""
    whole = np.pad(track.sum(0).numpy(), 1)
    return np.flatnonzero((whole[1:-1] >= whole[:-2]) & (whole[1:-1] > whole[2:]) & (whole[1:-1] > 0.3)) / RATE


def slope(signal):
    return np.abs(np.gradient(signal, axis=-1)).sum(0)


def check_beats(target, draft, track):
    """The told beats are the R peaks of the target, and the draft's QRS complexes are where they are."""
    told, seen = peaks_of(track), r_peaks(target, RATE) / RATE
    assert len(told) >= 3
    inner = told[(told > 0.3) & (told < 9.7)]
    off = np.abs(inner[:, None] - seen[None]).min(1)
    near = np.abs(np.arange(draft.shape[-1]) / RATE - inner[:, None]).min(0) < 0.06
    return (off <= 0.06).mean(), slope(draft)[near].mean() / (slope(draft)[~near].mean() + 1e-9)


def test_a_batch_tells_the_beats_of_its_target_and_shows_the_reference_there(stage, filled, recordings):
    batch = stage.load(stage.drawn(stage.pairer, N, stream(3)))
    c, own = batch.conditions
    assert {KINDS[k] for k in filled.kind[batch.pair.numpy()]} == {k for k, f in FRACTIONS.items() if f}
    found = [check_beats(decoded(z), decoded(d), t) for z, d, t in zip(batch.latents[0], c.draft, c.track, strict=True)]
    hit, steeper = np.array(found).T
    assert hit.mean() > 0.97 and np.median(steeper) > 3
    assert (recordings.patient[batch.reference.numpy()] == recordings.patient[batch.target.numpy()]).all()
    config = stage.targets.config.heart_rate
    rate = c.tokens[:, 0, 0] * config.std + config.mean
    measured = np.array([60 / np.diff(peaks_of(t)).mean() for t in c.track])
    assert np.median(np.abs(rate.numpy() - measured) / measured) < 0.02
    assert c.keep_track.all() and 0.5 < c.keep_draft.float().mean() < 0.9
    assert len(own.tokens) == N and own.track is None and c.tokens.shape[1] <= len(STATEMENTS)


def test_a_pair_of_one_person_in_two_states_differs_where_the_state_does(stage, filled):
    """Back from a constructed bundle branch block: the draft has its wide QRS, the target the recording's own."""
    names = np.array([*filled.names, ""])
    left = (names[filled.statements] == "complete left bundle branch block").any(1)
    chosen = np.flatnonzero((filled.kind == KINDS.index("back")) & left[filled.reference])
    assert len(chosen)
    for k in chosen:
        assert filled.place[filled.reference[k]] == filled.place[filled.target[k]] and not left[filled.target[k]]
        v6, own = (decoded(torch.from_numpy(z.copy()))[7] for z in (filled.drafts[k], filled.latents[filled.target[k]]))
        assert np.corrcoef(v6, own)[0, 1] < 0.97


def test_an_expected_draft_is_nearer_to_its_target_than_the_recordings_beats(filled):
    """Of the same recording into the same state; the two are laid at the same times."""
    kind = {name: filled.kind == KINDS.index(name) for name in ("constructed", "expected")}
    apart: dict[str, list[float]] = {name: [] for name in kind}
    for k in np.flatnonzero(kind["expected"]):
        same = (filled.reference == filled.reference[k]) & (filled.target == filled.target[k])
        (other,) = np.flatnonzero(kind["constructed"] & same)
        target = decoded(torch.from_numpy(filled.latents[filled.target[k]].copy()))
        for name, row in (("expected", k), ("constructed", other)):
            draft = decoded(torch.from_numpy(filled.drafts[row].copy()))
            apart[name].append(float(np.sqrt(((draft - target) ** 2).mean())))
    assert len(apart["expected"]) >= 8
    assert np.median(np.array(apart["expected"]) / np.array(apart["constructed"])) < 0.85


def test_fractions_are_drawn_and_what_is_missing_is_named(filled, recordings):
    pairer = DraftPairer(filled, recordings, "train", DraftPairs(**FRACTIONS))
    kinds = filled.kind[pairer.draw(4000, stream(0)).numpy()]
    for name, fraction in FRACTIONS.items():
        assert abs((kinds == KINDS.index(name)).mean() - fraction) < 0.03
    with pytest.raises(
        ValueError, match=r"drafts.real is 0.08, but in split train no patient has two ECGs: set it to 0"
    ):
        DraftPairer(filled, recordings, "train", DraftPairs())
    with pytest.raises(ValueError, match="sum of 1"):
        DraftPairs(same=0.5)


def test_a_bank_goes_on_where_it_was_stopped(recordings, filled, tmp_path, monkeypatch):
    monkeypatch.setattr(bank, "PEOPLE", 3)
    few, calls = recordings.where(np.isin(recordings.patient, np.unique(recordings.patient)[-6:])), []

    def stops(signals):
        calls.append(len(signals))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(signals)

    kinds = ("same", "simulated")
    with pytest.raises(KeyboardInterrupt):
        bank.fill(tmp_path, "key", few, stops, STATES, kinds)
    assert bank.Drafts.open(tmp_path, "key") is None and len(list((tmp_path / "shards").iterdir())) == 1
    found = bank.fill(tmp_path, "key", few, encode, STATES, kinds)
    whole = bank.fill(tmp_path / "b", "key", few, encode, STATES, kinds)
    for field in dataclasses.fields(found):
        a, b = getattr(found, field.name), getattr(whole, field.name)
        assert a == b if field.name == "names" else np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), field.name
    assert len(found.drafts) == len(found.kind) and len(found.latents) == len(found.place) > 0
    assert bank.Drafts.open(tmp_path, "other") is None


@pytest.mark.parametrize("network", ["dit", "unet"])
def test_a_denoiser_begins_from_one_without_drafts_and_answers_the_same(network, tmp_path):
    body = {"network": network, "unet": {"widths": [8, 16], "attention": [1], "blocks": 1, "groups": 4}}
    model = tiny.model(CONFIG | {"denoiser": CONFIG["denoiser"] | body})
    model.save_pretrained(tmp_path / "model")
    config = model.config.model_copy(update={"denoiser": model.config.denoiser.model_copy(update={"draft": True})})
    drafted = build_denoiser(config).eval()
    begin_from(drafted, tmp_path / "model", "denoiser")
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    kept = torch.ones(2, dtype=torch.bool)
    c = Conditions(normal(2, 1, 15), kept[:, None], torch.ones(2, 3, dtype=torch.bool), normal(2, 8), kept, kept)
    with_draft = c._replace(track=normal(2, 3, 1024), draft=normal(2, 4, 128), keep_track=kept, keep_draft=kept)
    x, t = normal(2, 4, 128), torch.tensor([3, 40])
    with torch.no_grad():
        expected = model.parts.denoiser.eval()(x, t, c)
        assert torch.equal(drafted(x, t, c), drafted(x, t, with_draft))
        torch.testing.assert_close(drafted(x, t, with_draft), expected, rtol=1e-5, atol=1e-6)


def real(ptbxl, folder):
    """Five recordings of PTB-XL in sinus rhythm."""
    paths = sorted(p.with_suffix("") for p in (ptbxl / "records500" / "05000").glob("*.hea"))[:5]
    said = Statements(lambda line: (line,), ("sinus rhythm",))
    ecgs = [dataclasses.replace(ECG.read(p), patient=p.name, reports=("sinus rhythm",)) for p in paths]
    return Recordings.of([collect(ecgs, folder / "store", statements=said, shares=(0.98, 0.01, 0.01))])


def test_real_people_are_shown_in_other_states(ptbxl, tmp_path):
    """Through the shipped auto-encoder: what is told of a batch is in the ECGs that it decodes to."""
    model = ECGTwin.from_pretrained(device="cpu")
    recordings = real(ptbxl, tmp_path)
    codec = model.parts.vae

    @torch.no_grad()
    def encode(signals):
        return codec.encode(signals)

    found = bank.fill(tmp_path / "drafts", "key", recordings, encode, DraftsConfig())
    counts = np.bincount(found.kind, minlength=len(KINDS))
    assert all(counts[KINDS.index(k)] > 5 for k in ("same", "rate", "constructed", "expected", "back"))
    chosen = np.linspace(0, len(found.kind) - 1, 24).astype(int)
    with torch.no_grad():
        targets = codec.decode(torch.from_numpy(found.latents[found.target[chosen]]).float()).numpy()
        drafts = codec.decode(torch.from_numpy(found.drafts[chosen]).float()).numpy()
    tracks = [beat_track(found.beats(found.target[k]), RATE, 1024) for k in chosen]
    hit, steeper = np.array([check_beats(*row) for row in zip(targets, drafts, tracks, strict=True)]).T
    assert hit.mean() > 0.95 and np.median(steeper) > 3


def test_for_the_persons_of_others_an_adapter_learns_the_frozen_models_answer(stage, filled, recordings, tmp_path):
    tree = {k: stage.config[k] for k in ("model", "train")}
    plan = tree["train"]["denoiser"] | {"adapter": {"rank": 2, "targets": ["dit.*"]}, "preserve": 0.25, "batch": 16}
    settings = parse(Config, tree | {"train": tree["train"] | {"denoiser": plan}}, "tiny")
    mine = np.isin(recordings.patient, np.unique(recordings.patient)[:5])
    start = save_tensors(tmp_path / "start.safetensors", stage.network.state_dict(), {"config": stage.config})
    table = StatementTable.build(STATEMENTS, Letters())
    given = (filled, stage.vae, stage.base, table, torch.device("cpu"), start)
    own = DenoiserStage(settings, recordings, *given, own=mine)
    batch = own.draw(stream(5))
    assert batch.kept.tolist() == [False] * 12 + [True] * 4
    assert mine[batch.target.numpy()].tolist() == (~batch.kept).tolist()
    batches = [own.draw(stream(k)) for k in range(40)]
    shown = torch.cat([b.shown[b.kept, 1] for b in batches]), torch.cat([b.shown[~b.kept, 1] for b in batches])
    assert shown[0].all() and not shown[1].all()
    batch, network = own.load(batch), own.network.train()
    plain = own.losses(network, batch._replace(kept=None))[0].detach()
    first = own.losses(network, batch)[0].detach()
    assert torch.equal(first[:12], plain[:12]) and (plain > 0).all() and not first[12:].any()
    with torch.no_grad():
        for p in adapters.parameters(network, adapters.TRAINED):
            p.add_(0.3)
    moved = own.losses(network, batch)[0]
    assert (moved[12:] > 1e-6).all() and adapters.strengths(network) == {adapters.TRAINED: 1.0}
    moved[12:].sum().backward()
    assert any(p.grad.abs().sum() > 0 for p in adapters.parameters(network, adapters.TRAINED))
    with pytest.raises(ValueError, match="preserve is 0.25 and no other recordings"):
        DenoiserStage(settings, recordings, *given)
    with pytest.raises(ValueError, match="preserve is 0 and some other recordings"):
        DenoiserStage(parse(Config, tree, "tiny"), recordings, *given, own=mine)
