"""The noise that the auto-encoder takes out: found in a recording, put back in the twins, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecgtwin import Condition, ECGTwin
from ecgtwin.ecg.simulate import Noise, Person, simulate
from ecgtwin.twin.noise_floor import between, lost, spectrum_lost, turned, without_beat
from ecgtwin.twin.rhythm import atria_stay

RATE, SAMPLES, BAND = 102.4, 1024, (5.0, 47.0)


@pytest.fixture(scope="module")
def clean():
    none = Noise(0.0, 0.0, 0.0, 0.0)
    ecg = simulate(Person.draw(3), "sinus rhythm", 70.0, seed=3, noise=none)
    signal = ecg.select(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")).resample(RATE).signal[:, :SAMPLES]
    return np.pad(signal, ((0, 0), (0, SAMPLES - signal.shape[1])), mode="edge").astype(np.float64)


@pytest.fixture(scope="module")
def white():
    """10 uV RMS; V6 has what V5 has."""
    noise = 0.010 * np.random.default_rng(0).standard_normal((8, SAMPLES))
    noise[7] = noise[6]
    return noise


def rms(x, low=8.0, high=44.0):
    """uV in each lead between two frequencies."""
    hz = np.fft.rfftfreq(SAMPLES, 1 / RATE)
    part = np.fft.irfft(np.fft.rfft(x) * ((hz > low) & (hz < high)))
    return 1000 * np.sqrt((part**2).mean(-1))


def test_noise_that_was_taken_out_comes_back_in_size_and_between_leads(clean, white):
    back = turned(spectrum_lost(clean + white, clean, RATE, BAND), 1)
    np.testing.assert_allclose(rms(back), rms(white), rtol=0.15)
    assert np.corrcoef(back[6], back[7])[0, 1] > 0.95
    assert abs(np.corrcoef(back[0], white[0])[0, 1]) < 0.2
    assert rms(back, 48.0, 52.0).max() < 0.2


def test_noise_that_is_still_there_does_not_come_twice(clean, white):
    assert np.abs(spectrum_lost(clean + white, clean + white, RATE, BAND)).max() < 1e-9
    other = clean + np.random.default_rng(5).permuted(white, axis=-1)
    assert rms(turned(spectrum_lost(clean + white, other, RATE, BAND), 1)).mean() < 0.35 * rms(white).mean()


def test_a_beat_drawn_wrong_and_a_fault_of_a_moment_are_no_noise(clean, white):
    usual = rms(turned(spectrum_lost(clean + white, clean, RATE, BAND), 1))
    smaller = rms(turned(spectrum_lost(clean + white, 0.9 * clean, RATE, BAND), 1))
    np.testing.assert_allclose(smaller, usual, rtol=0.2)
    spike = clean + white
    spike[2, 500:508] -= 2.0
    assert rms(turned(spectrum_lost(spike, clean, RATE, BAND), 1))[2] < 1.5 * usual[2]


def test_where_complexes_leave_no_room_nothing_is_told(white):
    assert not (between(np.arange(0, SAMPLES, 20), SAMPLES, RATE) > 0).any()
    fast = white + np.where(np.arange(SAMPLES) % 20 < 3, 1.0, 0.0)
    assert np.isfinite(spectrum_lost(fast, fast - white, RATE, BAND)).all()
    assert without_beat(white, np.array([100.0, 200.0]), RATE) is white


@pytest.fixture(scope="module")
def model():
    return ECGTwin.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def person():
    return simulate(Person.draw(11), "sinus rhythm", 72.0, seed=11, noise=Noise(muscle=0.03))


def test_twins_have_it_each_from_its_own_seed(model, person):
    asked = Condition("sinus rhythm", heart_rate=70)
    two = [e.signal for e in model.generate(person, asked, n=2, steps=2)]
    plain = [e.signal for e in model.generate(person, asked, n=2, steps=2, noise_floor=False)]
    (alone,) = model.generate(person, asked, steps=2, seed=1)
    assert np.abs(two[1] - alone.signal).max() < 1e-4
    added = [a - b for a, b in zip(two, plain, strict=True)]
    assert 2 < rms(added[0]).mean() < 60
    assert abs(np.corrcoef(added[0][1], added[1][1])[0, 1]) < 0.3
    np.testing.assert_allclose(rms(added[0]), rms(added[1]), rtol=0.02)
    np.testing.assert_allclose(added[0][2], added[0][1] - added[0][0], atol=1e-5)  # III = II - I


def test_edits_keep_it_where_it_was(model, person):
    own = Condition("sinus rhythm", heart_rate=72)
    how = {"reference_condition": own, "steps": 2}
    reference = model.signals([person])[0].numpy()
    kept, plain = (
        model.counterfactual(person, own, **how, noise_floor=k).select(person.leads[:2]).signal for k in (True, False)
    )
    assert rms(kept - reference[:2]).mean() < 0.9 * rms(plain - reference[:2]).mean()


def test_a_model_without_it_is_as_before(model, person):
    asked = Condition("sinus rhythm", heart_rate=70)
    sampling = model.config.sampling.model_copy(update={"noise_floor": None})
    parts = replace(model.parts, config=model.config.model_copy(update={"sampling": sampling}))
    other = ECGTwin(parts, "cpu")
    request = other.requests(person, asked, [0])[0]
    assert request.recording is None
    with torch.inference_mode():
        a, b = other.sample([request], steps=2), model.sample([request], steps=2, noise_floor=False)
    assert torch.equal(a, b)


def test_waves_of_fibrillation_are_no_noise_of_a_heart_that_leaves_it():
    assert atria_stay(("sinus rhythm",), ("atrial fibrillation",))
    assert atria_stay(("atrial fibrillation",), ("atrial fibrillation", "left ventricular hypertrophy"))
    assert not atria_stay(("atrial fibrillation",), ("sinus rhythm", "normal ECG"))
    twin = ECGTwin.from_pretrained()
    ecg = simulate(Person.draw(3), "atrial fibrillation", 80.0, seed=3)
    (own,), (left,) = (
        twin.requests(ecg, Condition(reports), [1], reference_condition=Condition("atrial fibrillation"))
        for reports in ("atrial fibrillation", "sinus rhythm")
    )
    hz = np.fft.rfftfreq(twin.config.signal.samples, 1 / twin.config.signal.rate)
    low, high = (hz > 6) & (hz < 9), (hz > 16) & (hz < 40)
    stays, goes = (np.abs(lost(twin, r.recording, r.atria)) ** 2 for r in (own, left))
    assert own.atria and not left.atria
    assert goes[:, low].sum() < 0.1 * stays[:, low].sum()
    assert goes[:, high].sum() == pytest.approx(stays[:, high].sum(), rel=0.1)
