"""PTB-XL's table, and its records as windows."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecgtwin.ecg.datasets import ptbxl
from ecgtwin.ecg.datasets.source import Statements
from ecgtwin.ecg.store.prepare import prepare
from ecgtwin.ecg.store.window import constant_tail
from ecgtwin.text.statements import STATEMENTS, from_scp

from .. import ptbxl_files as files
from ..wfdb_files import heart

SCP = Statements(lambda code: from_scp([code]), [s.name for s in STATEMENTS])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return files.make(tmp_path_factory.mktemp("above") / "ptb-xl" / "1.0.3", high=(1, 2, 3))


def test_the_table_in_clean_types(folder):
    table = ptbxl.read_table(folder)
    assert table.loc[1, "patient"] == "ptbxl_1" == table.loc[2, "patient"]
    assert table.loc[1, "sex"] == "female" and table.loc[3, "sex"] == "male"  # 1 is female in PTB-XL
    assert (
        table.loc[1, "age"] == 90 == table.loc[3, "age"] and table.loc[1, "over_89"] and np.isnan(table.loc[2, "age"])
    )
    assert table.loc[5, "codes"] == {"AFIB": 0.0, "ABQRS": 35.0} and table.loc[7, "codes"] == {}
    assert (
        table.loc[4, "report"] == "sinusrhythmus qt-verlängerung"
        and not table.loc[4, "broken"]
        and table.loc[8, "broken"]
    )
    assert (
        table.loc[10, "noise"]
        and not table.loc[9, "noise"]
        and table.loc[11, "pacemaker"]
        and not table.loc[10, "pacemaker"]
    )
    assert table.attrs["problems"] == {
        "age over 89 (300 or 90)": 2,
        "age not given": 1,
        "scp_codes that cannot be read": 1,
        "blank report": 1,
        "report with lost characters": 1,
        "report with capital umlauts inside words, repaired": 2,
    }


def test_records_are_taken_at_the_frequency_that_is_there(folder):
    assert ptbxl.scan(folder.parent.parent, SCP).table["name"].str.startswith("records100").all()
    source = ptbxl.scan(folder, SCP, frequency=500)
    assert source.table["name"].str.startswith("records500").sum() == 3
    assert source.problems["records with a file at 100 Hz only"] == 21
    (folder / "records100/00000/00024_lr.dat").rename(folder / "away")
    try:
        assert ptbxl.scan(folder).problems["records that are listed but not here"] == 1
    finally:
        (folder / "away").rename(folder / "records100/00000/00024_lr.dat")
    with pytest.raises(ValueError, match="100 and 500"):
        ptbxl.scan(folder, frequency=250)
    with pytest.raises(FileNotFoundError, match="ptbxl_database.csv"):
        ptbxl.scan(folder / "records100")


def test_statements_splits_and_flags(folder, tmp_path):
    store = prepare(ptbxl.scan(folder, SCP), tmp_path / "store", workers=1)
    assert store.statements(0) == ("sinus rhythm", "normal ECG")
    assert (
        store.statements(4) == ("atrial fibrillation", "abnormal QRS") and store.texts("codes")[4] == "AFIB:0|ABQRS:35"
    )
    assert store.statements(5) == ()
    fold = np.asarray(store.column("fold"))
    assert set(fold.tolist()) == set(range(1, 11))
    assert np.array_equal(store.column("split"), np.clip(fold - 8, 0, 2))
    assert "pacemaker" in store.flags(10) and "noise_noted" in store.flags(9) and "age_over_89" in store.flags(0)
    assert np.abs(store.column("heart_rate") - np.arange(56, 80)).max() < 1.5
    assert store.facts["flags"]["age_over_89"] == 2


def test_the_constant_tail_at_500_hz_is_cropped_and_leaves_no_flat_end(folder, tmp_path):
    store = prepare(ptbxl.scan(folder, frequency=500), tmp_path / "store", workers=1)
    high = [k for k in range(24) if store.texts("name")[k].startswith("records500")]
    assert high == [0, 1, 2]
    for k in high:
        assert {"tail_cropped", "end_mirrored"} <= set(store.flags(k)) and store.usable[k]
        assert store.column("valid")[k] == 1014  # of 4950 samples at 500 Hz
        assert constant_tail(store.read([k])[0]) < 3
    assert "tail_cropped" not in store.flags(3) and store.column("valid")[3] == 1024


def test_the_signal_is_the_recording(folder, tmp_path):
    store = prepare(ptbxl.scan(folder, frequency=500), tmp_path / "store", workers=1)
    true = heart(1, bpm=56, rate=500)
    for lead, x in zip(store.leads, store.millivolts([0])[0], strict=True):
        expected = np.interp(np.arange(1000) / 102.4, np.arange(5000) / 500, true[lead])
        difference = x[:1000] - expected
        assert np.std(difference) < 0.03, lead  # what a low pass at 47 Hz takes from a QRS of 18 ms and its noise
    assert np.abs(np.median(store.read([0])[0], axis=1)).max() <= 1


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=400), st.text(alphabet="\"',{}:\n1.0abc\x00", max_size=200).map(str.encode))
)
def test_a_table_of_random_bytes_gives_a_clear_error(tmp_path, content):
    (tmp_path / "ptbxl_database.csv").write_bytes(content)
    with pytest.raises(ValueError, match="ptbxl_database.csv"):
        ptbxl.read_table(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.text(alphabet="{}'\": .-+0123456789eNaninfSR,\t", max_size=12), min_size=19, max_size=19))
def test_any_cells_give_a_row_or_a_counted_problem(tmp_path, cells):
    row = ",".join('"' + c.replace('"', '""') + '"' for c in cells)
    (tmp_path / "ptbxl_database.csv").write_text(f"{files.HEAD}\n{row}\n")
    table = ptbxl.read_table(tmp_path)
    assert len(table) <= 1 and (len(table) == 1 or table.attrs["problems"]["rows without a number in ecg_id"] == 1)
    for _, found in table.iterrows():
        assert found["sex"] in ("female", "male", None) and (np.isnan(found["age"]) or 0 <= found["age"] <= 90)
        assert found["fold"] in range(11) and found["patient"].startswith("ptbxl_")


@given(text=st.text(max_size=80))
def test_codes_are_read_or_refused(text):
    try:
        codes = ptbxl.read_codes(text)
    except ValueError as error:
        assert "scp_codes" in str(error)
    else:
        assert all(isinstance(c, str) and likelihood >= 0 for c, likelihood in codes.items())


def test_real_records(ptbxl, tmp_path):
    from ecgtwin.ecg.datasets.ptbxl import scan

    source = scan(ptbxl, SCP, frequency=500)
    some = source.table[source.table["name"].str.startswith("records500")].index[:12].tolist()
    spikes = source.table.index[-4:].tolist()
    part = source.__class__(
        source.name,
        source.folder,
        source.table.iloc[some + spikes].reset_index(drop=True),
        source.read,
        source.vocabulary,
    )
    store = prepare(part, tmp_path / "store", workers=1)
    assert store.usable.all() and all("tail_cropped" in store.flags(k) for k in range(12))
    assert not store.flagged("limb_mismatch", "checksum", "microvolts").any()
    assert np.isfinite(store.column("heart_rate")).all()
    assert source.problems["age over 89 (300 or 90)"] > 0 and not source.unmapped
