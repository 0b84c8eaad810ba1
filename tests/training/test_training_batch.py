"""A training batch of the denoiser, read back into words, numbers and people, as the network receives it.

The auto-encoder is replaced by a fold without loss, so that what is in a latent can be measured as an ECG; the people
are drawn by formula, so that it is known of each what they look like.
"""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from ecgtwin.ecg.datasets.source import Statements
from ecgtwin.ecg.rhythm import heart_rate, r_peaks
from ecgtwin.ecg.store.collect import collect
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.nets import adapters
from ecgtwin.text.table import StatementTable
from ecgtwin.train.batch import stream
from ecgtwin.train.checkpoint import save_tensors
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training
from ecgtwin.train.strict import parse
from ecgtwin.training import latents
from ecgtwin.training.config import Config
from ecgtwin.training.denoiser import DenoiserStage
from ecgtwin.twin.condition import Condition, stack
from ecgtwin.twin.model import build_base, build_codec

from .. import tiny_store
from ..twin.test_before_move import drawn
from ..twin.tiny import CONFIG, STATEMENTS, Letters
from .fold import FOLD, decoded, encode

RATE, N = 102.4, 48
QUIET = {"angle": 0.0, "shift": 0.0, "gain": 0.0}
DIFFUSION = CONFIG["diffusion"] | {"min_snr": 2.0}
TOLD = {"drop_condition": 0.0, "drop_base": 0.0, "drop_field": 0.0, "drop_own": 0.0}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch")
    tree = tiny_store.tree(denoiser=TOLD | {"pairs": {"real": 0.5, "same": 0.5, "simulated": 0.0}})
    tree["model"] = CONFIG | {"vae": CONFIG["vae"] | {"latent": 8 * FOLD}, "diffusion": DIFFUSION}
    tree["train"]["bank"] |= {"electrodes": QUIET, "wander": 0.0, "noise": 0.0, "targets": 3}
    settings = parse(Config, tree, "tiny")
    rates = ((66.0, STATEMENTS[1]), (84.0, STATEMENTS[0]))
    ecgs = [drawn(person, rate, said) for person in range(20) for rate, said in rates]
    store = collect(ecgs, folder / "store", statements=Statements(lambda line: (line,), STATEMENTS))
    recordings = Recordings.of([store])
    made = settings.train.bank
    make, shape = partial(latents.changed, config=made), (made.targets + made.views, 8 * FOLD, 1024 // FOLD)
    bank = latents.fill(folder / "bank", "key", recordings, encode, make, shape, targets=made.targets)
    table = StatementTable.build(STATEMENTS, Letters())
    torch.manual_seed(0)
    vae, base = build_codec(settings.model), build_base(settings.model).eval()
    return DenoiserStage(settings, recordings, bank, vae, base, table, torch.device("cpu"))


class Seen(nn.Module):
    """Remembers what a denoiser is given."""

    def forward(self, x, t, condition):
        self.condition = condition
        return torch.zeros_like(x)


@pytest.fixture(scope="module")
def batch(stage):
    return stage.load(stage.drawn(stage.pairer, N, stream(11)))


@pytest.fixture(scope="module")
def given(stage, batch):
    network = Seen()
    stage.losses(network, batch)
    return network.condition


def test_the_weights_of_noise_levels_act_in_training_and_not_in_validation(stage, batch):
    """min-SNR on v: min(SNR, gamma) / (SNR + 1)."""
    plain = stage.errors(Seen(), batch)
    alpha, sigma = stage.schedule.alpha_sigma(batch.level)
    ratio = (alpha / sigma) ** 2
    assert torch.allclose(stage.losses(Seen(), batch)[0], plain * ratio.clamp(max=2) / (ratio + 1), rtol=1e-4)


def person(stage, place):
    """Who a recording is of, by its name alone."""
    return int(stage.recordings.name(int(place)).split()[0].removeprefix("p"))


def test_the_heart_rate_told_is_that_of_the_target_and_the_words_fit_it(stage, batch, given):
    c, vectors = stage.targets.config, torch.from_numpy(stage.targets.embeddings.numpy())
    told = given.tokens[:, 0, 0] * c.heart_rate.std + c.heart_rate.mean
    measured = torch.tensor([heart_rate(decoded(z), RATE) or np.nan for z in batch.latents[0]])
    assert measured.isfinite().all() and (batch.kind > 0).sum() > N / 4
    assert ((told - measured).abs() / measured).max() < 0.05
    for k in range(N):
        said = {
            STATEMENTS[int((vectors - t).abs().sum(-1).argmin())] for t in given.tokens[k, given.mask[k], 3:] if t.any()
        }
        expected = set(stage.recordings.statements(int(batch.target[k])))
        if not 60 <= told[k] <= 100:
            expected -= {"sinus rhythm"}  # it would be called otherwise, by a statement that this table does not have
        assert said == expected


def test_sex_and_age_are_those_of_the_person_whose_ecg_is_the_target(stage, batch, given):
    c = stage.targets.config
    for k in range(N):
        who = person(stage, batch.target[k])
        assert who == person(stage, batch.reference[k])
        assert given.tokens[k, 0, 2] == (1.0 if drawn(who, 60.0).sex == "female" else -1.0)
        assert float(given.tokens[k, 0, 1]) * c.age.std + c.age.mean == pytest.approx(30 + who, abs=1e-3)
    assert given.known.all() and given.keep_condition.all() and given.keep_base.all()


def test_the_base_is_that_of_the_reference_under_its_own_condition(stage, batch, given):
    table = stage.targets
    place = {name: k for k, name in enumerate(STATEMENTS)}
    own = []
    for k in range(N):
        who, rate = person(stage, batch.reference[k]), float(stage.bank.view_rates[batch.reference[k], batch.view[k]])
        reports = stage.recordings.statements(int(batch.reference[k]))
        reports = [r for r in sorted(reports, key=place.__getitem__) if r != "sinus rhythm" or 60 <= rate <= 100]
        own.append(Condition(tuple(reports), drawn(who, 60.0).sex, 30 + who, rate))
    config = parse(Config, tiny_store.tree(), "tiny").model
    own = stack(own, lambda names: table.embeddings[[place[n] for n in names]].numpy(), config)
    with torch.no_grad():
        expected = stage.base(batch.latents[1].float(), own)
    torch.testing.assert_close(given.base, expected, atol=1e-4, rtol=1e-4)
    assert given.base.std(0).min() > 1e-4, "all references have one base"


def test_target_and_reference_look_like_the_person_they_are_of(stage, batch):
    def size(signal):
        return signal[:, r_peaks(signal, RATE)].mean(1)  # of R in each lead

    for k in range(0, N, 4):
        expected = size(drawn(person(stage, batch.target[k]), 60.0).resample(RATE).signal)
        for z in (batch.latents[0][k], batch.latents[1][k]):
            assert np.corrcoef(size(decoded(z)), expected)[0, 1] > 0.9


def test_an_adapter_alone_is_trained_and_its_file_fits_its_base(stage, tmp_path):
    tree = parse(Config, {k: stage.config[k] for k in ("model", "train")}, "tiny").model_dump()
    tree["train"]["denoiser"]["adapter"] = {"rank": 2, "targets": ["*attention*"]}
    settings = parse(Config, tree, "tiny")
    given = (settings, stage.recordings, stage.bank, stage.vae, stage.base, StatementTable.build(STATEMENTS, Letters()))
    start = save_tensors(tmp_path / "start.safetensors", stage.network.state_dict(), {"config": stage.config})
    with pytest.raises(ValueError, match="adapter without --start"):
        DenoiserStage(*given, torch.device("cpu"))
    own = DenoiserStage(*given, torch.device("cpu"), start)
    training = Training(own.network, own.plan, accelerator=accelerator_of(cpu=True))
    learned = sum(p.numel() for group in training.optimiser.param_groups for p in group["params"])
    whole = sum(p.numel() for p in own.network.parameters())
    assert 0 < learned == own.facts["parameters"] < 0.2 * whole and own.inputs["start"]
    meta = {"config": own.config, "figures": {}, "inputs": own.inputs}
    path = save_tensors(tmp_path / "site.safetensors", own.result(own.network), meta)
    assert adapters.load(stage.network, path) == "site"
    adapters.remove(stage.network, "site")


def test_only_recordings_of_given_names_are_used(stage):
    names = [stage.recordings.name(k).split(" (")[0] for k in (3, 5)]
    assert stage.recordings.named(names).rows.tolist() == stage.recordings.rows[[3, 5]].tolist()
    with pytest.raises(ValueError, match="1 of 3 names are of no usable recording, such as 'nobody'"):
        stage.recordings.named([*names, "nobody"])
