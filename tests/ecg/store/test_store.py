"""A store: what comes out of it is what went in, in any order, in any process; damage is told."""

import importlib.util
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgtwin.ecg.datasets.source import Statements
from ecgtwin.ecg.store import BAD, FLAGS, Store, bits
from ecgtwin.ecg.store.audit import audit, summary
from ecgtwin.ecg.store.collect import collect
from ecgtwin.ecg.store.columns import Texts
from ecgtwin.ecg.store.pairs import Pairs
from ecgtwin.ecg.store.split import across, assign

from .test_prepare import ecg

BENCH = Path(__file__).resolve().parents[3] / "scripts" / "bench_data.py"
WORDS = Statements(lambda line: [line], ["beta", "alpha", "gamma"])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    people = [
        ecg(
            k,
            patient=f"p{k // 2}",
            sex=("female", "male", None)[k % 3],
            age=float(30 + k),
            name=f"r{k}",
            reports=(("alpha", "beta"), ("gamma",), ())[k % 3],
        )
        for k in range(20)
    ]
    return collect(people, tmp_path_factory.mktemp("store") / "store", statements=WORDS)


def test_signals_in_any_order(store):
    whole = np.array(store.signals)
    assert whole.shape == (20, 8, 1024) and whole.dtype == np.int16 and np.abs(whole).max() > 500
    rows = [7, 0, 19, 7]
    assert np.array_equal(store.read(rows), whole[rows]) and np.array_equal(store.read(slice(3, 5)), whole[3:5])
    assert (
        np.allclose(store.millivolts(rows), whole[rows] / 1000, atol=1e-6) and store.millivolts([0]).dtype == np.float32
    )
    out = np.empty((2, 8, 1024), np.int16)
    assert store.read([4, 2], out) is out and np.array_equal(out, whole[[4, 2]])
    assert store.read([]).shape == (0, 8, 1024)
    for bad in ([20], [-1]):
        with pytest.raises(IndexError, match="rows 0 to 19"):
            store.read(bad)


def test_a_row_as_an_ecg(store):
    got = store.ecg(3)
    assert (got.patient, got.sex, got.age, got.reports, got.name, got.rate) == (
        "p1",
        "female",
        33.0,
        ("beta", "alpha"),
        "r3",
        102.4,
    )
    assert store.ecg(2).sex is None and store.ecg(2).reports == () and not got.synthetic
    assert store.vocabulary == ("beta", "alpha", "gamma") and store.statement_ids(0).tolist() == [0, 1]


def test_rows_as_a_table(store):
    table = store.table([3, 2])
    assert table.index.tolist() == [3, 2] and table["statements"].tolist() == [("beta", "alpha"), ()]
    assert table.loc[3, ["name", "patient", "sex", "age", "report"]].tolist() == [
        "r3",
        "p1",
        "female",
        33.0,
        "alpha|beta",
    ]
    assert table["sex"].tolist()[1] is None and table["split"].isin(["train", "validation", "test"]).all()
    assert len(store.table()) == 20 and list(store.table()["flags"]) == [()] * 20


def test_splits_hold_each_row_once(store):
    rows = np.concatenate([store.rows(split) for split in ("train", "validation", "test")])
    assert sorted(rows.tolist()) == list(range(20)) == store.rows().tolist()
    with pytest.raises(ValueError, match="validation"):
        store.rows("valid")


def test_unknown_columns_are_named(store):
    with pytest.raises(KeyError, match="heart_rate"):
        store.column("pulse")
    with pytest.raises(KeyError, match="report"):
        store.texts("reports")
    with pytest.raises(KeyError):
        store.column("name")


def test_a_store_travels_to_another_process(store):
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again.read([5]), store.read([5])) and again.digest == store.digest


def test_damage_is_noticed(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store.folder, copy)
    with (copy / "signals.npy").open("r+b") as file:
        file.seek(-1000, 2)
        file.write(b"\x55")
    assert Store.open(copy).verify() == [19]
    (copy / "signals.npy").write_bytes((copy / "signals.npy").read_bytes()[:-10_000])
    with pytest.raises(ValueError, match="bytes"):
        Store.open(copy)
    other = json.dumps({"format": 99}).encode()
    for content, reason in ((b"{", "damaged"), (b"[]", "damaged"), (other, "format 99"), (b"\xff", "damaged")):
        (copy / "store.json").write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            Store.open(copy)
    with pytest.raises(FileNotFoundError, match="data prepare"):
        Store.open(tmp_path)


def test_texts_of_any_kind(tmp_path):
    words = ["", "sinus", "Überleitung 2:1", "", "\ud800 lone", "|"]
    Texts.write(tmp_path, "t", words)
    got = Texts(tmp_path, "t")
    assert (
        list(got) == ["?" + w[1:] if w.startswith("\ud800") else w for w in words] and got[-1] == "|" and len(got) == 6
    )
    Texts.write(tmp_path, "e", [""])
    assert list(Texts(tmp_path, "e")) == [""]
    with pytest.raises(IndexError):
        got[6]


def test_flags_are_bits():
    assert set(BAD) <= set(FLAGS) and len(FLAGS) <= 32 and bits() == 0
    assert bits(*FLAGS) == 2 ** len(FLAGS) - 1 and bits(next(iter(FLAGS))) == 1


