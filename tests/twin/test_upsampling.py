"""ECGs at 500 Hz: the given band stays, limb leads follow from two, each draw has a seed; the stage in the package."""

import numpy as np
import pytest
import torch
from scipy.signal import welch

from ecgtwin.cli import app
from ecgtwin.ecg.leads import INDEPENDENT, LEADS
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.train.strict import parse
from ecgtwin.twin.upsampling import Upsampler, UpsamplerConfig, build, joined, low, residual, shown

from . import tiny

CONFIG = {"network": {"width": 16, "widths": [8, 8], "heads": 2, "groups": 4}, "steps": 2, "strength": 0.1}


def upsampler() -> Upsampler:
    config = parse(UpsamplerConfig, CONFIG, "tiny")
    torch.manual_seed(0)
    network = build(config)
    for p in network.parameters():
        if not p.abs().sum():
            torch.nn.init.normal_(p, std=0.1)
    return Upsampler(config, network)


def test_a_residual_and_the_low_band_are_the_signal_again():
    config = UpsamplerConfig()
    x = np.cumsum(np.random.default_rng(0).normal(0, 0.01, (8, 1500)), 1).astype(np.float32)
    high, y = x - low(x, 40, config), residual(x, config)
    # Whitening and its inverse are filters of finite length.
    assert (joined(x, y, config) - x)[:, 300:-300].std() < 0.03 * high.std()
    power = welch(config.unit * np.sinh(y), 500, nperseg=250)[1].mean(0)
    plain = welch(high, 500, nperseg=250)[1].mean(0)
    gained = 10 * np.log10(power / plain)[25:120:5]  # 50 to 240 Hz
    assert np.allclose(
        np.diff(gained), -np.diff(np.interp(np.arange(50, 240, 10), np.arange(26) * 10, config.powers)), atol=0.8
    )
    time = np.arange(1500) / 500
    for hertz, kept in ((5, 1.0), (30, 1.0), (50, 0.0), (120, 0.0)):
        tone = np.sin(2 * np.pi * hertz * time)[None]
        assert np.abs(low(tone, 40, config)[:, 300:-300] - kept * tone[:, 300:-300]).max() < 0.01
    assert shown(x[None], config).shape == (1, 16, 1500)


def test_an_ecg_keeps_its_low_band_and_its_limb_leads_their_law():
    stage, ecg = upsampler(), tiny.reference()
    made = stage.upsample(ecg, seed=3)
    assert made.rate == 500 and made.leads == LEADS and made.signal.shape == (12, 5000)
    x = dict(zip(made.leads, made.signal, strict=True))
    for name, exact in (
        ("III", x["II"] - x["I"]),
        ("aVR", -(x["I"] + x["II"]) / 2),
        ("aVL", x["I"] - x["II"] / 2),
        ("aVF", x["II"] - x["I"] / 2),
    ):
        assert np.array_equal(x[name], exact)
    given = ecg.select(INDEPENDENT).resample(102.4).resample(500).signal
    config = UpsamplerConfig(crossover=25.0)
    ours = low(low(made.select(INDEPENDENT).signal, 25, config), 25, config)
    assert np.abs(ours - low(low(given, 25, config), 25, config)).max() < 0.1 * np.abs(made.signal - ours[:1]).max()
    f, power = welch(made.signal, 500, nperseg=1000)
    plain = welch(given, 500, nperseg=1000)[1]
    assert power[:, (f > 60) & (f < 150)].mean() > 100 * plain[:, (f > 60) & (f < 150)].mean()
    assert np.array_equal(made.signal, stage.upsample(ecg, seed=3).signal)
    assert not np.allclose(made.signal, stage.upsample(ecg, seed=4).signal, atol=1e-3)


