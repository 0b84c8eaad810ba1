"""Measurements find what the simulator put into an ECG, say None where there is nothing,
and hold on real recordings."""

import time

import numpy as np
import pytest

from ecgtwin.ecg.datasets.ptbxl import read_table
from ecgtwin.ecg.intervals import measure, measure_many
from ecgtwin.ecg.leads import INDEPENDENT, LEADS
from ecgtwin.ecg.median_beat import at_500, without_spikes
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate, simulate_truth

PEOPLE = [Person.draw(seed) for seed in range(900, 916)]
STATES = (
    "sinus rhythm",
    "complete left bundle branch block",
    "complete right bundle branch block",
    "left anterior fascicular block",
    "left ventricular hypertrophy",
    "first degree AV block",
    "long QT-interval",
    "inverted T-waves",
    "ventricular premature complex",
)


def turned(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


def errors(name: str, rate: float) -> dict[str, np.ndarray]:
    """Absolute errors of each measurement over people; people of whom it is not measurable are left out."""
    found = {what: [] for what in ("pr", "qrs", "qt", "axis", "heart_rate")}
    for seed, person in enumerate(PEOPLE):
        truth = simulate_truth(person, name, seed=seed)
        m = truth.ecg.resample(rate).measured()
        for what in ("pr", "qrs", "qt"):
            if getattr(m, what) is not None and getattr(truth, what + "_ms") is not None:
                found[what].append(abs(getattr(m, what) - getattr(truth, what + "_ms")))
        found["axis"].append(turned(m.qrs_axis, truth.axis_deg))
        found["heart_rate"].append(abs(m.heart_rate - truth.rate))
    return {what: np.array(values) for what, values in found.items()}


@pytest.mark.parametrize("rate", [500, 102.4])
@pytest.mark.parametrize("name", STATES)
def test_intervals_and_axis_are_those_of_the_simulator(name, rate):
    found = errors(name, rate)
    for what in ("pr", "qrs", "qt"):
        assert len(found[what]) >= 14, f"{what} measurable in {len(found[what])} of 16"
        assert np.median(found[what]) < 6 and np.quantile(found[what], 0.7) < 10, what
    assert np.median(found["axis"]) < 5 and found["heart_rate"].max() < 1


def test_a_paced_qrs_is_measured_without_its_spike():
    found = errors("normal functioning artificial pacemaker", 500)
    assert np.median(found["qrs"]) < 10 and np.median(found["qt"]) < 10


@pytest.mark.parametrize("rate", [500, 102.4])
def test_fibrillating_atria_have_no_p_wave_and_no_order(rate):
    for name, present, order in (("atrial fibrillation", 1, "irregular"), ("sinus rhythm", 15, "regular")):
        found = [simulate(p, name, seed=s).resample(rate).measured() for s, p in enumerate(PEOPLE)]
        seen = sum(m.p_present is True for m in found)
        assert seen <= present if order == "irregular" else seen >= present
        assert sum(m.regularity == order for m in found) >= 15
        assert all(m.pr is None and m.p is None and m.p_axis is None for m in found if not m.p_present)
    assert all(len(m.p_evidence) >= 3 for m in found)


def test_premature_beats_are_odd_intervals_in_a_regular_rhythm():
    found = [simulate(p, "ventricular premature complex", seed=s).measured() for s, p in enumerate(PEOPLE)]
    assert sum(m.odd_fraction > 0 for m in found) >= 15
    assert sum(m.regularity == "regular with odd beats" for m in found) >= 9
    assert all(m.odd_fraction == 0 for m in (simulate(p, "sinus rhythm", seed=1).measured() for p in PEOPLE))


def test_amplitudes_are_those_of_the_clean_beat():
    for seed, person in enumerate(PEOPLE[:5]):
        truth = simulate_truth(person, "sinus rhythm", seed=seed, noise=None)
        found = truth.clean.measured().amplitudes
        start = round(truth.beats[3] * 500)
        for lead, x in zip(truth.clean.leads, truth.clean.signal.astype(float), strict=True):
            qrs = x[start - 5 : start + round(truth.qrs_ms / 2) + 5] - x[start - 10]
            assert found[lead].r == pytest.approx(max(qrs.max(), 0), abs=0.12)
            assert min(found[lead].q, found[lead].s) == pytest.approx(min(qrs.min(), 0), abs=0.12)
            t = x[start + round(truth.qrs_ms / 2) + 20 : start + round(truth.qt_ms / 2)] - x[start - 10]
            assert found[lead].t == pytest.approx(t[np.argmax(np.abs(t))], abs=0.1)
        m = truth.clean.measured()
        assert m.sokolow == pytest.approx(found["V5"].r - found["V1"].s)


def test_order_and_number_of_leads_do_not_matter():
    ecg = simulate(PEOPLE[0], "sinus rhythm", seed=3)
    twelve = ecg.measured()
    eight = measure(ecg.select(INDEPENDENT).signal, 500, INDEPENDENT)
    back = measure(ecg.signal[::-1], 500, [name.lower() for name in ecg.leads[::-1]])
    for name in ("pr", "qrs", "qt", "qrs_axis", "t_axis", "heart_rate", "sokolow"):
        assert getattr(twelve, name) == getattr(back, name) == pytest.approx(getattr(eight, name), abs=0.1)
    assert set(twelve.amplitudes) == set(LEADS) and set(eight.amplitudes) == set(INDEPENDENT)
    one = measure(ecg.select(["II"]).signal, 500, ["II"])
    assert one.qrs_axis is None and one.sokolow is None and one.qrs == pytest.approx(twelve.qrs, abs=30)
    both = measure_many(np.stack([ecg.signal, ecg.signal]), 500, ecg.leads)
    assert both == [twelve, twelve]


def test_what_cannot_be_measured_is_none():
    flat = measure(np.zeros((12, 5000)), 500, LEADS)
    assert flat.beats == 0 and flat.qrs is None and flat.heart_rate is None and flat.amplitudes is None
    ecg = simulate(PEOPLE[1], "sinus rhythm", seed=3)
    signal = ecg.signal.copy()
    signal[ecg.leads.index("V1"), 700:720] = np.nan
    m = measure(signal, 500, ecg.leads)
    assert m.sokolow is None and "V1" not in m.amplitudes and m.qrs == pytest.approx(ecg.measured().qrs, abs=8)
    with pytest.raises(ValueError, match="100 Hz"):
        measure(signal, 80, ecg.leads)
    with pytest.raises(ValueError, match="12 leads"):
        measure(signal[:3], 500, ecg.leads)


def test_noise_alone_has_no_qt_that_anybody_believes():
    """No crash, and no P wave, in white noise, steps and a single beat."""
    rng = np.random.default_rng(0)
    step = np.zeros((8, 5000))
    step[:, 2500:] = 3.0
    for x in (rng.normal(0, 0.2, (8, 5000)), step, rng.normal(0, 1e-6, (8, 5000)), np.full((8, 60), 1.0)):
        m = measure(x, 500, INDEPENDENT)
        assert m.p_present is not True


def test_the_table_has_units_and_every_quantity():
    table = simulate(PEOPLE[0], "atrial fibrillation", seed=1).measure()
    assert list(table.columns) == ["quantity", "lead", "value", "unit"]
    row = table.set_index(["quantity", "lead"])
    assert row.loc[("qrs", ""), "unit"] == "ms" and row.loc[("heart_rate", ""), "unit"] == "/min"
    assert row.loc[("pr", ""), "value"] is None and row.loc[("qrs_axis", ""), "unit"] == "degrees"
    assert row.loc[("r_amplitude", "V5"), "unit"] == "mV" and len(table) == 17 + 6 * 12


def test_up_sampling_is_band_limited_and_spikes_go():
    t = np.arange(1024) / 102.4
    x = np.stack([np.sin(2 * np.pi * f * t) for f in (2, 10, 25)])
    fine = at_500(x, 102.4)
    s = np.arange(fine.shape[1]) / 500
    inner = slice(1500, 3500)  # nearer the ends, a wave cut off in the middle looks like wander
    for row, f in zip(fine, (2, 10, 25), strict=True):
        assert np.abs(row - np.sin(2 * np.pi * f * s))[inner].max() < 0.02
    spiked = np.tile(np.sin(2 * np.pi * 2 * np.arange(5000) / 500), (8, 1))
    clean = spiked.copy()
    spiked[:, 1000:1002] += 1.0
    assert np.abs(without_spikes(spiked, 500) - clean).max() < 0.01
    assert without_spikes(clean, 500) is clean


def test_one_ecg_takes_milliseconds():
    ecg = simulate(PEOPLE[2], "sinus rhythm", seed=3).select(INDEPENDENT).resample(102.4)
    measure(ecg.signal, ecg.rate, ecg.leads)
    begin = time.process_time()
    measure_many(np.stack([ecg.signal] * 20), ecg.rate, ecg.leads)
    assert (time.process_time() - begin) / 20 < 0.04  # about 9 ms on an idle core


def test_real_recordings_by_reported_rhythm(ptbxl):
    table = read_table(ptbxl)
    found = {}
    for code in ("AFIB", "SR"):
        rows = table[[code in codes and "PACE" not in codes for codes in table.codes]][:30]
        found[code] = [ECG.read(ptbxl / row.low).measured() for _, row in rows.iterrows()]
    assert np.mean([m.p_present is True for m in found["SR"]]) > 0.8
    assert np.mean([m.p_present is True for m in found["AFIB"]]) < 0.25
    assert np.mean([m.regularity == "irregular" for m in found["AFIB"]]) > 0.8
    assert np.mean([m.regularity == "irregular" for m in found["SR"]]) < 0.2
    normal = [m.qrs for m in found["SR"] if m.qrs]
    assert 75 < np.median(normal) < 110
