"""A classifier trained on made ECGs is worth what they show: cheats are caught, and people differ."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ecgtwin.evaluation.classifier import Taught, targets, train
from ecgtwin.evaluation.tasks import Held
from ecgtwin.evaluation.utility import Effort, diagnosis, references, states, training
from ecgtwin.twin.condition import Condition

pytest.importorskip("accelerate")
SHOWN, PLAIN = "atrial fibrillation", "sinus rhythm"
EFFORT = Effort(twins=48, each=10, patients=6, seeds=1, steps=12, tuning=20)
LENGTH = 256


def drawn(conditions, patients, seed):
    """ECGs in which the statement is a shift, up in patients of even numbers and down in the others, where
    `patients` are told, and up in all where not."""
    x = 0.3 * np.random.default_rng(seed).standard_normal((len(conditions), 8, LENGTH))
    for k, c in enumerate(conditions):
        sign = 1 if patients is None or patients[k] % 2 == 0 else -1
        x[k] += sign * (SHOWN in c.reports)
    return x.astype(np.float32)


@dataclass(frozen=True)
class Few:
    """As much of `Recordings` as is asked for."""

    signals: np.ndarray
    said: tuple
    patient: np.ndarray
    rate: float = 102.4

    def __len__(self):
        return len(self.said)

    def statements(self, k):
        return self.said[k]

    def millivolts(self, rows=slice(None)):
        return self.signals[rows]

    def where(self, rows):
        return Few(self.signals[rows], tuple(self.said[k] for k in rows), self.patient[rows])

    def sexes(self, k):
        return None

    def years(self, k):
        return None


def people(n, each, seed, *, own):
    patients = np.repeat(np.arange(n), each)
    conditions = tuple(Condition((SHOWN,) if k % 2 else (PLAIN,)) for k in range(len(patients)))
    return drawn(conditions, patients if own else None, seed), conditions, patients


class Maker:
    name, key = "twin", "twin"


def answer(own=False, opposite=False):
    def draw(maker, task):
        turned = {SHOWN: (PLAIN,), PLAIN: (SHOWN,)}
        asked = [Condition(turned[c.reports[0]]) if opposite else c for c in task.wanted]
        return drawn(asked, task.patients if own else None, 5)

    return draw


def values(figure):
    return {k: v.value for k, v in figure.rows.items()}


@pytest.fixture(scope="module")
def data():
    signals, conditions, patients = people(60, 2, 1, own=False)
    train_on = Few(signals, tuple(c.reports for c in conditions), patients)
    signals, conditions, patients = people(30, 2, 2, own=False)
    return train_on, Held(signals, conditions, 1000 + patients, 102.4)


def test_twins_that_show_what_was_asked_train_a_classifier_and_others_do_not(data):
    train_on, held = data
    (good, gains), table, networks, names = training(train_on, held, Maker(), answer(), EFFORT, 0, print)
    found = values(good)
    assert names == (SHOWN, PLAIN) and len(networks) == 1 and len(found) == 7
    alone = found["48 twins alone"]
    assert alone > 0.95 and found["all 120 real"] > 0.95
    assert gains.rows["48 twins alone, minus 48 real"].value == pytest.approx(alone - found["48 real"])
    assert (
        dict(zip(table.columns, table.lines[SHOWN], strict=True)).items() >= {"with it: real": 60, "tested": 30}.items()
    )
    bad = training(train_on, held, Maker(), answer(opposite=True), EFFORT, 0, print)[0][0]
    assert values(bad)["48 twins alone"] < 0.05


def test_a_classifier_is_tuned_to_people_in_whom_a_statement_looks_otherwise(data):
    train_on, _ = data
    signals, conditions, patients = people(6, 5, 4, own=True)
    held, names = Held(signals, conditions, patients, 102.4), (SHOWN, PLAIN)
    labels = torch.from_numpy(targets([Condition(r) for r in train_on.said], names)).float()
    population = [train(Taught(torch.from_numpy(train_on.signals), labels), EFFORT.steps, 0)]
    macro, micro = diagnosis(held, states(train_on), population, names, Maker(), answer(own=True), EFFORT, 0, print)
    found = values(macro)
    assert found["own twins"] > 0.9 and found["own twins"] > max(found["population"], found["another patient's twins"])
    assert found["population"] < 0.8 and found["no skill"] == 0.5
    assert values(micro)["own twins"] > values(micro)["population"]
    assert macro.n == 24 and macro.rows["own twins minus population"].low > 0


def test_references_are_first_ecgs_of_known_patients_with_several():
    held = Held(np.zeros((7, 8, 4)), (Condition(),) * 7, np.array([3, 3, -1, 5, -1, 3, 6]), 100.0)
    firsts, tests = references(held, 5, 0)
    assert firsts.tolist() == [0] and tests[0].tolist() == [1, 5]
