"""`generate --table` and `data prepare` shared among runs and among workers of a cluster: the same files as one run."""

import os
import signal
import sys
import threading
import time

import pytest
from typer.testing import CliRunner

from ecgtwin.cli import app
from ecgtwin.cli.cluster import engine
from ecgtwin.cli.generate import launched
from ecgtwin.ecg.datasets import ptbxl
from ecgtwin.ecg.store.prepare import locked, prepare
from ecgtwin.ecg.store.turn import Turn
from ecgtwin.twin import drawing

from ..ecg import ptbxl_files
from .test_cohort import files_of, index_of, run, write_table

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def table(people):
    """Seven rows, in groups of up to four twins; the third cannot be answered."""
    rows = [{"record": f"p{1 + k % 3}.hea", "report": "AF", "seed": str(k), "n": str(1 + k % 3)} for k in range(7)]
    rows[2]["record"] = "nobody.hea"
    return write_table(people / "seven.csv", rows)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(drawing.FULL, "cpu", 4)


@pytest.fixture(scope="module")
def whole(table, folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(drawing.FULL, "cpu", 4)
        output = tmp_path_factory.mktemp("whole") / "twins"
        assert run(table, output, "--model", folder).exit_code == 3
    return files_of(output)


@pytest.mark.parametrize("ways", [("1/2", "2/2"), ("2/3", "3/3", "1/3"), ("2/2",)])
def test_shares_and_one_run_more_are_the_whole(table, folder, whole, tmp_path, ways):
    """Also where a share is missing: the run that completes the index does it."""
    output, rows = tmp_path / "twins", 0
    for way in ways:
        result = run(table, output, "--model", folder, "--shard", way)
        assert result.exit_code in (0, 3) and (output / f"index.{Turn.of(way)}.csv").exists(), result.output
        rows += len((output / f"index.{Turn.of(way)}.csv").read_text().splitlines()) - 1
    assert rows == 7 if len(ways) > 1 else 0 < rows < 7
    done = run(table, output, "--model", folder)
    assert done.exit_code == 3 and f"7 rows, {rows} of them done before" in done.stderr
    assert files_of(output) == whole


def test_a_share_that_is_at_work_is_not_taken_over(table, folder, tmp_path, monkeypatch):
    output = tmp_path / "twins"
    assert run(table, output, "--model", folder, "--shard", "1/2").exit_code in (0, 3)
    monkeypatch.setattr("ecgtwin.ecg.store.prepare.time.sleep", lambda seconds: None)
    with locked(output / "index.1-of-2.csv"):
        result = run(table, output, "--model", folder)
    assert result.exit_code == 2 and "another run is working" in result.stderr


def test_what_does_not_go_together(table, folder, tmp_path):
    for more, said in (
        (["--shard", "3/2"], "expected K/N"),
        (["--shard", "1/2", "--scheduler", "local"], "leave --shard"),
    ):
        result = run(table, tmp_path / "out", "--model", folder, *more)
        assert result.exit_code == 2 and said in result.stderr
    result = RUNNER.invoke(app, ["generate", "p1.hea", "--shard", "1/2"])
    assert result.exit_code == 2 and "are for --table" in result.stderr


def test_processes_of_accelerate_take_their_shares(monkeypatch):
    assert launched("auto") == (None, "auto")
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    assert launched("cpu") == (Turn(3, 4), "cpu")


def test_shares_of_a_store(tmp_path):
    source = ptbxl.scan(ptbxl_files.make(tmp_path / "ptbxl", high=(1, 2)))
    expected = prepare(source, tmp_path / "whole", workers=1, shard=5)
    for k in (2, 1, 3):
        assert prepare(source, tmp_path / "store", workers=1, shard=5, turn=Turn(k, 3)) is None
    asked = []
    read = lambda place, name: asked.append(name)  # noqa: E731
    store = prepare(type(source)(**vars(source) | {"read": read}), tmp_path / "store", workers=1, shard=5)
    assert not asked and store.digest == expected.digest and store.verify() == []
    names = ["prepare", "ptbxl", source.folder, tmp_path / "again", "--no-progress"]
    result = RUNNER.invoke(app, ["data", *map(str, names), "--shard", "1/1"])
    assert result.exit_code == 0 and "completes" in result.stderr and not (tmp_path / "again").exists()


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found


def kill_one_after(cluster, half_done) -> threading.Thread:
    """Kill one of two workers as soon as some of the work is done."""
    pids = [nanny.pid for nanny in cluster.workers.values()]
    assert len(pids) == 2

    def kill() -> None:
        while not half_done():
            time.sleep(0.005)
        os.kill(pids[0], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_workers_of_a_cluster_one_of_them_killed(table, folder, whole, cluster, tmp_path):
    output = tmp_path / "twins"
    thread = kill_one_after(cluster, lambda: any(output.glob("0000/*.hea")))
    result = run(table, output, "--model", folder, "--scheduler", cluster.scheduler_address)
    thread.join(10)
    assert result.exit_code == 3 and not thread.is_alive(), result.output
    assert files_of(output) == whole and [row["row"] for row in index_of(output)] == [str(k) for k in range(1, 8)]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_store_made_by_a_cluster_one_worker_killed(cluster, tmp_path):
    source = ptbxl.scan(ptbxl_files.make(tmp_path / "ptbxl", high=(1, 2)))
    expected = prepare(source, tmp_path / "whole", workers=1)
    cluster.wait_for_workers(2, timeout=60)
    work = tmp_path / "store.part" / ".work"
    thread = kill_one_after(cluster, lambda: any(work.glob("*.npz")))
    with engine(cluster.scheduler_address, 2) as workers:
        store = prepare(source, tmp_path / "store", shard=1, engine=workers)
    thread.join(10)
    assert not thread.is_alive() and store.digest == expected.digest and store.verify() == []
