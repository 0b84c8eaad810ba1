"""Trees of WFDB files: the Challenge collection, PTBDB, any other; headers and the fast reader."""

import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecgtwin.ecg.datasets import challenge, ptbdb, wfdb_folder
from ecgtwin.ecg.datasets.source import Statements, find
from ecgtwin.ecg.files.fields import age_of, clean_text, sex_of
from ecgtwin.ecg.files.wfdb import CHECKSUM
from ecgtwin.ecg.files.wfdb_header import read_header
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.store import SEXES, SPLITS
from ecgtwin.ecg.store.prepare import prepare
from ecgtwin.text.phrases import from_phrase
from ecgtwin.text.statements import STATEMENTS, from_snomed

from .. import ptbxl_files
from ..wfdb_files import TWELVE, heart, write

NAMES = [s.name for s in STATEMENTS]
SNOMED = Statements(lambda code: from_snomed([code]), NAMES)
LINES = Statements(from_phrase, NAMES)
CHALLENGE = {
    "georgia/g1/E00001": ("Age: 62", "Sex: Male", "Dx: 426783006,270492004"),
    "chapman_shaoxing/g1/JS00001": ("Age: NaN", "Sex: Unknown", "Dx: 164889003,999999999"),
    "ptb-xl/g1/HR00001": ("Age: 300", "Sex: F", "Dx: 426783006"),
    "ptb-xl/g1/HR00004": ("Age: 56", "Sex: Female", "Dx: 426783006"),
    "ptb-xl/g1/HR99999": ("Age: 56", "Sex: Female", "Dx: 426783006"),
    "ptb/g1/S0001": ("Age: 81", "Sex: Female", "Dx: 164865005"),
    "ptb/g1/S0002": ("Age: 81", "Sex: Female", "Dx: 164865005"),
    "cpsc_2018/g1/A0001": ("Age: -1", "Sex: Male", "Dx: Unknown"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("challenge")
    for k, (name, comments) in enumerate(CHALLENGE.items()):
        write(folder / "training" / name, heart(k), comments=comments, ending="mat", offset=24)
    (folder / "training" / "georgia/g1/E00002.hea").write_text("E00002 12 500 5000\nE00002.mat 16\n")
    (folder / "training" / "georgia/g1/E00003.hea").write_bytes(b"\xff\x00rubbish")
    return folder


def row_of(table, name):
    return table.index[table["name"].str.endswith(name)][0]


def test_challenge_headers(tree):
    source = challenge.scan(tree, SNOMED)
    table, places = source.table, {name: row_of(source.table, name) for name in CHALLENGE}
    assert len(table) == len(CHALLENGE)
    assert [source.vocabulary[k] for k in table["statements"][places["georgia/g1/E00001"]]] == [
        "sinus rhythm",
        "first degree AV block",
    ]
    assert table["codes"][places["chapman_shaoxing/g1/JS00001"]] == "164889003|999999999" and source.unmapped == {
        "999999999": 1
    }
    assert [SEXES[s] for s in table["sex"]][places["georgia/g1/E00001"]] == "male"
    assert (
        np.isnan(table["age"][places["chapman_shaoxing/g1/JS00001"]])
        and table["age"][places["ptb-xl/g1/HR00001"]] == 90
    )
    expected = {
        "headers that cannot be read": 2,
        "implausible age": 1,
        "age over 89": 1,
        "age not given": 1,
        "sex not given": 1,
        "no code in #Dx": 1,
        "records of PTB-XL, unusable: give --ptbxl to keep them in their folds": 3,
    }
    for what, n in expected.items():
        assert source.problems[what] == n, what


def test_ptbxl_does_not_leak_in_through_the_challenge(tree, tmp_path):
    alone = prepare(challenge.scan(tree, SNOMED), tmp_path / "alone", workers=1)
    copies = np.flatnonzero(["HR" in name for name in map(alone.texts("name").__getitem__, range(len(alone)))])
    assert len(copies) == 3 and not alone.usable[copies].any() and alone.usable.sum() == len(alone) - 3
    ptbxl = ptbxl_files.make(tmp_path / "ptbxl", 6)
    known = prepare(challenge.scan(tree, SNOMED, ptbxl=tmp_path), tmp_path / "known", workers=1)
    names = [known.texts("name")[k].rsplit("/", 1)[1] for k in range(len(known))]
    first, fourth, strange = names.index("HR00001"), names.index("HR00004"), names.index("HR99999")
    assert (
        known.patient(first) == "ptbxl_1" and known.patient(fourth) == "ptbxl_2" and known.column("fold")[fourth] == 3
    )
    assert known.usable[first] and not known.usable[strange] and "patient_unknown" not in known.flags(first)
    with pytest.raises(FileNotFoundError, match="ptbxl_database"):
        challenge.scan(tree, ptbxl=tree)
    assert ptbxl.is_dir()


def test_records_of_unknown_patients_make_no_pairs_and_stay_together(tree, tmp_path):
    store = prepare(challenge.scan(tree, SNOMED), tmp_path / "store", workers=1)
    names = [store.texts("name")[k].rsplit("/", 1)[1] for k in range(len(store))]
    one, two = names.index("S0001"), names.index("S0002")
    assert store.patient(one) == store.patient(two) and store.column("split")[one] == store.column("split")[two]
    assert all("patient_unknown" in store.flags(k) for k in (one, two, names.index("E00001")))
    from ecgtwin.ecg.store.pairs import Pairs

    assert Pairs.of(store, None).total == 0


def test_real_challenge_records(shared_data, tmp_path):
    folder = shared_data / "challenge2021"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    store = prepare(challenge.scan(folder, SNOMED), tmp_path / "store", workers=1)
    assert len(store) == 20 and not store.flagged("unreadable", "limb_mismatch", "checksum", "short").any()
    assert (np.diff(store.column("statement_offsets")) > 0).all() and store.vocabulary
    rates = np.asarray(store.column("heart_rate"))
    assert np.isfinite(rates).all()
    slow, fast = (
        [rates[k] for k in range(20) if f"sinus {kind}" in store.statements(k)]
        for kind in ("bradycardia", "tachycardia")
    )
    assert np.median(slow) < 65 and np.median(fast) > 95 and min(len(slow), len(fast)) > 1
    assert store.ecg(0).age == 84 and store.ecg(0).sex == "female"


PTBDB = (
    "age: 81", "sex: female", "ECG date: 01/10/1990", "Diagnose:", "Reason for admission: Myocardial infarction",
    "Acute infarction (localization): infero-latera", "Former infarction (localization): no",
    "Additional diagnoses: Diabetes mellitus",
)  # fmt: skip


def test_ptbdb_windows_have_no_offset(tmp_path):
    leads = {name: x + 1.3 * k for k, (name, x) in enumerate(heart(1, rate=1000, seconds=38.4).items())}
    lower = {name: name.lower() for name in TWELVE}
    write(tmp_path / "in/patient001/s0010_re", leads, rate=1000, gain=2000.0, names=lower, comments=PTBDB)
    write(
        tmp_path / "in/patient002/s0020_re", heart(2), names=lower, comments=("age: n/a", "sex: n/a", "ECG date: n/a")
    )
    write(tmp_path / "in/stray", heart(3))
    source = ptbdb.scan(tmp_path / "in", LINES)
    store = prepare(source, tmp_path / "store", workers=1)
    assert [store.patient(k) for k in range(4)] == ["ptbdb_patient001"] * 3 + ["ptbdb_patient002"]
    assert store.column("start").tolist() == [0, 10, 20, 0] and store.usable.all()
    assert all("offset" in store.flags(k) for k in range(3)) and "offset" not in store.flags(3)
    assert np.abs(np.median(store.read(slice(None)), axis=2)).max() <= 1
    assert store.statements(0) == ("inferolateral myocardial infarction",)
    assert str(store.column("time")[0]).startswith("1990-10-01") and np.isnat(store.column("time")[3])
    assert store.ecg(0).age == 81 and store.ecg(3).age is None and store.ecg(3).sex is None
    assert source.problems["records outside a folder patientNNN left out"] == 1


def test_a_real_ptbdb_record(shared_data, tmp_path):
    folder = shared_data / "ptbdb"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    store = prepare(ptbdb.scan(folder, LINES), tmp_path / "store", workers=1)
    assert len(store) == 3 == store.usable.sum() and store.ecg(0).sex == "female"
    assert np.ptp(store.column("heart_rate")) < 5
    assert "acute infarction (localization): infero-latera" in store.texts("report")[0]


def test_any_tree_of_wfdb_files(tmp_path):
    write(
        tmp_path / "in/anna/first",
        heart(1),
        comments=("age: 44", "sex: F", "report: Sinus rhythm|LBBB"),
        date="10:20:30 24/12/1999",
    )
    write(tmp_path / "in/anna/second", heart(2), comments=("patient: anna",))
    write(tmp_path / "in/bert/first", {name: 1000 * x for name, x in heart(3).items()}, gain=1.0, unit="uV")
    source = wfdb_folder.scan(tmp_path / "in", LINES)
    assert source.table["patient"].tolist() == ["wfdb_anna/first", "wfdb_anna", "wfdb_bert/first"]
    store = prepare(wfdb_folder.scan(tmp_path / "in", LINES, patient=r"^(\w+)/"), tmp_path / "store", workers=1)
    assert [store.patient(k) for k in range(3)] == ["wfdb_anna", "wfdb_anna", "wfdb_bert"]
    assert store.statements(0) == ("sinus rhythm", "complete left bundle branch block")
    assert str(store.column("time")[0]) == "1999-12-24T10:20:30" and store.ecg(0).age == 44
    assert store.usable.all() and store.millivolts([2]).max() < 5, "microvolts in the header are microvolts"
    with pytest.raises(ValueError, match="patient pattern"):
        wfdb_folder.scan(tmp_path / "in", patient="(")
    with pytest.raises(FileNotFoundError, match="no records"):
        wfdb_folder.scan(tmp_path / "in" / "empty" if (tmp_path / "in" / "empty").mkdir() is None else tmp_path)


def test_wrong_units_can_be_set_right(tmp_path):
    write(tmp_path / "in/a", {name: 1000 * x for name, x in heart(3).items()}, gain=1.0)
    wrong = prepare(wfdb_folder.scan(tmp_path / "in"), tmp_path / "wrong", workers=1)
    assert "microvolts" in wrong.flags(0)
    right = prepare(wfdb_folder.scan(tmp_path / "in", units="uV"), tmp_path / "right", workers=1)
    assert right.flags(0) == ("patient_unknown",) and right.millivolts([0]).max() < 5


# -- reading


def test_the_fast_reader_reads_what_wfdb_reads(tmp_path):
    for k, (gain, unit, ending, offset) in enumerate(
        [(1000.0, "mV", "dat", 0), (200.0, "mV", "mat", 24), (4.88, "uV", "dat", 0)]
    ):
        leads = heart(k)
        leads["V2"][100:120] = np.nan
        write(tmp_path / f"r{k}", leads, gain=gain, unit=unit, ending=ending, offset=offset)
        fast, slow = wfdb_folder.read_record(tmp_path / f"r{k}"), ECG.read(tmp_path / f"r{k}.hea")
        raw = wfdb.rdrecord(str(tmp_path / f"r{k}")).p_signal.T * (1e-3 if unit == "uV" else 1)
        assert fast.leads == slow.leads == TWELVE and fast.rate == slow.rate == 500
        assert np.array_equal(fast.signal, slow.signal, equal_nan=True) and np.isnan(fast.signal).sum() == 20
        assert np.allclose(fast.signal, raw, atol=1e-5, equal_nan=True)
        assert fast.notes == ()


def test_the_fast_reader_on_real_records(shared_data):
    found = sorted(shared_data.glob("*/**/*.hea"))[::150]
    if not found:
        pytest.skip("no records")
    for path in found:
        assert np.array_equal(wfdb_folder.read_record(path).signal, ECG.read(path).signal), path


def test_a_changed_sample_is_noticed(tmp_path):
    write(tmp_path / "r", heart())
    assert wfdb_folder.read_record(tmp_path / "r").notes == ()
    data = bytearray((tmp_path / "r.dat").read_bytes())
    data[1000] ^= 4
    (tmp_path / "r.dat").write_bytes(data)
    assert wfdb_folder.read_record(tmp_path / "r").notes == (CHECKSUM,)


def test_headers_say_what_is_recorded(tmp_path):
    write(tmp_path / "r", heart(seconds=12), comments=("Age: 3", "Sex: M"), date="01:02:03 04/05/2006")
    header = read_header(tmp_path / "r.hea")
    assert (header.name, header.rate, header.seconds, len(header.channels)) == ("r", 500, 12, 12)
    assert (
        header.channels[4].lead == "aVL" and header.channels[0].gain == 1000 and header.comments == ("Age: 3", "Sex: M")
    )
    assert header.time.isoformat() == "2006-05-04T01:02:03"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.text(alphabet="r 0125/:#.+x()-mVuhdat\n~", max_size=120).map(str.encode)))
