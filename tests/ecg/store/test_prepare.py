"""Making a store: windows, killed and resumed runs, what stands in the way, ECGs from memory."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgtwin.ecg.datasets import ptbxl
from ecgtwin.ecg.datasets.source import Statements
from ecgtwin.ecg.files.wfdb import CHECKSUM
from ecgtwin.ecg.leads import INDEPENDENT, LEADS
from ecgtwin.ecg.quality import longest_run
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.store import FLAGS, Store
from ecgtwin.ecg.store import prepare as prepare_module
from ecgtwin.ecg.store.collect import collect
from ecgtwin.ecg.store.prepare import prepare
from ecgtwin.ecg.store.window import cut

from .. import ptbxl_files
from ..wfdb_files import heart

ROOT = Path(__file__).resolve().parents[3]
SLOW = """
import sys, time
from dataclasses import replace
from ecgtwin.ecg.store import prepare as prepare_module
from ecgtwin.ecg.datasets import ptbxl
from ecgtwin.ecg.store.prepare import prepare
from ecgtwin.ecg.datasets.wfdb_folder import read_record
def slowly(folder, name):
    time.sleep(0.15)
    return read_record(folder / name)
if __name__ == "__main__":
    prepare(replace(ptbxl.scan(sys.argv[1]), read=slowly), sys.argv[2], workers=2, shard=2)
