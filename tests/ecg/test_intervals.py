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


def test_p_and_t_waves_are_told_apart_at_every_rate():
    """T peaks before the next P wave; up to 110/min, where P begins to lie on T, every P wave is found."""
    for heart_rate, seen, off in ((50, 6, 8), (90, 6, 8), (110, 5, 25)):
        found = [simulate_truth(p, "sinus rhythm", heart_rate, seed=s, fs=102.4) for s, p in enumerate(PEOPLE[:6])]
        measured = [truth.ecg.measured() for truth in found]
        assert sum(m.p_present is True for m in measured) >= seen, heart_rate
        pairs = [(m, truth) for m, truth in zip(measured, found, strict=True) if m.pr is not None]
        assert np.median([abs(m.pr - truth.pr_ms) for m, truth in pairs]) < off, heart_rate
        assert np.median([abs(m.qt - truth.qt_ms) for m, truth in zip(measured, found, strict=True) if m.qt]) < 8


def test_a_u_wave_and_the_next_p_wave_are_no_t_wave():
    """QT is the same whatever follows T: a U wave, or a P wave as high as T."""
    beats, rate = np.arange(0.6, 9.5, 0.75), 500
    time = np.arange(5000) / rate

    def bell(at: float, width: float, height: float) -> np.ndarray:
        return height * np.exp(-0.5 * ((time[:, None] - beats - at) / width) ** 2).sum(1)

    beat = bell(0, 0.008, 1.0) + bell(-0.03, 0.008, -0.1) + bell(0.28, 0.035, 0.15)
    found = [
        measure(np.outer([1.0, 0.8, -0.6, 0.9], beat + more), rate, ("I", "II", "V1", "V5"))
        for more in (0 * time, bell(0.43, 0.03, 0.035), bell(-0.16, 0.02, 0.15))
    ]
    assert found[0].p_present is not True and found[2].p_present is True
    assert found[0].qt == pytest.approx(390, abs=12)  # R less 40 ms to T and two of its widths
    assert all(m.qt == pytest.approx(found[0].qt, abs=8) for m in found)


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
    assert 85 < np.median([m.p for m in found["SR"] if m.p]) < 120
    assert np.quantile([m.qtc_fridericia for m in found["SR"] if m.qt], 0.95) < 480  # no P wave is taken for T


def test_real_blocks_are_measured_as_blocks(ptbxl):
    table = read_table(ptbxl)
    rows = {
        "wide": table[[bool({"CLBBB", "CRBBB"} & set(codes)) for codes in table.codes]][:12],
        "slow": table[["1AVB" in codes for codes in table.codes]][:12],
        "tachycardia": table[["STACH" in codes for codes in table.codes]][:12],
    }
    found = {k: [ECG.read(ptbxl / row.low).measured() for _, row in some.iterrows()] for k, some in rows.items()}
    assert np.median([m.qrs for m in found["wide"]]) > 125 and min(m.qrs for m in found["wide"]) > 105
    assert np.median([m.pr for m in found["slow"] if m.pr]) > 200
    assert np.mean([m.p_present is True for m in found["tachycardia"]]) > 0.8
