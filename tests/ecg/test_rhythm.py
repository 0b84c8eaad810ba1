import csv
import json

import numpy as np
import pytest
import wfdb

from ecgtwin.ecg.rhythm import heart_rate, r_peaks
from ecgtwin.ecg.simulate import Person, simulate, simulate_truth

from . import ptbxl_files


@pytest.mark.parametrize("rate", [100.0, 102.4, 500.0, 1000.0])
@pytest.mark.parametrize("beats", [45.0, 75.0, 130.0])
def test_simulated_rates_are_measured(rate, beats):
    ecg = simulate(Person.draw(5), "sinus rhythm", beats, seed=1).resample(rate)
    assert heart_rate(ecg.signal, rate) == pytest.approx(beats, abs=2)


def test_every_beat_is_found_where_it_is():
    truth = simulate_truth(Person.draw(6), "atrial fibrillation", 95.0, seed=2)
    found = r_peaks(truth.ecg.signal, 500.0) / 500.0
    inside = truth.beats[(truth.beats > 0.1) & (truth.beats < 9.8)]
    assert all(np.abs(found - onset).min() < 0.12 for onset in inside)
    assert abs(len(found) - len(truth.beats)) <= 1


def test_a_flat_lead_an_offset_and_missing_samples_do_not_matter():
    ecg = simulate(Person.draw(7), "sinus rhythm", 80.0, seed=3)
    x = ecg.signal.copy()
    x[4] = 0
    x[7] += 5
    x[9, 1000:1100] = np.nan
    assert heart_rate(x, ecg.rate) == pytest.approx(heart_rate(ecg.signal, ecg.rate), abs=1)


def test_no_beats_no_rate():
    assert heart_rate(np.zeros((12, 5000)), 500.0) is None
    assert len(r_peaks(np.zeros((12, 10)), 500.0)) == 0
    with pytest.raises(ValueError, match="at least 50 Hz"):
        r_peaks(np.zeros((12, 500)), 20.0)
    with pytest.raises(ValueError, match="shape"):
        r_peaks(np.zeros(500), 500.0)


def test_real_recordings_agree_with_an_independent_measurement(ptbxl):
    with (ptbxl / "provenance.csv").open() as file:
        known = {int(r["ecg_id"]): float(r["heart_rate_bpm"]) for r in csv.DictReader(file) if r["heart_rate_bpm"]}
    records = sorted((ptbxl / "records100").glob("*/*_lr.hea"))[::25]
    errors = []
    for path in records:
        record = wfdb.rdrecord(str(path.with_suffix("")))
        beats = r_peaks(record.p_signal.T, record.fs)
        # The figures beside the recordings are by the median RR interval, ours by the mean: compare like with like.
        found = 60 * record.fs / np.median(np.diff(beats)) if len(beats) > 2 else np.inf
        errors.append(abs(found - known[int(path.stem.split("_")[0])]))
    assert len(errors) > 100 and np.mean(np.array(errors) <= 5) > 0.97


def paced(rate, spike_ms):
    """Atrial and ventricular pacing at 70/min: thin spikes 150 ms apart, each ventricular one
    with a wide complex after it."""
    t = np.arange(int(10 * rate)) / rate
    x = np.zeros((8, len(t)))
    beats = np.arange(0.5, 9.8, 60 / 70)
    size = np.linspace(-1.5, 1.5, 8)[:, None]
    for beat in beats:
        x += size * np.exp(-(((t - beat - 0.12) / 0.05) ** 2))
        for onset, height in ((beat - 0.15, 0.7), (beat, 1.2)):
            x += height * np.exp(-(((t - onset) / (spike_ms / 2000)) ** 2))
    return x + 0.01 * np.random.default_rng(0).standard_normal(x.shape), len(beats)


@pytest.mark.parametrize(("rate", "spike_ms"), [(100.0, 15), (500.0, 2), (1000.0, 2)])
def test_pacing_spikes_are_not_beats(rate, spike_ms):
    x, beats = paced(rate, spike_ms)
    assert len(r_peaks(x, rate)) == beats and heart_rate(x, rate) == pytest.approx(70, abs=1.5)