def test_headers_of_random_bytes_give_a_clear_error_or_a_header(tmp_path, content):
    (tmp_path / "r.hea").write_bytes(content)
    try:
        header = read_header(tmp_path / "r.hea")
    except ValueError as error:
        assert "r.hea" in str(error)
        return
    assert header.rate > 0 and header.samples >= 0
    try:
        wfdb_folder.read_record(tmp_path / "r")
    except (ValueError, OSError) as error:
        assert str(error)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 119_999), noise=st.binary(max_size=50))
def test_damaged_signals_are_refused_or_flagged(tmp_path, cut, noise):
    write(tmp_path / "r", heart())
    whole = (tmp_path / "r.dat").read_bytes()
    (tmp_path / "r.dat").write_bytes(whole[:cut] + noise)
    if len(whole[:cut] + noise) < len(whole):
        with pytest.raises(ValueError, match="truncated"):
            wfdb_folder.read_record(tmp_path / "r")


# -- cells


@pytest.mark.parametrize(
    "text, expected",
    [("56", (56, False, False)), ("0", (0, False, False))]
    + [(text, (90, True, False)) for text in ("300", "91", "90.0", 90)]
    + [(text, (None, False, False)) for text in ("NaN", "", None, "n/a", "inf")]
    + [(text, (None, False, True)) for text in ("-1", "150")],
)
def test_ages(text, expected):
    age, over, odd = age_of(text)
    assert (None if np.isnan(age) else age, over, odd) == expected


