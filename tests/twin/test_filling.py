"""What is missing of an ECG is drawn in, what is known stays and what is unknown is never read; variations."""

import numpy as np
import pytest

from ecgtwin import ECGTwin
from ecgtwin.ecg.beats import Beats
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.record import ECG
from ecgtwin.twin import filling
from ecgtwin.twin.filling import Span, Unknown, joined
from ecgtwin.twin.gaps import continued

from . import tiny

RATE, SAMPLES = 102.4, 1024
DRAFT = tiny.CONFIG | {"denoiser": tiny.CONFIG["denoiser"] | {"draft": True}}


FLOW = DRAFT | {"diffusion": DRAFT["diffusion"] | {"schedule": "flow", "prediction": "flow"}}


@pytest.fixture(scope="module", params=[tiny.CONFIG, DRAFT, FLOW], ids=["plain", "draft", "flow"])
def model(request):
    return tiny.model(request.param)


@pytest.fixture(scope="module")
def reference():
    ecg = tiny.reference().select(INDEPENDENT)
    return ECG(ecg.resample(RATE).signal[:, :SAMPLES], RATE, INDEPENDENT)


def changed(ecg: ECG, known: np.ndarray) -> ECG:
    """With other samples where it is not known."""
    return ECG(np.where(known, ecg.signal, 3.0).astype(np.float32), RATE, INDEPENDENT)


@pytest.mark.parametrize(
    "unknown",
    [
        Unknown(spans=(Span(5.0, 10.0),)),
        Unknown(spans=(Span(4.0, 6.0), Span(8.0, 8.5, ("V1", "V2")))),
        Unknown(leads=("V3", "V4")),
    ],
    ids=["forecast", "gap and burst", "leads"],
)
def test_what_is_known_stays_and_the_rest_is_never_read(model, reference, unknown):
    known = unknown.mask(RATE, SAMPLES)
    one, two = model.fill(reference, unknown, n=2, steps=2, resample=2)
    found = one.select(INDEPENDENT).signal
    level = np.array(
        [np.median(row[mask]) if mask.any() else 0.0 for row, mask in zip(reference.signal, known, strict=True)]
    )
    assert np.abs((found - reference.signal + level[:, None])[known]).max() < 1e-5
    assert np.isfinite(found).all() and np.abs(found[~known]).max() > 1e-3
    again = model.fill(changed(reference, known), unknown, n=1, steps=2, resample=2)[0]
    assert np.allclose(again.select(INDEPENDENT).signal, found, atol=1e-4)
    assert not np.allclose(two.select(INDEPENDENT).signal[~known], found[~known], atol=1e-3)


def test_guidance_brings_the_known_leads_of_the_shipped_model_closer(monkeypatch):
    """Before the known samples are put in their place, what is drawn of them is nearer to
    them than without guidance."""
    model, ecg, missed = ECGTwin.from_pretrained(device="cpu"), tiny.reference(), []
    joined = filling.joined

    def watched(signal, known, made, rate):
        missed.append(float(((signal - made)[known] ** 2).mean()))
        return joined(signal, known, made, rate)

    monkeypatch.setattr(filling, "joined", watched)
    for strength in (0.0, 4.0):
        model.fill(ecg, Unknown(leads=INDEPENDENT[2:]), steps=6, strength=strength)
    assert missed[1] < 0.8 * missed[0]


def test_beats_go_on_as_they_came():
    steady = np.ones(SAMPLES, bool)
    steady[round(5 * RATE) :] = False
    regular = Beats(np.arange(0.4, 5.0, 0.8), np.zeros(6, int))
    found = continued(regular, steady, RATE)
    assert np.allclose(np.diff(found.times), 0.8, atol=1e-6) and 9.0 < found.times[-1] < 10.0
    hole = np.ones(SAMPLES, bool)
    hole[round(2.5 * RATE) : round(5.5 * RATE)] = False
    times = np.arange(0.4, 10.0, 0.8)
    kept = times[(times < 2.5) | (times > 5.5)]
    found = continued(Beats(kept, np.zeros(len(kept), int)), hole, RATE)
    assert np.allclose(found.times, times)
    faster = np.cumsum([0.4, 0.84, 0.84, 0.83, 0.82, 0.81, 0.8, 0.79, 0.78, 0.78])  # evenly faster through the hole
    kept = faster[(faster < 2.5) | (faster > 5.5)]
    found = continued(Beats(kept, np.zeros(len(kept), int)), hole, RATE)
    assert np.abs(found.times - faster).max() < 0.004
    assert np.abs(np.linspace(faster[2], faster[7], 6) - faster[2:8]).max() > 0.015
    late = steady.copy()
    late[: round(1.5 * RATE)] = False
    early = continued(Beats(np.arange(2.0, 5.0, 0.8), np.zeros(4, int)), late, RATE)
    assert np.allclose(np.diff(early.times), 0.8, atol=1e-6) and 0 < early.times[0] < 0.8


