"""Real ECGs made worse by known amounts: the distances between sets rank them. Here on simulated ECGs, which are always
there; on real ones in test_sabotage.py."""

import numpy as np
import pytest

from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.evaluation.reading import Judges, Reading
from ecgtwin.evaluation.realism import degraded, distances, halves, learned, marked, told_apart
from ecgtwin.metrics.degradations import LADDER

RATE = 102.4
STATES = ("sinus rhythm", "atrial fibrillation", "left ventricular hypertrophy", "inferior myocardial infarction")
NOTHING_TO_TELL = "does not tell 100 Hz round trip from real"  # what 102.4 Hz carries, 100 Hz does, but for 1 Hz


def people(first: int, n: int, judges: Judges) -> Reading:
    """n simulated people, each in one of four states, with noise."""
    numbers = range(first, first + n)
    ecgs = [simulate(Person.draw(k), STATES[k % len(STATES)], seed=k).resample(RATE) for k in numbers]
    signals = np.stack([e.select(INDEPENDENT).signal[:, :1024] for e in ecgs]).astype(np.float32)
    return Reading(signals, RATE, np.array(numbers), judges)


@pytest.fixture(scope="module")
def world() -> tuple[Reading, Reading]:
    judges = Judges.load()
    return people(0, 96, judges), people(1000, 72, judges)


def test_learned_distances_rank_ecgs_that_were_made_worse(world):
    real, fitted = world
    rungs, place = degraded(real), learned(fitted)
    rows = {name: (place(r), r.patients) for name, r in rungs.items()}
    figures = distances("learned", place(real), real.patients, rows, halves(real.patients, 0))
    found = {f.name: f for f in figures}
    for name in ("kernel distance, learned", "Frechet distance, learned"):
        same, through, noise, blur, reversed_ = (found[name].rows[rung].value for rung in LADDER)
        assert through < noise < blur < reversed_, (name, found[name].rows)
        assert abs(through - same) < 0.01 * (reversed_ - same)
        assert NOTHING_TO_TELL in marked(found[name]).note
    density = {rung: row.value for rung, row in found["density, learned"].rows.items()}
    assert density["time-reversed"] < density["8 Hz blur"] < density["real"]


def test_a_classifier_tells_noise_blur_and_time_reversal_from_real(world):
    real, _ = world
    rungs = {name: r for name, r in degraded(real).items() if name != "100 Hz round trip"}
    rows = told_apart(real, rungs, halves(real.patients, 0)).rows
    assert rows["real"].low < 0.6
    assert all(row.low > 0.8 for name, row in rows.items() if name != "real"), rows