def test_what_cannot_be_upsampled_is_refused():
    stage, ecg = upsampler(), tiny.reference()
    with pytest.raises(ValueError, match="more than 0.502 s"):
        stage.upsample(ecg.crop(0, 0.4))
    broken = ecg.signal.copy()
    broken[0, 100] = np.nan
    with pytest.raises(ValueError, match="missing"):
        stage.upsample(ECG(broken, ecg.rate, ecg.leads))
    with pytest.raises(ValueError, match="strength 0.9"):
        stage.upsample(ecg, strength=0.9)


def test_a_model_draws_at_any_rate(monkeypatch):
    model, ecg = tiny.model(), tiny.reference()
    model.__dict__["upsampler"] = upsampler()
    condition = model_condition()
    plain = model.generate(ecg, condition, n=2, steps=2, seed=5)
    fine = model.generate(ecg, condition, n=2, steps=2, seed=5, rate=500)
    alone = model.generate(ecg, condition, n=1, steps=2, seed=6, rate=500)
    assert [e.rate for e in fine] == [500, 500] and np.allclose(fine[1].signal, alone[0].signal, atol=1e-4)
    assert not np.allclose(fine[0].signal - fine[1].signal, 0, atol=1e-3)
    assert np.array_equal(model.generate(ecg, condition, n=2, steps=2, seed=5, rate=102.4)[0].signal, plain[0].signal)
    for rate in (250.0, 1000.0, 80.0):
        other = model.at_rate(plain[0], rate, 1)
        assert other.rate == rate and other.signal.shape[1] == round(10 * rate)
        x = dict(zip(other.leads, other.signal, strict=True))
        assert np.array_equal(x["III"], x["II"] - x["I"])
    changed = model.counterfactual(ecg, condition, steps=2, rate=500)
    assert changed.rate == 500 and changed.signal.shape == (12, 5000)
    with pytest.raises(ValueError, match="rate -3"):
        model.generate(ecg, condition, steps=2, rate=-3)


def model_condition():
    from ecgtwin import Condition

    return Condition("atrial fibrillation")


def test_a_folder_gives_the_stage_back(tmp_path):
    stage, ecg = upsampler(), tiny.reference()
    again = Upsampler.from_pretrained(stage.save_pretrained(tmp_path / "stage"), device="cpu")
    assert np.array_equal(again.upsample(ecg, seed=1).signal, stage.upsample(ecg, seed=1).signal)


def test_the_stage_in_the_package_writes_real_power_above_40_hz(tmp_path):
    """By `ecgtwin generate --rate 500` on the shipped weights: a QRS complex as steep as the simulated person's at 500
    Hz, power from 60 to 150 Hz, and the ECG of 102.4 Hz below 40 Hz."""
    person = Person.draw(4)
    truth = simulate(person, "sinus rhythm", 66.0, seed=4)
    record = truth.write(tmp_path / "person.hea")
    asked = ["generate", str(record), "--report", "sinus rhythm", "--steps", "2", "--format", "npz"]
    for name, more in (("low", []), ("high", ["--rate", "500"])):
        app([*asked, "--output", str(tmp_path / name), *more], standalone_mode=False)
    plain, fine = (ECG.read(tmp_path / name / "twin_000.npz") for name in ("low", "high"))
    assert plain.rate == 102.4 and fine.rate == 500 and fine.signal.shape == (12, 5000) and fine.synthetic
    config = Upsampler.from_pretrained(device="cpu").config
    given, made = plain.select(INDEPENDENT).resample(500).signal, fine.select(INDEPENDENT).signal
    assert np.corrcoef(low(given, 25, config).ravel(), low(made, 25, config).ravel())[0, 1] > 0.9999
    f, power = welch(made, 500, nperseg=1000)
    band = (f > 60) & (f < 150)
    assert power[:, band].mean() > 20 * welch(given, 500, nperseg=1000)[1][:, band].mean()
    once = Upsampler.from_pretrained(device="cpu").upsample(truth, seed=2).select(INDEPENDENT).signal
    steep = [np.abs(np.diff(x, axis=1)).max(1) for x in (once, truth.select(INDEPENDENT).signal)]
    assert 0.6 < np.median(steep[0] / steep[1]) < 1.6