def test_an_artefact_and_tall_t_waves_are_not_beats():
    ecg = simulate(Person.draw(8), "sinus rhythm", 66.0, seed=4)
    x, t = ecg.signal.copy(), np.arange(5000) / 500.0
    beats = r_peaks(x, 500.0)
    x[3, 1200:1206] += 30.0
    for beat in beats:
        x[6:] += 1.2 * np.exp(-(((t - beat / 500 - 0.3) / 0.05) ** 2))
    assert np.abs(r_peaks(x, 500.0) - beats).max() <= 20


def test_a_paced_recording(ptbxl):
    path = ptbxl / "records100" / "21000" / "21193_lr"
    if not path.with_suffix(".hea").is_file():
        pytest.skip("record 21193 is not here")
    record = wfdb.rdrecord(str(path))
    assert heart_rate(record.p_signal.T, record.fs) == pytest.approx(71.4, abs=2)


@pytest.mark.parametrize("seed, rate", [(46, 96), (72, 72), (140, 90), (212, 62), (398, 98), (447, None)])
def test_steep_late_t_waves_of_paced_beats_are_not_counted(seed, rate):
    truth = simulate_truth(Person.draw(seed), "normal functioning artificial pacemaker", rate, seed=seed)
    found = r_peaks(truth.ecg.signal, truth.ecg.rate)
    assert len(found) == len(truth.beats)
    whole = truth.beats < 9.7  # where a complex that the end of the strip cuts is largest is not told
    assert np.all(np.abs(found / truth.ecg.rate - truth.beats)[whole] < 0.15)


def test_premature_ventricular_beats_are_still_counted():
    for seed in range(25):
        truth = simulate_truth(Person.draw(seed), "ventricular premature complex", seed=seed)
        assert len(r_peaks(truth.ecg.signal, truth.ecg.rate)) == len(truth.beats), seed


@pytest.fixture(scope="module")
def bench(loaded):
    return loaded("scripts/bench_rhythm.py")


def test_agreement_of_marks_is_counted(bench):
    one = np.array([0.1, 1.0, 2.0, 3.0, 4.9])
    assert bench.agreement([one], [one + 0.05], [5.0]) == 1
    assert bench.matched(one, one + 0.2) == 0 and bench.matched(one, one[1:]) == 4
    assert bench.agreement([one], [np.delete(one, 2)], [5.0]) == pytest.approx(4 / 5)  # 2 of 3 and 2 of 2 inner marks
    assert bench.heart_rate(one) == pytest.approx(60) and np.isnan(bench.heart_rate(one[:2]))


def test_the_comparison_with_other_detectors_runs(bench, tmp_path):
    folder = ptbxl_files.make(tmp_path / "ptb-xl", high=(1, 2))
    bench.main(folder, records=2, people=0, output=tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["500 Hz"]["records"] == report["100 Hz"]["records"] == 2
    assert report["500 Hz"]["detectors"]["ours, 12 leads"]["more than 5/min off the middle of the three"] == 0
    assert report["500 Hz"]["agreement"]["ours, 12 leads | ours, lead II"] > 0.95


def test_real_beats_agree_with_other_detectors(bench, ptbxl, tmp_path):
    """Where ours, XQRS and openecg differ about a heart rate, ours is not the one that
    stands alone (docs/rhythm.md)."""
    pytest.importorskip("openecg")
    bench.main(ptbxl, records=40, people=0, output=tmp_path / "r.json")
    for part in json.loads((tmp_path / "r.json").read_text()).values():
        off = {name: row["more than 5/min off the middle of the three"] for name, row in part["detectors"].items()}
        assert off["ours, 12 leads"] <= min(2, *off.values()), off
        assert part["agreement"]["ours, 12 leads | openecg, lead II"] > 0.97