def test_sexes_and_texts():
    assert [sex_of(t) for t in ("F", "female", "Male", "m", "Unknown", "", None, 0, 1)] == ["female"] * 2 + [
        "male"
    ] * 2 + [None] * 5
    assert clean_text("sinus\r\n  rhythm ") == ("sinus rhythm", False)
    assert clean_text("linkslagetyp, ausgeprÃ¤gt") == ("linkslagetyp, ausgeprägt", False)
    assert clean_text("Überleitung")[0] == "überleitung" and clean_text("ÜBER")[0] == "ÜBER"
    assert clean_text("v\ufffdnster")[1] and clean_text("a\x07b") == ("a b", True)


@given(st.text(max_size=60))
def test_clean_text_is_one_line_and_stays_clean(text):
    once, _ = clean_text(text)
    assert "\n" not in once and once == once.strip() and clean_text(once)[0] == once


def test_tables_are_found_below_but_not_among_the_records(tmp_path):
    deep = tmp_path / "physionet.org/files/x/1.0.3"
    deep.mkdir(parents=True)
    (deep / "table.csv").touch()
    assert find(tmp_path, ["table.csv"]) == deep / "table.csv"
    (tmp_path / "records100").mkdir()
    (tmp_path / "records100/other.csv").touch()
    assert find(tmp_path, ["other.csv"]) is None


def test_splits_of_stores_are_those_of_the_names(tree, tmp_path):
    from ecgtwin.ecg.store.split import split_of

    store = prepare(challenge.scan(tree, SNOMED), tmp_path / "store", workers=1)
    for k in range(len(store)):
        assert SPLITS[store.column("split")[k]] == split_of(store.patient(k))
