"""MIMIC-IV-ECG: every quirk of its tables and files, on a copy of its exact layout."""

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecgtwin.ecg.datasets import mimic
from ecgtwin.ecg.datasets.source import Statements
from ecgtwin.ecg.store import SEXES
from ecgtwin.ecg.store.prepare import prepare
from ecgtwin.text.phrases import from_phrase
from ecgtwin.text.statements import STATEMENTS

from .. import mimic_files as files
from ..wfdb_files import heart

LINES = Statements(from_phrase, [s.name for s in STATEMENTS])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mimic")
    files.make(folder)
    return folder


@pytest.fixture(scope="module")
def source(place):
    return mimic.scan(place, LINES)


@pytest.fixture(scope="module")
def store(source, tmp_path_factory):
    return prepare(source, tmp_path_factory.mktemp("store") / "mimic", workers=1)


@pytest.fixture
def row(store):
    names = store.texts("name")
    place = {int(names[k].rsplit("/", 1)[1]): k for k in range(len(names))}
    return lambda study: place[study]


def test_a_partial_copy_is_enough_and_is_told(source, store):
    assert len(source.table) == len(files.STUDIES) - 1 == len(store)
    assert source.problems["records that are listed but not here"] == 1
    assert source.problems["studies listed twice"] == 1
    assert not any(str(files.ABSENT) in name for name in source.table["name"])


def test_leads_go_by_name_though_avf_comes_before_avl(store, row):
    true = heart(40689238, bpm=75)
    got = store.ecg(row(40689238)).twelve()
    for lead in ("I", "aVL", "aVF", "V6"):
        x = got.signal[got.leads.index(lead)]
        expected = np.interp(np.arange(1024) / 102.4, np.arange(5000) / 500, true[lead])
        assert np.corrcoef(x, expected)[0, 1] > 0.97, lead
    assert "limb_mismatch" not in store.flags(row(40689238))
    assert "limb_mismatch" in store.flags(row(files.SWAPPED))


def test_codes_for_not_measured_are_no_numbers(source, store, row):
    assert source.problems["rr_interval: code for 'not measured'"] == 1
    assert source.problems["p_onset: code for 'not measured'"] == 1
    assert {
        f"{axis}: code for 'not measured'": source.problems.get(f"{axis}: code for 'not measured'")
        for axis in mimic.AXES
    } == {f"{axis}: code for 'not measured'": 1 for axis in mimic.AXES}
    assert np.isnan(store.column("heart_rate_given")[row(files.GAP)]) and np.isnan(
        store.column("pr_ms_given")[row(files.GAP)]
    )
    assert np.isnan([store.column(f"{axis}_given")[row(files.ZERO)] for axis in mimic.AXES]).all()
    assert "sentinel" in store.flags(row(files.GAP)) and "sentinel" in store.flags(row(files.ZERO))
    assert np.isnan(store.column("heart_rate_given")[row(42000002)])  # an RR interval of 0
    for name in ("heart_rate_given", "pr_ms_given", "qrs_ms_given", "qt_ms_given", "p_axis_given"):
        assert np.nanmax(np.abs(store.column(name))) < 1000


def test_machine_measurements_become_rates_intervals_and_axes(store, row):
    k = row(44458630)
    given = [
        store.column(f"{n}_given")[k]
        for n in ("heart_rate", "pr_ms", "qrs_ms", "qt_ms", "p_axis", "qrs_axis", "t_axis")
    ]
    assert given == [120, 160, 90, 400, 50, 30, 40]
    assert abs(store.column("heart_rate")[k] - 120) < 1
    assert "rate_disagrees" not in store.flags(k)
    assert "rate_disagrees" in store.flags(row(49036311))  # 75 in the signal, RR 1200 ms given


def test_report_lines_follow_blank_ones(source, store, row):
    assert store.texts("report")[row(40689238)] == "Sinus rhythm|Left atrial abnormality|Borderline ECG"
    assert source.problems["reports with blank lines in between"] == 2
    assert store.statements(row(40689238))[:1] == ("sinus rhythm",)
    assert store.statements(row(files.GAP)) == ("atrial fibrillation",)
    assert store.texts("report")[row(44000001)] == "" and store.statements(row(44000001)) == ()
    assert source.problems["records without a report"] == 1