def test_a_steady_rhythm_that_slows_stays_slower_for_a_while():
    steady = np.ones(SAMPLES, bool)
    steady[round(4.7 * RATE) :] = False
    slowing = Beats(np.cumsum([0.4, 0.8, 0.8, 0.8, 0.8, 0.9]), np.zeros(6, int))
    rr = np.diff(continued(slowing, steady, RATE).times)[5:]
    assert (
        rr[0] == pytest.approx(0.82 + 0.08 * 0.6, abs=1e-6) and (np.diff(rr) < 0).all() and rr[-1] > 0.82 + 0.08 * 0.1
    )


def test_an_irregular_rhythm_runs_backwards_or_is_drawn():
    steady = np.ones(SAMPLES, bool)
    steady[round(5.15 * RATE) :] = False
    intervals = [0.5, 1.1, 0.6, 0.9, 0.7]
    uneven = Beats(np.cumsum([0.3, *intervals, 0.8]), np.zeros(7, int))
    found = np.diff(continued(uneven, steady, RATE).times)
    assert np.allclose(found[6:], [0.8, 0.7, 0.9, 0.6, 1.1, 0.5, 0.5])  # and forwards again
    drawn = [continued(uneven, steady, RATE, np.random.default_rng(seed)).times for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0][-2:], drawn[2][-2:])
    assert set(np.round(np.diff(drawn[0][6:]), 6)) <= {0.5, 1.1, 0.6, 0.9, 0.7, 0.8}
    # A beat that would have been seen comes late, not at all in the known stretch.
    steady[: round(7 * RATE)] = True
    assert continued(uneven, steady, RATE).times[7] >= 7.0


def test_ends_meet():
    signal, made = np.zeros((8, 300), np.float32), np.ones((8, 300), np.float32)
    known = np.ones((8, 300), bool)
    known[:, 100:200] = False
    found = joined(signal, known, made, RATE)
    assert np.abs(np.diff(found)).max() < 0.05 and np.allclose(found[:, 140:160], 1.0) and not found[known].any()


def test_a_variation_changes_more_the_stronger_it_is(model, reference):
    whole = ECG(reference.signal, RATE, INDEPENDENT)
    plain = model.parts.vae.decode(model.parts.vae.encode(model.signals([whole])))[0].numpy()
    change = [
        np.abs(model.vary(whole, strength=s, steps=10)[0].select(INDEPENDENT).signal - plain).mean() for s in (0.1, 0.9)
    ]
    assert 0 < change[0] < change[1]


def test_variations_cost_one_base_however_many(model, reference, monkeypatch):
    taken, inside = [], model.base_of
    monkeypatch.setattr(model, "base_of", lambda *given: taken.append(given) or inside(*given))
    made = [ecg.select(INDEPENDENT).signal for ecg in model.vary(reference, n=3, steps=4)]
    assert len(taken) == 1 and not np.array_equal(made[0], made[1])
    alone = model.vary(reference, seed=2, steps=4)[0].select(INDEPENDENT).signal
    assert np.allclose(alone, made[2], atol=1e-5)


def test_what_cannot_be_filled_is_refused(model, reference):
    for unknown, said in (
        (Unknown(), "nothing is unknown"),
        (Unknown(leads=INDEPENDENT), "everything is unknown"),
        (Unknown(leads=("aVR",)), "'aVR' cannot be filled in by itself"),
        (Unknown(spans=(Span(4.0, 12.0),)), "within 0 to 10 s"),
        (Unknown(spans=(Span(0.0, 8.0),)), "no piece of 3 s"),
    ):
        with pytest.raises(ValueError, match=said):
            model.fill(reference, unknown)
    short = ECG(reference.signal[:, :512], RATE, INDEPENDENT)
    with pytest.raises(ValueError, match=r"5.0 s long, and 10 s are wanted"):
        model.fill(short, Unknown(leads=("V3",)))
    assert model.fill(short, Unknown(spans=(Span(5.0, 10.0),)), steps=1)[0].seconds == 10.0
    with pytest.raises(ValueError, match="strength"):
        model.vary(reference, strength=0.0)
