"""A control of leads: trained beside a tiny model by its script's loop, then followed; the model stays as it is."""

import numpy as np
import pytest
import torch

from ecgtwin import Condition
from ecgtwin.cli import app
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.train.device import accelerator_of
from ecgtwin.train.loop import Training
from ecgtwin.train.run import Run, complete
from ecgtwin.train.strict import parse
from ecgtwin.training.control import ControlSettings, ControlStage
from ecgtwin.twin.control import structure_of

from ..twin import tiny

PLAN = {"steps": 3, "batch": 6, "lr": 1.0e-2, "warmup": 1, "validate_every": 3, "control": {"copies": 1, "hidden": 8}}


@pytest.fixture(scope="module")
def trained(simulated_store, tmp_path_factory):
    """The file of a control of the tiny model, and its run's figures."""
    folder, model = tmp_path_factory.mktemp("control"), tiny.model()
    before = {k: v.clone() for k, v in model.parts.denoiser.state_dict().items()}
    settings = parse(ControlSettings, {"train": PLAN}, "test")
    recordings = Recordings.of([simulated_store])
    stage = ControlStage.of(model, recordings.where(np.arange(60)), settings)
    training = Training(stage.network, stage.plan, blocks=stage.blocks, accelerator=accelerator_of(cpu=True))
    kept = complete(Run(folder, False), training, stage)
    assert all(torch.equal(v, before[k]) for k, v in model.parts.denoiser.state_dict().items())
    return folder / "weights.safetensors", kept


def test_a_structure_shows_the_known_leads_and_says_which_they_are():
    signal, known = torch.randn(2, 8, 16), torch.zeros(2, 8, dtype=torch.bool)
    known[0, 0] = known[1, 3] = True
    shown, mask = structure_of(signal, known, 0.5).chunk(2, 1)
    assert torch.equal(shown[0, 0], 2 * signal[0, 0]) and not shown[0, 1:].any() and not shown[1, :3].any()
    assert torch.equal(mask[..., 0], known.float())


def test_training_gives_a_file_that_its_model_follows(trained, tmp_path):
    file, kept = trained
    assert {"held", "held_without"} <= kept.keys()
    model, ecg = tiny.model(), tiny.reference()
    with pytest.raises(ValueError, match="no control is loaded"):
        model.follow(ecg)
    model.load_control(file)
    watch = ecg.select(["I"])
    made = model.follow(watch, Condition("sinus rhythm"), n=2, steps=2, seed=3)
    given = watch.resample(102.4).signal[0, :1024]
    for one in made:
        x = dict(zip(one.leads, one.signal, strict=True))
        assert len(x) == 12 and np.allclose(x["I"], given - np.median(given), atol=1e-6)
        assert np.array_equal(x["III"], x["II"] - x["I"])
    again = model.follow(watch, Condition("sinus rhythm"), n=1, steps=2, seed=4)[0]
    assert np.allclose(again.signal, made[1].signal, atol=1e-5)
    assert not np.allclose(made[0].signal, made[1].signal, atol=1e-3)
    louder = ECG(2 * watch.signal, watch.rate, ["I"])
    assert not np.allclose(model.follow(louder, n=1, steps=2, seed=3)[0].signal[1], made[0].signal[1], atol=1e-3)
    drawn = model.follow(watch, steps=2, seed=3, keep=False)[0]
    assert not np.allclose(drawn.signal[0], given - np.median(given), atol=1e-3)
    for wrong, said in ((ecg.select(["III"]), "expected one or more of I, II"), (watch.crop(0, 5), "5.0 s long")):
        with pytest.raises(ValueError, match=said):
            model.follow(wrong, steps=2)
    other = tiny.model()
    with torch.no_grad():
        other.parts.denoiser.null_base.add_(1)
    with pytest.raises(ValueError, match="another base"):
        other.load_control(file)


def test_the_command_follows_a_lead(trained, tmp_path):
    model = tiny.model().save_pretrained(tmp_path / "model")
    watch = tiny.reference().select(["I"]).write(tmp_path / "watch.csv")
    out = tmp_path / "out"
    asked = ["follow", str(watch), "--control", str(trained[0]), "--report", "AF", "--steps", "2", "-n", "2"]
    app([*asked, "--model", str(model), "--output", str(out), "--device", "cpu"], standalone_mode=False)
    assert sorted(p.name for p in out.glob("*.hea")) == ["followed_000.hea", "followed_001.hea"]
    assert len(ECG.read(out / "followed_000.hea").leads) == 12