def test_broken_text_is_kept_on_one_line_and_flagged(source, store, row):
    assert store.texts("report")[row(44000002)] == "R\ufffdck / sinus rhythm|Some unheard-of finding"
    assert "broken_text" in store.flags(row(44000002))
    assert source.problems["report with lost characters"] == 1
    assert source.unmapped["Some unheard-of finding"] == 1


def test_age_is_that_of_the_day_and_91_means_over_89(source, store, row):
    age = np.asarray(store.column("age"))
    assert age[row(40689238)] == 52 and age[row(49036311)] == 54
    assert age[row(files.GAP)] == 90 and "age_over_89" in store.flags(row(files.GAP))
    assert age[row(42000001)] == 88 and age[row(42000002)] == 90
    assert np.isnan(age[row(44000002)]) and source.problems["patients' ECGs without a line in patients.csv"] == 3
    sex = [SEXES[store.column("sex")[row(k)]] for k in (40689238, files.GAP, 43000001, 44000002)]
    assert sex == ["female", "male", None, None]


def test_missing_samples_zero_leads_and_damaged_files(store, row):
    assert "bridged" in store.flags(row(files.GAP)) and store.usable[row(files.GAP)]
    assert "missing_samples" in store.flags(row(files.LONG_GAP)) and not store.usable[row(files.LONG_GAP)]
    assert "zero_lead" in store.flags(row(files.ZERO)) and not store.usable[row(files.ZERO)]
    assert "unreadable" in store.flags(row(files.TRUNCATED))
    assert "truncated" in next(iter(store.facts["unreadable"].values()))
    assert "microvolts" in store.flags(row(files.MICROVOLTS)) and not store.usable[row(files.MICROVOLTS)]
    assert np.isnat(store.column("time")[row(44000001)])


def test_a_bridged_gap_is_a_straight_line(store, row):
    x = store.millivolts([row(files.GAP)])[0][store.leads.index("V2")]
    inside = x[int(1005 * 0.2048) : int(1035 * 0.2048)]
    assert np.abs(np.diff(inside, 2)).max() < 0.01


def test_patients_stay_together(store):
    assert store.facts["patients"] == 5
    split, patient = np.asarray(store.column("split")), np.asarray(store.column("patient"))
    assert all(len(set(split[patient == p])) == 1 for p in range(5))


def test_tables_are_found_from_above_and_beside(place):
    root = place / "physionet.org" / "files" / "mimic-iv-ecg" / "1.0"
    alone = mimic.scan(root)
    assert alone.problems["sex and age not known: no patients.csv (MIMIC-IV, folder hosp) was given"] == len(
        alone.table
    )
    helped = mimic.scan(root, patients=place / "physionet.org" / "files" / "mimiciv")
    assert np.nanmax(helped.table["age"]) == 90
    with pytest.raises(FileNotFoundError, match="record_list.csv"):
        mimic.scan(place / "physionet.org" / "files" / "mimiciv")
    with pytest.raises(FileNotFoundError, match="patients.csv"):
        mimic.scan(root, patients=root / "files")


def test_measurements_are_read_in_chunks(place, source, monkeypatch):
    monkeypatch.setattr(mimic, "CHUNK", 3)
    again = mimic.scan(place, LINES)
    assert again.table.equals(source.table) and again.problems == source.problems


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(["record_list.csv", "machine_measurements.csv", "patients.csv.gz"]),
    content=st.binary(max_size=300),
    packed=st.booleans(),
)
def test_tables_of_random_bytes_give_a_clear_error(tmp_path, which, content, packed):
    (tmp_path / "record_list.csv").write_text("subject_id,study_id,ecg_time,path\n1,2,2180-01-01,files/p1/2\n")
    (tmp_path / "machine_measurements.csv").write_text("study_id,report_0,rr_interval\n2,Sinus rhythm,800\n")
    (tmp_path / "patients.csv.gz").write_bytes(
        gzip.compress(b"subject_id,gender,anchor_age,anchor_year\n1,F,50,2170\n")
    )
    (tmp_path / "files" / "p1").mkdir(parents=True, exist_ok=True)
    for ending in ("hea", "dat"):
        (tmp_path / "files" / "p1" / f"2.{ending}").touch()
    assert mimic.scan(tmp_path, LINES).table["age"].tolist() == [60]
    (tmp_path / which).write_bytes(gzip.compress(content) if packed and which.endswith("gz") else content)
    with pytest.raises((ValueError, FileNotFoundError), match="record_list|machine_measurements|patients|no records"):
        mimic.scan(tmp_path, LINES)
