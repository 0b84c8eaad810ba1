"""Simulated people stand for the real ones: what is constructed of them is known to be theirs."""

import numpy as np
import pytest

from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.evaluation import constructed
from ecgtwin.evaluation.reading import Reading
from ecgtwin.evaluation.tasks import Held
from ecgtwin.twin.condition import Condition


@pytest.fixture(scope="module")
def held() -> Held:
    ecgs = [simulate(Person.draw(k), "sinus rhythm", seed=k) for k in range(4)]
    signals = np.stack([e.resample(102.4).select(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")).signal for e in ecgs])
    conditions = tuple(Condition(("sinus rhythm",), e.sex, e.age, 60.0) for e in ecgs)
    return Held(signals[:, :, :1024].astype(np.float32), conditions, np.arange(4), 102.4)


def test_the_truth_is_no_worse_than_itself_and_the_copy_gets_its_own_distance(held):
    fits = constructed.fitted(held, 2, 0)
    assert len(fits.people) == 2 and len(set(fits.rows.tolist())) == 2
    state = "complete left bundle branch block"
    task, noisy = constructed.task_of(held, fits, state, lambda reports: reports, 0)
    assert state in task.wanted[0].reports and task.truth.shape == noisy.shape == task.references.shape
    gallery = Reading(held.signals, held.rate, held.patients, None)
    rows = {}
    for name, signals in (("right", task.truth), ("copy", task.references)):
        answer = constructed.Answered(task, Reading(signals, held.rate, task.patients, None), noisy)
        figures, table = constructed.judged({state: answer}, fits, gallery, lambda x: x, name)
        rows[name] = {f.name: f.rows for f in figures} | {
            "line": dict(zip(table.columns, table.lines[state], strict=True))
        }
    right, copy = (rows[k]["distance to the constructed truth"] for k in ("right", "copy"))
    assert right["right"].value < 1e-6 and right["copy of the reference"].value > 50
    assert copy["copy"].value == copy["copy of the reference"].value
    assert rows["right"]["line"]["left of it"] == pytest.approx(0, abs=1e-6) and rows["copy"]["line"]["left of it"] == 1
    assert rows["copy"]["found as the own reference"]["copy"].value == 1


def test_who_is_found_is_the_nearest_of_all():
    gallery = np.eye(3, 8)
    found = constructed.found(gallery[[1, 2, 0]] * 5 + 0.1, np.array([1, 0, 0]), gallery, lambda x: x)
    assert found.tolist() == [1, 0, 1]
    assert np.isnan(constructed.found(np.zeros((1, 8)), np.array([0]), gallery, lambda x: x)).all()
