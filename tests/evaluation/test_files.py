import numpy as np
import pytest

from ecgtwin.ecg.leads import LEADS
from ecgtwin.evaluation.files import SEEDS_APART, as_task, read_array, read_folder, task_of
from ecgtwin.twin.condition import Condition

from .test_tasks import held

OPTIONS = dict(rate=100.0, leads=LEADS, unit="uV", table=None, wanted=102.4, samples=1024)


@pytest.fixture
def array(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "made.npy"
    np.save(path, rng.normal(0, 300, (3, 12, 1000)))
    lines = [
        "reports,sex,age,heart_rate,reference",
        "sinus rhythm|left ventricular hypertrophy,male,60,70,",
        ",,,,",
        "paced rhythm,,,,",
    ]
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n")
    return path


def test_an_array_with_its_table_is_read_in_millivolts_at_the_stores_rate(array):
    made = read_array(array, **OPTIONS)
    assert made.signals.shape == (3, 8, 1024) and 0.2 < made.signals.std() < 0.4
    assert (
        made.conditions[0].reports == ("sinus rhythm", "left ventricular hypertrophy") and made.conditions[0].age == 60
    )
    assert made.conditions[1].empty
    task = as_task(made, held(), ["a"] * 30)
    assert len(set(task.patients.tolist())) == 3 and (task.patients < -1).all()


def test_a_table_that_names_references_asks_of_these():
    people, names = held(), [f"r{k}" for k in range(30)]
    wanted = (Condition(("sinus rhythm",), heart_rate=60.0), Condition(("atrial fibrillation",)))
    task = task_of(wanted, ("r7", "r2"), people, names, seed=2)
    np.testing.assert_array_equal(task.references, people.signals[[7, 2]])
    assert task.wanted == wanted and task.own == (people.conditions[7], people.conditions[2])
    assert task.seeds.tolist() == [2 * SEEDS_APART, 2 * SEEDS_APART + 1] and task.patients.tolist() == [3, 1]
    with pytest.raises(ValueError, match="'r77' is not a held-out record"):
        task_of(wanted, ("r77", ""), people, names)


@pytest.mark.parametrize("missing, message", [("rate", "--rate"), ("leads", "--leads"), ("unit", "--unit")])
def test_what_an_array_does_not_say_must_be_said(array, missing, message):
    with pytest.raises(ValueError, match=message):
        read_array(array, **OPTIONS | {missing: None})


def test_a_table_that_does_not_fit_is_refused(array):
    table = array.with_suffix(".csv")
    table.write_text("reports,wings\na,b\nc,d\ne,f\n")
    with pytest.raises(ValueError, match="'wings' is not known"):
        read_array(array, **OPTIONS)
    table.write_text("reports\na\n")
    with pytest.raises(ValueError, match="1 lines"):
        read_array(array, **OPTIONS)
    table.unlink()
    with pytest.raises(ValueError, match="no table"):
        read_array(array, **OPTIONS)


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neither a model"):
        read_folder(tmp_path, wanted=102.4, samples=1024)


def test_a_reference_that_is_not_held_out_is_refused(array):
    lines = array.with_suffix(".csv").read_text().replace("70,\n", "70,nobody\n")
    array.with_suffix(".csv").write_text(lines)
    with pytest.raises(ValueError, match="'nobody' is not a held-out record"):
        as_task(read_array(array, **OPTIONS), held(), ["a"] * 30)


def test_files_beside_become_rows_and_are_not_taken_for_a_model(tmp_path):
    from ecgtwin.cli import app

    with pytest.raises(SystemExit):
        app(["evaluate", "default", "--real", str(tmp_path), "--beside", str(tmp_path / "a.npy")])
