import numpy as np

from ecgtwin.evaluation import tasks
from ecgtwin.evaluation.makers import Copy, Stranger, drawn
from ecgtwin.evaluation.tasks import Held
from ecgtwin.twin.condition import Condition


def held(n: int = 30) -> Held:
    rng = np.random.default_rng(0)
    states = [("sinus rhythm",), ("atrial fibrillation",), ("sinus rhythm", "left ventricular hypertrophy")]
    conditions = tuple(Condition(states[k % 3], ("female", "male")[k % 2], 40.0 + k, 60.0 + k) for k in range(n))
    return Held(rng.normal(0, 0.3, (n, 8, 64)).astype(np.float32), conditions, np.arange(n) // 2, 102.4)


def test_exchange_asks_everybody_for_the_state_of_somebody_else_and_keeps_age_and_sex():
    people = held()
    task = tasks.exchange(people, 20, 0)
    assert sorted(c.reports for c in task.wanted) == sorted(c.reports for c in task.own)
    for own, wanted in zip(task.own, task.wanted, strict=True):
        assert (wanted.age, wanted.sex) == (own.age, own.sex) and wanted.heart_rate != own.heart_rate
    for k, wanted in enumerate(task.wanted):  # the truth is the ECG that has that state
        row = next(j for j, x in enumerate(people.signals) if np.array_equal(x, task.truth[k]))
        assert people.conditions[row].reports == wanted.reports and people.patients[row] == task.truth_patients[k]


def test_factual_pairs_are_of_one_patient_and_of_two_ecgs():
    task = tasks.factual(held(), 12, 0)
    assert len(task) == 12
    assert not any(np.array_equal(a, b) for a, b in zip(task.references, task.truth, strict=True))
    many = held()
    many = Held(many.signals, many.conditions, np.r_[np.zeros(10, int), many.patients[10:]], 102.4)
    task = tasks.factual(many, 400, 0)
    names, counts = np.unique(task.patients, return_counts=True)
    assert counts[names == 0] == tasks.PAIRS_EACH and (counts[names != 0] == 2).all()  # of 90 pairs of patient 0
    assert len(set(task.patients[: len(names)].tolist())) == len(names)  # the first pairs are of all patients
    unknown = held()
    assert len(tasks.factual(Held(unknown.signals, unknown.conditions, np.full(30, -1), 102.4), 12, 0)) == 0


def test_only_the_dose_changes_within_a_series():
    task = tasks.doses(held(), 4, (50.0, 100.0), 0)
    assert [c.heart_rate for c in task.wanted] == [50, 100] * 4 and all(
        c.reports == ("sinus rhythm",) for c in task.wanted
    )
    assert (task.seeds[::2] == task.seeds[1::2]).all() and np.array_equal(task.references[::2], task.references[1::2])
    older = tasks.ages(held(), 3, (30.0, 60.0, 90.0), 0)
    assert [c.age for c in older.wanted] == [30, 60, 90] * 3 and len({c.reports for c in older.wanted[:3]}) == 1


def test_repeats_have_other_seeds_and_the_way_back_asks_for_the_own_state():
    task = tasks.factual(held(), 5, 0)
    many = tasks.repeated(task, 3)
    assert len(many) == 15 and len(set(many.seeds.tolist())) == 15 and (many.seeds[:5] == task.seeds).all()
    returned = tasks.back(task, task.references + 1)
    assert returned.wanted == task.own and np.array_equal(returned.truth, task.references)


def test_what_was_drawn_is_kept_and_drawn_again_only_for_another_question(tmp_path):
    asked = []

    class Counting:
        name, key = "counting", "1"

        def make(self, task):
            asked.append(len(task))
            return task.references

    task = tasks.redraw(held(), 30, 0)
    first = drawn(Counting(), task, tmp_path)
    assert asked == [24, 6] and np.abs(np.median(first, -1)).max() < 1e-3
    np.testing.assert_array_equal(drawn(Counting(), task, tmp_path), first)
    assert asked == [24, 6]
    next(iter(tmp_path.iterdir())).unlink()  # as after an interruption
    drawn(Counting(), task, tmp_path)
    assert len(asked) == 3
    drawn(Counting(), tasks.redraw(held(), 30, 1), tmp_path)
    assert len(asked) == 5


def test_a_stranger_is_another_patient_in_that_state():
    people = held()
    task = tasks.exchange(people, 20, 0)
    for x, wanted, patient in zip(Stranger(people).make(task), task.wanted, task.patients, strict=True):
        row = next(j for j, s in enumerate(people.signals) if np.array_equal(s, x))
        assert people.patients[row] != patient and people.conditions[row].reports == wanted.reports
    np.testing.assert_array_equal(Copy().make(task), task.references)