def test_the_benchmark_runs_and_memory_is_flat(tmp_path):
    command = [
        sys.executable,
        str(BENCH),
        "--rows",
        "20000",
        "--seconds",
        "0.3",
        "--folder",
        str(tmp_path),
        "--workers",
        "1",
        "--json",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    report = json.loads(result.stdout)["sparse, 20000 rows"]["int16"]
    assert report["ecgs_read"] > 256 and report["resident_mb_after"] - report["resident_mb_before"] < 30
    assert list(tmp_path.iterdir()) == []


def test_reading_does_not_grow_with_the_store(tmp_path):
    """Every row of a store of 330 MB is read; what stays in memory is the batch."""
    spec = importlib.util.spec_from_file_location("bench_data", BENCH)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    large = bench.sparse(tmp_path / "sparse", 20_000)
    assert (tmp_path / "sparse" / "signals.npy").stat().st_size > 3.2e8
    out = large.read(np.arange(256))
    before = bench.memory()["resident"]
    for start in range(0, 19_968, 256):
        large.read(np.arange(start, start + 256), out)
    assert bench.memory()["resident"] - before < 30


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return collect(
        [ecg(k, patient=f"p{k // 2}", age=50.0, reports=("alpha",)) for k in range(4)], folder / "store"
    ).folder


def use(folder):
    """Everything that a training, a report and a user read."""
    store = Store.open(folder)
    assert len(store.table()) == len(store) and len(audit(store)["leaks"]) and summary(audit(store))
    store.ecg(0), store.verify(), Pairs.of(store, "train").total, store.signals[0]


def test_missing_and_foreign_columns_are_told(small, tmp_path):
    for k, path in enumerate(sorted((small / "columns").iterdir())):
        shutil.copytree(small, tmp_path / str(k))
        (tmp_path / str(k) / "columns" / path.name).unlink()
        if path.stem not in ("start", "valid", "print", "text_key", "fold"):
            with pytest.raises(ValueError, match="store"):
                use(tmp_path / str(k))
    shutil.copytree(small, tmp_path / "s")
    for name, values in (
        ("sex", [9] * 4),
        ("split", [-1] * 4),
        ("patient", [0, 1, 2, 3]),
        ("flags", [0, 0]),
        ("statements", [0, 0, 0, 5]),
    ):
        shutil.copy(small / "columns" / f"{name}.npy", tmp_path / "kept.npy")
        np.save(tmp_path / "s/columns" / f"{name}.npy", np.array(values))
        with pytest.raises(ValueError, match="does not belong to this store"):
            use(tmp_path / "s")
        shutil.copy(tmp_path / "kept.npy", tmp_path / "s/columns" / f"{name}.npy")
    use(tmp_path / "s")


KEYS = st.sampled_from(
    ["format", "ecgs", "rate", "samples", "leads", "flags", "columns", "texts", "statements", "seconds", "source"]
)
JSON = (
    st.none()
    | st.booleans()
    | st.integers(-5, 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.text(max_size=3), max_size=3)
)


@settings(max_examples=40, deadline=None)
@given(KEYS, JSON)
def test_any_value_in_its_facts_is_refused_or_works(small, tmp_path_factory, key, value):
    folder = tmp_path_factory.mktemp("j") / "store"
    shutil.copytree(small, folder)
    facts = json.loads((folder / "store.json").read_text())
    (folder / "store.json").write_text(json.dumps(facts | {key: value}))
    try:
        use(folder)
    except (ValueError, OSError) as error:
        assert len(str(error)) < 300 + len(str(folder))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_in_its_files_are_refused_or_work(small, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("b") / "store"
    shutil.copytree(small, folder)
    path = data.draw(st.sampled_from(sorted(p.relative_to(small) for p in small.rglob("*") if p.is_file())))
    content = bytearray((folder / path).read_bytes())
    kind = data.draw(st.sampled_from(["cut", "header", "anywhere", "other"]))
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content)))]
    elif kind == "other":
        content = data.draw(st.binary(max_size=100))
    elif content:
        at = data.draw(st.integers(0, min(len(content), 100 if kind == "header" else len(content)) - 1))
        content[at : at + 4] = data.draw(st.binary(min_size=1, max_size=6))
    (folder / path).write_bytes(content)
    try:
        use(folder)
    except (ValueError, OSError) as error:
        assert len(str(error)) < 300 + 2 * len(str(folder))
    assert deep(folder)


def deep(folder) -> bool:
    """JSON nested too deep for the parser."""
    (folder / "store.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="damaged"):
        Store.open(folder)
    return True


def test_strangers_are_nobody(tmp_path):
    """ECGs without a patient: not one person, not many persons, and no leak between two stores that name them alike."""
    one = collect([ecg(k) for k in range(3)], tmp_path / "one", shares=(1, 0, 0))
    two = collect([ecg(10 + k) for k in range(3)], tmp_path / "two", shares=(0, 1, 0))
    assert (one.people == -1).all() and one.facts["patients"] == 0
    assert set(one.texts("patients")) == set(two.texts("patients"))
    report = audit(one, [two])
    assert report["leaks"]["found"] == 0 and report["patients"]["patients"] == 0
    assert report["patients"]["ecgs_without_patient_id"] == 3 and report["splits"]["table"]["train"] == {
        "ecgs": 3,
        "patients": 0,
    }
    assert Pairs.of(one, "train").total == 0
    numbers = Pairs(np.arange(4), np.array([-1, -1, 7, 7]), np.arange(4), np.arange(4))
    assert numbers.total == 2 and set(np.concatenate(list(numbers.stream())).ravel()) == {2, 3}
    assert across(np.array([-1, -1, 2, 2]), np.array([0, 1, 0, 2])).tolist() == [2]
    with pytest.raises(ValueError, match="stands for nobody"):
        assign([3, -1, -1])