"""


def ecg(seed=0, *, rate=500, seconds=10.0, **options) -> ECG:
    leads = heart(seed, rate=rate, seconds=seconds)
    return ECG(np.stack([leads[name] for name in LEADS]), rate, LEADS, **options)


def flags_of(window) -> set[str]:
    return {name for k, name in enumerate(FLAGS) if window.flags >> k & 1}


def one(recording: ECG, **options):
    return cut(recording, [0.0], **{"rate": 102.4, "seconds": 10.0} | options)[0]


def changed(recording: ECG, lead: str, values) -> ECG:
    signal = recording.signal.copy()
    signal[recording.leads.index(lead)] = values(signal[recording.leads.index(lead)])
    return replace(recording, signal=signal)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return ptbxl_files.make(tmp_path_factory.mktemp("ptbxl"), high=(1, 2))


def bytes_of(store: Path) -> dict[str, str]:
    files = sorted(p for p in store.rglob("*") if p.is_file())
    return {str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(p) for p in path.read_text().split()] if path.is_file() else []


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.is_file() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_kill_9_in_the_middle_then_resume_gives_the_identical_store(folder, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    prepare(ptbxl.scan(folder), whole, workers=1, shard=256)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    (tmp_path / "slow.py").write_text(SLOW)
    process = subprocess.Popen([sys.executable, str(tmp_path / "slow.py"), str(folder), str(broken)], env=environment)
    marks = broken.with_name("broken.part") / ".work"
    patience = time.monotonic() + 60
    while len(list(marks.glob("*.npz"))) < 3 and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.02)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = len(list(marks.glob("*.npz")))
    assert 3 <= finished < 12 and not broken.exists(), "it was to be killed in the middle"
    with pytest.raises(FileNotFoundError, match="run the same"):
        Store.open(broken)
    patience = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < patience:
        time.sleep(0.05)
    assert workers and not any(map(alive, workers)), "workers outlive the run that was killed"
    read = []
    source = ptbxl.scan(folder)
    counted = replace(source, read=lambda place, name: read.append(name) or source.read(place, name))
    prepare(counted, broken, workers=1, shard=2)
    assert 0 < len(read) <= 24 - 2 * 3, "what was done is not done again"
    assert bytes_of(broken) == bytes_of(whole)
    assert Store.open(broken).verify() == []


def test_two_runs_at_once_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module.time, "sleep", lambda seconds: None)
    with prepare_module.locked(tmp_path / "store.part"), pytest.raises(FileExistsError, match="another run"):
        prepare(ptbxl.scan(folder), tmp_path / "store", workers=1)
    assert len(prepare(ptbxl.scan(folder), tmp_path / "store", workers=1)) == 24


def test_workers_and_shards_do_not_matter(folder, tmp_path):
    source = ptbxl.scan(folder)
    stores = [prepare(source, tmp_path / f"{w}-{s}", workers=w, shard=s).folder for w, s in ((1, 5), (2, 3))]
    assert bytes_of(stores[0]) == bytes_of(stores[1])


def test_a_finished_store_is_opened_and_another_is_in_the_way(folder, tmp_path):
    source = ptbxl.scan(folder)
    store = prepare(source, tmp_path / "store", workers=1)
    before = (tmp_path / "store" / "store.json").stat().st_mtime_ns
    assert prepare(source, tmp_path / "store", workers=1).digest == store.digest
    assert (tmp_path / "store" / "store.json").stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="--fresh"):
        prepare(source, tmp_path / "store", rate=100.0, workers=1)
    assert prepare(source, tmp_path / "store", rate=100.0, workers=1, fresh=True).samples == 1000
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").touch()
    with pytest.raises(FileExistsError, match="no store"):
        prepare(source, tmp_path / "else")
    with pytest.raises(ValueError, match="rate"):
        prepare(source, tmp_path / "new", rate=20.0)
    with pytest.raises(ValueError, match="shares"):
        prepare(source, tmp_path / "new", shares=(0.5, 0.5, 0.5))


def test_a_run_that_was_begun_with_other_options_is_not_continued(folder, tmp_path):
    def stop(place, name):
        raise KeyboardInterrupt

    source = ptbxl.scan(folder)
    with pytest.raises(KeyboardInterrupt):
        prepare(replace(source, read=stop), tmp_path / "store", workers=1)
    with pytest.raises(FileExistsError, match="other data or options"):
        prepare(source, tmp_path / "store", rate=100.0, workers=1)
    assert prepare(source, tmp_path / "store", rate=100.0, workers=1, fresh=True).rate == 100.0
    assert not (tmp_path / "store.part").exists()


# -- windows


def test_an_ordinary_ecg_has_no_flags():
    window = one(ecg())
    assert flags_of(window) == set() and window.valid == 1024 and abs(window.heart_rate - 75) < 1


def test_resampling_does_not_ring_at_the_edges():
    """A slope and an offset at the ends are where FFT resampling, which closes the window to a circle, swings."""
    x = np.linspace(-1.0, 3.0, 5000, dtype=np.float32)
    window = one(ECG(np.repeat(x[None], 8, 0), 500, INDEPENDENT))
    expected = np.interp(np.arange(1024) / 102.4, np.arange(5000) / 500, x)
    got = window.signal[0] / 1000
    assert np.abs((got - np.median(got)) - (expected - np.median(expected)))[:1023].max() < 0.003


def test_frequencies_above_half_the_rate_are_gone():
    t = np.arange(5000) / 500
    window = one(ECG(np.repeat(np.sin(2 * np.pi * 80 * t)[None], 8, 0), 500, INDEPENDENT))
    assert np.abs(window.signal[:, 50:-50]).max() < 5


def test_each_fault_has_its_flag():
    base = ecg()
    assert flags_of(one(changed(base, "V3", np.zeros_like))) == {"zero_lead"}
    assert flags_of(one(changed(base, "V3", lambda x: 0.001 * x))) == {"flat_lead"}
    assert flags_of(one(changed(base, "V3", lambda x: x + 40))) == {"offset"}
    assert flags_of(one(changed(base, "aVF", lambda x: -x))) == {"limb_mismatch"}
    assert flags_of(one(replace(base, signal=base.signal * 1000))) >= {"microvolts", "clipped"}
    spike = np.zeros(5000)
    spike[2500:2505] = 12
    assert flags_of(one(changed(base, "V3", lambda x: x + spike))) == {"spike"}
    spike[2500:2600] = 60
    assert flags_of(one(changed(base, "V3", lambda x: x + spike))) == {"spike", "clipped"}
    assert flags_of(one(replace(base, synthetic=True, notes=(CHECKSUM,)))) == {"synthetic", "checksum"}


@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, 4999), length=st.integers(1, 5000), lead=st.sampled_from(INDEPENDENT))
def test_gaps_are_bridged_where_they_are_short(start, length, lead):
    base = ecg()
    gap = slice(start, min(start + length, 5000))

    def lose(x):
        x[gap] = np.nan
        return x

    window = one(changed(base, lead, lose))
    short = gap.stop - gap.start <= 100
    assert flags_of(window) & {"bridged", "missing_samples"} == {"bridged" if short else "missing_samples"}
    others = [k for k, name in enumerate(INDEPENDENT) if name != lead]
    assert np.array_equal(window.signal[others], one(base).signal[others])


@given(st.lists(st.booleans(), max_size=30))
def test_longest_run(on):
    text = "".join("x" if o else " " for o in on)
    assert longest_run(np.array(on, bool)) == max(map(len, text.split()), default=0)


def test_short_and_long_recordings():
    assert flags_of(one(ecg(seconds=6.0))) == {"short"}
    almost = one(ecg(seconds=9.6))
    assert flags_of(almost) == {"end_mirrored"} and almost.valid == 984
    assert np.array_equal(almost.signal[:, 984:], almost.signal[:, 943:983][:, ::-1])
    long = ecg(seconds=25.0)
    first, second, third = cut(long, [0.0, 10.0, 20.0], rate=102.4, seconds=10.0)
    assert flags_of(first) == flags_of(second) == set() and "short" in flags_of(third)
    # inner windows have no edge: they are cut from the resampled whole
    whole = long.select(INDEPENDENT).resample(102.4).signal[:, 1024:2048]
    assert np.abs(second.signal / 1000 - (whole - np.median(whole, axis=1, keepdims=True))).max() < 0.0011


def test_leads_that_cannot_be_derived_are_an_error():
    with pytest.raises(ValueError, match="V6"):
        one(ecg().select(LEADS[:-1]))
    derived = one(ecg().select(("III", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")))
    assert np.abs(derived.signal.astype(int) - one(ecg()).signal).max() <= 1


# -- ECGs from memory


def test_ecgs_from_memory_become_a_store(tmp_path):
    people = [
        ecg(k, patient=f"p{k // 2}", sex="female", age=95.0 if k == 0 else 40.0, reports=("A", "B")) for k in range(6)
    ]
    people.append(ecg(9, synthetic=True))
    statements = Statements(lambda line: [{"A": "alpha", "B": "beta"}[line]], ["beta", "alpha"])
    numbers = [(x, {"heart_rate_given": 75.0, "qt_ms_given": 400.0 + k}) for k, x in enumerate(people)]
    store = collect(iter(numbers), tmp_path / "store", statements=statements)
    assert len(store) == 7 == store.usable.sum() and store.verify() == []
    assert store.statements(0) == ("beta", "alpha") and store.texts("report")[0] == "A|B"
    assert store.column("qt_ms_given").tolist() == [400.0 + k for k in range(7)]
    assert store.column("age")[0] == 90 and store.flags(0) == ("age_over_89",)
    assert store.flags(6) == ("patient_unknown", "synthetic") and store.ecg(6).synthetic
    assert np.array_equal(store.read([3])[0], one(people[3]).signal)
    with pytest.raises(FileExistsError, match="exists"):
        collect(people, tmp_path / "store")
    with pytest.raises(FileNotFoundError, match="no records"):
        collect([], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_same_signal_twice_is_used_once(tmp_path):
    store = collect([ecg(1, patient="a"), ecg(2, patient="b"), ecg(1, patient="c")], tmp_path / "store")
    assert [store.flags(k) for k in range(3)] == [(), (), ("duplicate",)] and store.rows().tolist() == [0, 1]
