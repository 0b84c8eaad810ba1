"""The stage to 500 Hz: its pool of pairs, and its script, from recordings at 500 Hz to a folder that upsamples."""

import numpy as np
import torch
import yaml

from ecgtwin.cli import app
from ecgtwin.ecg.record import resample
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.ecg.store.store import Store
from ecgtwin.train.strict import parse
from ecgtwin.training.cascade import CascadeTraining, ECGPool, SpikesConfig, calibrated, with_spikes
from ecgtwin.twin.upsampling import Upsampler, UpsamplerConfig, joined, low

from ..twin import tiny

NETWORK = {"width": 16, "widths": [8, 8], "heads": 2, "groups": 4}
PLAN = {"steps": 4, "batch": 4, "lr": 1.0e-3, "warmup": 1, "validate_every": 2, "chunk": 256}


def test_pairs_are_a_residual_and_what_its_own_ecg_at_the_lower_rate_shows():
    config, plan = UpsamplerConfig(), parse(CascadeTraining, PLAN, "test")
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(0, 0.02, (3, 8, 5000)), -1).astype(np.float32)
    x -= np.median(x, -1, keepdims=True)
    pool = ECGPool(x, ["a", "b", "c"], tiny.model().parts.vae, config, plan)
    chosen = pool.draw(64, torch.Generator().manual_seed(0))
    assert set(chosen[:, 0].tolist()) == {0, 1, 2} and set(chosen[:, 1].tolist()) == {0, 1}
    assert 0 <= chosen[:, 2].min() and chosen[:, 2].max() <= 5000 - 256
    fine = pool.load(torch.tensor([[1, 0, 1000], [1, 1, 1000]]))
    assert fine.x0.shape == (2, 8, 256) and fine.coarse.shape == (2, 16, 256)
    assert torch.equal(fine.x0[0], fine.x0[1]) and not torch.allclose(fine.coarse[0], fine.coarse[1], atol=0.1)
    coarse = resample(resample(x[1], 128, 625), 625, 128)[:, :5000]
    back = joined(coarse, pool.fine[1], config)[:, 1000:1256]
    # Float16 keeps three digits, and below the crossover the two rates agree.
    assert np.abs(back - x[1][:, 1000:1256]).max() < 0.02 * np.abs(x[1] - low(x[1], 40, config)).max()
    assert pool.name(chosen[0]) in "abc"


def test_spikes_are_added_before_regular_beats_and_nothing_else_changes():
    x = np.zeros((4, 8, 5000), np.float32)
    made = with_spikes(x, SpikesConfig(heights=(1.0, 1.0)), 500, np.random.default_rng(1))
    assert not x.any() and made.any(axis=(1, 2)).all()
    for one in made:
        tall = np.abs(one).max(1)
        assert 0.6 < tall.max() <= 1.01
        at = np.flatnonzero(np.abs(one[tall.argmax()]) > 0.4 * tall.max())
        starts = at[np.insert(np.diff(at) > 50, 0, True)]
        assert len(starts) >= 8 and np.ptp(np.diff(starts)) <= 2
        assert (one[tall.argmax()] != 0).mean() < 0.2


def test_the_script_leaves_a_stage_that_upsamples(tmp_path, loaded):
    store = tmp_path / "store"
    asked = ["data", "simulate", str(store), "--people", "12", "--each", "1", "--rate", "500", "--no-progress"]
    app(asked, standalone_mode=False)
    vae = tiny.model().save_pretrained(tmp_path / "model")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"cascade": {"network": NETWORK, "steps": 2}, "train": PLAN}))
    line = ["--store", store, "--vae", vae, "--cpu", "--config", tmp_path / "tiny.yaml", "--output", tmp_path / "run"]
    loaded("scripts/train_cascade.py").app([*map(str, line), "--json"], standalone_mode=False)
    stage = Upsampler.from_pretrained(tmp_path / "run" / "upsampler", device="cpu")
    made = stage.upsample(tiny.reference())
    assert made.rate == 500 and made.signal.shape == (12, 5000)
    # What it draws has been set to the spectrum of its recordings, and setting it once more changes little.
    again = calibrated(stage, Recordings.of([Store.open(store)]))
    assert stage.config.correction is not None
    assert np.abs(np.subtract(again.config.correction, stage.config.correction))[8:20].max() < 0.6
