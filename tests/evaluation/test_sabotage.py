"""Generators that cheat or fail in one way each, and the figure that has to catch it.

On real ECGs of patients whom the judges never saw.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.store import Store
from ecgtwin.ecg.store.recordings import Recordings
from ecgtwin.evaluation import agreement, likeness, realism, tasks
from ecgtwin.evaluation import telltales as module
from ecgtwin.evaluation.makers import Copy, Stranger
from ecgtwin.evaluation.reading import Judges, Reading, beat_distance
from ecgtwin.evaluation.telltales import Against, telltales
from ecgtwin.metrics.degradations import LADDER

ECGS = 80


@dataclass(frozen=True, eq=False)
class World:
    whole: Reading
    fitted: Reading
    exchange: tasks.Task
    redraw: tasks.Task
    pairs: tasks.Task
    held: tasks.Held

    def read(self, signals, patients=None) -> Reading:
        return Reading(
            signals, self.held.rate, self.exchange.patients if patients is None else patients, self.whole.judges
        )


@pytest.fixture(scope="module")
def world(ptbxl, tmp_path_factory) -> World:
    from ecgtwin.cli import app

    folder = tmp_path_factory.mktemp("sabotage") / "store"
    app(["data", "prepare", "ptbxl", str(ptbxl), str(folder), "--no-progress"], standalone_mode=False)
    recordings = Recordings.of([Store.open(folder)])
    rows = recordings.only("validation")
    several = np.flatnonzero(
        np.isin(rows.patient, [p for p in set(rows.patient.tolist()) if (rows.patient == p).sum() > 1])
    )
    rows = rows.where(np.union1d(several, np.arange(160)))
    held, train = tasks.Held.of(rows), recordings.only("train")
    judges = Judges.load()
    whole = Reading(held.signals, held.rate, held.patients, judges)
    some = np.arange(0, len(train), len(train) // 150)
    fitted = Reading(train.millivolts(some), train.rate, train.patient[some], judges)
    return World(
        whole, fitted, tasks.exchange(held, ECGS, 0), tasks.redraw(held, ECGS, 0), tasks.factual(held, 40, 0), held
    )


@pytest.fixture(scope="module")
def copied(world) -> Reading:
    return world.read(Copy().make(world.exchange))


@pytest.fixture(scope="module")
def strangers(world) -> Reading:
    """A generator that ignores the reference and does what it is asked perfectly."""
    return world.read(world.exchange.truth)


def figure(figures, name):
    return next(f for f in figures if f.name == name).rows


def test_a_copier_is_caught_by_agreement_and_by_copying(world, copied, strangers):
    asked = figure(agreement.agreement(world.exchange, {"copy": copied, "right": strangers})[0], "statement agreement")
    assert asked["copy"].value < 0.6 < 0.8 < asked["right"].value
    another_day = beat_distance(
        *(world.read(x, world.pairs.patients).beats for x in (world.pairs.truth, world.pairs.references))
    )
    found = likeness.copied({"copy": copied, "right": strangers}, copied, another_day, world.exchange.patients).rows
    assert found["copy"].value == 1 and found["right"].value < 0.2


def test_one_that_ignores_the_reference_is_caught_by_identity(world, copied, strangers):
    pairs = tuple(world.read(x, world.pairs.patients) for x in (world.pairs.references, world.pairs.truth))
    found = likeness.identity(world.exchange, {"copy": copied, "ignores": strangers}, world.whole, pairs)
    rank, alike = figure(found, "recognised"), figure(found, "likeness to the reference")
    assert rank["ignores"].high < rank["real later ECG"].value <= rank["copy"].value == 1
    assert alike["ignores"].high < alike["real later ECG"].value
    a, b = pairs
    other = world.read(Stranger(world.held).make(world.pairs), world.pairs.patients)
    far = figure(likeness.factual(world.pairs, {"copy": a, "ignores": other}, a, b), "distance to the real later ECG")
    assert far["ignores"].value > 1.2 * far["copy"].value


def test_one_that_ignores_the_condition_is_caught_by_dose_response_and_heart_rate(world):
    rates = (50.0, 80.0, 110.0)
    series = tasks.doses(world.held, 8, rates, 0)
    found = likeness.dose(series, rates, {"ignores": world.read(series.references, series.patients)})
    assert abs(figure(found, "dose-response of the heart rate")["ignores"].value) < 0.01
    assert figure(found, "heart rate error, 40-140/min asked")["ignores"].value > 15


def test_noise_is_caught_by_distances_and_by_the_two_sample_test(world, monkeypatch):
    noise = np.random.default_rng(0).normal(0, 0.05, world.redraw.references.shape).astype(np.float32)
    noisy = world.read(world.redraw.references + noise, world.redraw.patients)
    real = world.read(world.redraw.references, world.redraw.patients)
    found = realism.realism(world.whole, world.fitted, {realism.FLOOR: real, "noisy": noisy}, 0)
    kernel = figure(found, "kernel distance, hand-made")
    floor = kernel[realism.FLOOR]
    assert kernel["noisy"].low > 0 > floor.low and kernel["noisy"].value > 1.5 * floor.value
    told = figure(found, "told from real by a classifier")
    assert told["noisy"].low > 0.8 and told[realism.FLOOR].low < 0.6
    monkeypatch.setattr(module, "GROUPS", {k: module.GROUPS[k] for k in ("RR variation", "power above 40 Hz")})
    rr, power = telltales({"noisy": Against(real, noisy)}, 0)
    assert power.rows["noisy"].low > 0.9 > rr.rows["noisy"].value


def test_distances_rank_real_ecgs_that_were_made_worse(world):
    place = realism.learned(world.fitted)
    rows = {name: (place(r), r.patients) for name, r in realism.degraded(world.whole).items()}
    whole = world.whole
    found = realism.distances("learned", place(whole), whole.patients, rows, realism.halves(whole.patients, 0))
    for name in ("kernel distance, learned", "Frechet distance, learned"):
        values = {rung: row.value for rung, row in figure(found, name).items()}
        same, through, noise, blur, reversed_ = (values[rung] for rung in LADDER)
        assert through < noise < blur < reversed_ and abs(through - same) < 0.01 * (reversed_ - same), (name, values)


def test_irregular_beats_are_caught_by_rr_variation(world):
    real = world.read(world.redraw.references, world.redraw.patients)
    jumping = world.read(
        np.stack([irregular(x, world.held.rate, k) for k, x in enumerate(world.redraw.references)]),
        world.redraw.patients,
    )
    found = agreement.rhythms(world.redraw, {"real": real, "jumping": jumping})
    for name in ("RR variation, sinus rhythm", "beat-to-beat jumps of RR, sinus rhythm"):
        rows = figure(found, name)
        assert rows["jumping"].low > 1.5 * rows["real"].high


def irregular(x: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """The same beats at intervals that jump by a tenth: time is stretched and squeezed between them."""
    peaks = r_peaks(x, rate)
    if len(peaks) < 4:
        return x
    gaps = np.diff(peaks) * np.random.default_rng(seed).uniform(0.82, 1.18, len(peaks) - 1)
    moved = np.r_[peaks[0], peaks[0] + np.cumsum(gaps)]
    t = np.interp(np.arange(x.shape[1]), np.r_[0, moved, moved[-1] + 200], np.r_[0, peaks, peaks[-1] + 200])
    return np.stack([np.interp(t, np.arange(x.shape[1]), lead) for lead in x]).astype(np.float32)
