"""Age, sex, patient and statements mean the same whoever reads them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgtwin.ecg.datasets import wfdb_folder
from ecgtwin.ecg.files.fields import age_of, comment_fields, describe, patient_of, sex_of
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.store.collect import collect
from ecgtwin.ecg.store.prepare import prepare

from ..wfdb_files import heart, write


@pytest.mark.parametrize(
    ("age", "sex", "years", "female"),
    [
        ("95", "weiblich", 90, True),
        ("300", "Frau", 90, True),
        ("063Y", "männlich", 63, False),
        ("41 years", "F", 41, True),
        ("17.5", "M", 17.5, False),
    ],
)
def test_a_file_and_a_store_of_it_tell_the_same(tmp_path, age, sex, years, female):
    write(tmp_path / "in/r", heart(), comments=(f"<age>: {age} <sex>: {sex} <diagnoses>: atrial fibrillation",))
    one = ECG.read(tmp_path / "in/r")
    row = prepare(wfdb_folder.scan(tmp_path / "in"), tmp_path / "store", workers=1).ecg(0)
    assert one.age == row.age == years
    assert one.sex == row.sex == ("female" if female else "male")
    assert one.reports == ("atrial fibrillation",)
    assert any("kept as 90" in note for note in one.notes) == (years == 90)


def test_a_code_for_sex_is_not_guessed_and_not_dropped(tmp_path):
    """1 is female in PTB-XL and male in ISO 5218."""
    write(tmp_path / "r", heart(), comments=("age: sixty", "sex: 1"))
    one = ECG.read(tmp_path / "r")
    assert one.sex is None and one.age is None
    assert one.notes == (
        "age 'sixty' was not understood: expected years",
        "sex '1' was not understood: expected female or male",
    )
    assert sex_of("1") is None and sex_of("1", {"1": "female"}) == "female"
    write(tmp_path / "s", heart(), comments=("age: unknown", "sex: Unknown"))
    assert ECG.read(tmp_path / "s").notes == ()


@pytest.mark.parametrize("text", ["", None, "-1", -1, "-1.0", "unknown", "N/A", "Anonymous", "nan"])
def test_nobody_is_no_patient(text):
    assert patient_of(text) is None


def test_strangers_called_unknown_are_strangers(tmp_path):
    for k in range(2):
        write(tmp_path / f"in/r{k}", heart(k), comments=("patient: unknown",))
    store = prepare(wfdb_folder.scan(tmp_path / "in"), tmp_path / "store", workers=1)
    assert store.flagged("patient_unknown").all() and store.patient(0) != store.patient(1)
    ecgs = [ECG.read(tmp_path / f"in/r{k}") for k in range(2)]
    assert ecgs[0].patient is None
    again = collect([ECG(e.signal, e.rate, e.leads, patient="-1") for e in ecgs], tmp_path / "again")
    assert again.flagged("patient_unknown").all() and again.patient(0) != again.patient(1)


def test_keys_and_values_of_comments():
    said = comment_fields(
        ["# Age: 63", "#<age>: 65 <sex>: F <diagnoses> Coronary artery disease", "Dx: 1,2", "nothing", "empty:"]
    )
    assert said == {"age": ["63", "65"], "sex": ["F"], "diagnoses": ["Coronary artery disease"], "dx": ["1,2"]}


LINES = st.sampled_from(["<age>: 9 <sex>: F", "age: 1e9", "sex: x", "report: |a||b|", "dx: 1,,2"])


@given(st.lists(st.text(max_size=40) | LINES, max_size=6))
def test_any_comments_are_described(lines):
    found = describe(lines)
    assert found["sex"] in ("female", "male", None) and (found["age"] is None or 0 <= found["age"] <= 90)
    assert all(len(note) < 200 for note in found["notes"])
    assert all(report.strip() == report != "" for report in found["reports"])


@given(st.text(max_size=30) | st.floats() | st.integers() | st.none())
def test_any_age_is_read(text):
    years, over, odd = age_of(text)
    assert math.isnan(years) or 0 <= years <= 90
    assert not (over and odd) and (not over or years == 90)
