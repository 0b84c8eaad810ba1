"""The model in the package and sabotaged variants of it, on a few simulated people: the figure that is there for a kind
of cheating catches it, and lets the model itself pass."""

from dataclasses import dataclass

import numpy as np
import pytest

from ecgtwin import ECGTwin
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.evaluation import agreement, likeness
from ecgtwin.evaluation.makers import Copy, Twins
from ecgtwin.evaluation.reading import Judges, Reading
from ecgtwin.evaluation.realism import told_apart
from ecgtwin.evaluation.tasks import Task
from ecgtwin.twin.condition import Condition

from .test_sabotage import irregular

PEOPLE = 10
RATE = 102.4


@dataclass(frozen=True, eq=False)
class World:
    """Half of the people are asked for atrial fibrillation at 110/min, half for sinus rhythm at 60/min."""

    task: Task
    gallery: Reading
    twins: Reading
    nobody: Reading
    unasked: Reading

    def read(self, signals: np.ndarray) -> Reading:
        return Reading(signals.astype(np.float32), RATE, self.task.patients, self.gallery.judges)


@pytest.fixture(scope="module")
def world() -> World:
    people = [Person.draw(100 + k) for k in range(PEOPLE)]
    ecgs = [simulate(p, "sinus rhythm", 80, seed=k).resample(RATE).select(INDEPENDENT) for k, p in enumerate(people)]
    signals = np.stack([e.signal[:, :1024] for e in ecgs])
    own = tuple(Condition(("sinus rhythm",), p.sex, p.age, 80.0) for p in people)
    states = ((("atrial fibrillation",), 110.0), (("sinus rhythm",), 60.0))
    wanted = tuple(Condition(states[k % 2][0], c.sex, c.age, states[k % 2][1]) for k, c in enumerate(own))
    numbers = np.arange(PEOPLE)
    task = Task("asked", signals, own, wanted, numbers, numbers)
    gallery = Reading(signals, RATE, numbers, Judges.load())
    model = ECGTwin.from_pretrained()
    asked = ((Twins(model), task), (Twins(model, "n", True), task), (Twins(model), task.asked("own state", own)))
    return World(task, gallery, *(Reading(maker.make(of), RATE, numbers, gallery.judges) for maker, of in asked))


def row(figures, name):
    return next(f for f in figures if f.name == name).rows


def test_who_copies_the_reference_is_caught_and_the_model_is_not(world):
    sets = {"twin": world.twins, "copy": world.read(Copy().make(world.task))}
    asked = row(agreement.agreement(world.task, sets)[0], "statement agreement")
    assert asked["twin"].value > 0.9 and asked["copy"].value < 0.75
    # Ten people have no later ECG: 50 uV stands for what differs from day to day.
    near = likeness.copied(sets, world.gallery, np.full(4, 50.0), world.task.patients).rows
    assert near["copy"].value == 1 and near["twin"].value < 0.5


def test_who_ignores_the_condition_is_caught_and_the_model_is_not(world):
    """The model itself, told the reference's own state whatever was asked: no copy, and nothing that was asked."""
    sets = {"twin": world.twins, "ignores": world.unasked}
    found = agreement.agreement(world.task, sets)[0]
    asked, rate = row(found, "statement agreement"), row(found, "heart rate error")
    assert asked["twin"].value > 0.9 and asked["ignores"].value < 0.75
    assert rate["twin"].value < 8 < 15 < rate["ignores"].value
    clip = row(found, "CLIP score")
    assert clip["twin"].value > clip["ignores"].value + 5


def test_who_ignores_the_reference_is_caught_and_the_model_is_not(world):
    none = world.gallery.first(0)
    found = likeness.identity(world.task, {"twin": world.twins, "nobody": world.nobody}, world.gallery, (none, none))
    rank, alike = row(found, "recognised"), row(found, "likeness to the reference")
    assert rank["twin"].value > rank["nobody"].value + 0.3
    assert alike["twin"].low > alike["nobody"].high


def test_noise_is_caught_and_the_model_is_not(world):
    noisy = world.twins.signals + np.random.default_rng(0).normal(0, 0.05, world.twins.signals.shape)
    sets = {"twin": world.twins, "noisy": world.read(noisy)}
    power = {name: np.median(r.spectrum.reshape(PEOPLE, 8, -1)[..., -2:]) for name, r in sets.items()}
    real = np.median(world.gallery.spectrum.reshape(PEOPLE, 8, -1)[..., -2:])
    assert power["twin"] - real < 0.25 < power["noisy"] - real, (power, real)  # log10 of power at 33-45 Hz
    real = Reading(np.tile(world.gallery.signals, (5, 1, 1)), RATE, np.arange(5 * PEOPLE) + 100, world.gallery.judges)
    told = told_apart(real, sets, lambda p: np.ones(len(p), bool)).rows
    assert told["noisy"].value > 0.9


def test_irregular_beats_are_caught_and_the_model_is_not(world):
    jumping = np.stack([irregular(x, RATE, k) for k, x in enumerate(world.twins.signals)])
    sets = {"twin": world.twins, "jumping": world.read(jumping)}
    found = row(agreement.rhythms(world.task, sets), "RR variation, sinus rhythm")
    assert found["twin"].value < 0.06 and found["jumping"].value > 2 * found["twin"].value
