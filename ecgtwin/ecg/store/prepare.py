"""Making a store of a source: in parallel, shard by shard, and so that a killed run goes on where it was.

The work is done in `STORE.part`. A shard's signals go to their place in the signals file; its numbers go to a file of
their own, which is renamed into place last and says that the shard is done. The finished folder is renamed to `STORE`.
No time, host or path is written, so that the same data give the same bytes however often the run was stopped.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...atomic import write_file, write_text
from ..datasets.source import Source
from ..leads import INDEPENDENT
from ..quality import bits
from ..record import ECG
from . import split
from .columns import FORMAT, fingerprint
from .duplicates import prints
from .store import Store
from .turn import Turn
from .window import cut
from .writer import assemble, empty_numbers, empty_signals

RATE, SECONDS = 102.4, 10.0
"""1024 samples in 10 s."""
AWAY = 256
"""Pieces of work that an engine holds at a time."""


@dataclass(frozen=True)
class Job:
    """What a worker must know to fill a shard."""

    part: Path
    source: Path
    read: Callable[[Path, str], ECG]
    rate: float
    seconds: float
    first: int

    @classmethod
    def of(cls, part: Path, source: Source, rate: float, seconds: float) -> "Job":
        first = np.load(part / "signals.npy", mmap_mode="r").offset
        return cls(part.absolute(), source.folder.absolute(), source.read, rate, seconds, first)

    @property
    def samples(self) -> int:
        return round(self.rate * self.seconds)


def prepare(
    source: Source,
    folder: str | Path,
    *,
    rate: float = RATE,
    seconds: float = SECONDS,
    shares: Sequence[float] = split.SHARES,
    workers: int | None = None,
    shard: int = 256,
    fresh: bool = False,
    progress: bool = False,
    turn: Turn | None = None,
    engine: Executor | None = None,
) -> Store | None:
    """Make a store of a source, or finish one that was begun; a finished store of the same source and options is
    opened.

    rate: Hz. seconds: length of a window. shares: of training, validation and test patients where there are no folds.
    workers: processes, None for all cores, 1 for none beside this one. shard: rows in a piece of work. fresh: leave out
    what was done before. turn: do a share of the pieces alone, beside other runs, and return None; a run without it
    then does what is left and makes the store. engine: processes that take the pieces, and see the same files, in the
    place of `workers`. FileExistsError where another store, or the beginning of another one, is in the way.
    """
    folder = Path(folder)
    if fresh and turn is not None:
        raise ValueError("a share of the work cannot begin it again: give the others' time to end, then --fresh alone")
    if not (50 <= rate <= 10_000 and 1 <= rate * seconds <= 1e6 and shard >= 1):
        raise ValueError(
            f"rate {rate} Hz, windows of {seconds} s, shards of {shard}: expected a rate of 50 to 10,000 Hz"
        )
    split.split_of("", shares)
    plan = planned(source, rate, seconds, shares)
    if (folder / "store.json").is_file():
        store = Store.open(folder)
        if store.facts["plan"] == plan:
            return store
        if not fresh:
            raise FileExistsError(
                f"{folder} is a store of other data or options: give another folder, or --fresh to replace it"
            )
        shutil.rmtree(folder)
    elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is no store: give a folder that does not exist yet")
    part = folder.with_name(folder.name + ".part")
    work = part / ".work"
    work.mkdir(parents=True, exist_ok=True)
    size, pieces = round(rate * seconds), {"workers": workers or cores(), "shard": shard, "progress": progress}
    if turn is not None:
        with locked(part):
            begin(part, plan, len(source.table), size, False)
        with locked(part.with_name(f"{part.name}.{turn}")):
            fill(Job.of(part, source, rate, seconds), source, **pieces, turn=turn, engine=engine)
        return None
    with locked(part):
        refuse_shares(part)
        if not (part / "store.json").is_file() or fresh:
            begin(part, plan, len(source.table), size, fresh)
            fill(Job.of(part, source, rate, seconds), source, **pieces, engine=engine)
            numbers, reasons = gathered(part, source, shard)
            assemble(part, source, numbers, reasons, plan=plan, rate=rate, seconds=seconds, shares=shares)
        shutil.rmtree(work, ignore_errors=True)
        if folder.is_dir():
            folder.rmdir()
        os.rename(part, folder)
    return Store.open(folder)


def planned(source: Source, rate: float, seconds: float, shares: Sequence[float]) -> str:
    """A fingerprint of everything that decides what the store will hold, but the signals themselves."""
    sha = hashlib.sha256(json.dumps([FORMAT, source.name, rate, seconds, list(shares), source.vocabulary]).encode())
    for name in sorted(source.table.columns):
        values = source.table[name].to_numpy()
        sha.update(name.encode() + b"\0")
        if values.dtype.kind in "biufM":
            sha.update(np.ascontiguousarray(values).tobytes())
        else:
            sha.update("\0".join(map(str, values)).encode(errors="replace"))
    return sha.hexdigest()[:16]


@contextmanager
def locked(part: Path) -> Iterator[None]:
    """Keep a second run out; a killed one leaves no lock behind."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with open(part.with_name(part.name + ".lock"), "w") as file:
        for attempt in range(50):  # workers of a killed run are gone within a moment
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == 49:
                    raise FileExistsError(f"another run is working on {part}: wait for it") from None
                time.sleep(0.1)
        try:
            yield
        finally:
            Path(file.name).unlink(missing_ok=True)


def refuse_shares(part: Path) -> None:
    """FileExistsError where a run of a share of the work is still at it."""
    for lock in part.parent.glob(f"{part.name}.*-of-*.lock"):
        with locked(lock.with_suffix("")):
            pass


def begin(part: Path, plan: str, rows: int, samples: int, fresh: bool) -> None:
    """An empty signals file and the plan, or what an earlier run of the same plan left."""
    path = part / ".work" / "plan"
    if path.is_file() and not fresh:
        if path.read_text() != plan:
            raise FileExistsError(
                f"{part} was begun with other data or options (files may have come since): "
                "give the same as before to go on, or --fresh to begin again"
            )
        return
    for place in part.iterdir():
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    path.parent.mkdir()
    empty_signals(part / "signals.npy", rows, samples)
    write_text(path, plan)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fill(
    job: Job,
    source: Source,
    *,
    workers: int,
    shard: int,
    progress: bool,
    turn: Turn | None = None,
    engine: Executor | None = None,
) -> None:
    """Do all shards that are not done, or those of a turn."""
    names, starts = source.table["name"].tolist(), source.table["start"].tolist()
    mine = [a for k, a in enumerate(range(0, len(names), shard)) if turn is None or turn.takes(k)]
    todo = [a for a in mine if not done(job.part, a, shard).is_file()]
    total, left = (sum(min(a + shard, len(names)) - a for a in of) for of in (mine, todo))

    def task(a: int) -> tuple[Job, int, int, list[tuple[str, float]]]:
        return job, a, shard, list(zip(names[a : a + shard], starts[a : a + shard], strict=True))

    with tqdm(
        total=total, initial=total - left, unit=" ECGs", desc=source.name, disable=not progress, mininterval=1
    ) as bar:
        if engine is not None:
            for n in given_away(engine, map(task, todo), AWAY):
                bar.update(n)
            return
        if workers == 1 or len(todo) <= 1:
            for a in todo:
                bar.update(fill_shard(*task(a)))
            return
        # Where it can be had, forking spares each worker the import of everything that this process has imported.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        with ProcessPoolExecutor(workers, context, initializer=leave_with_parent) as pool:
            try:
                for n in given_away(pool, map(task, todo), 3 * workers):
                    bar.update(n)
            except BrokenProcessPool:
                raise ChildProcessError(
                    "a worker was killed (memory?): run the same again to go on, with fewer workers"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


def given_away(pool: Executor, tasks: Iterable[tuple[Any, ...]], most: int) -> Iterator[int]:
    """Rows that are done, as they are, `most` pieces of work being in the pool at a time."""
    running: set[Future[int]] = set()
    for task in tasks:
        running.add(pool.submit(fill_shard, *task))
        if len(running) >= most:
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            yield sum(future.result() for future in ready)
    for future in running:
        yield future.result()


def leave_with_parent() -> None:
    """End this worker when the process that made it is gone, also where that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def done(part: Path, a: int, shard: int) -> Path:
    """The file that says that the shard of rows from `a` is done."""
    return part / ".work" / f"{a:09d}-{shard}.npz"


def fill_shard(job: Job, a: int, shard: int, rows: list[tuple[str, float]]) -> int:
    """Write the signals of rows a, a + 1, ... and then their numbers. Returns how many there are."""
    n = len(rows)
    signals = np.zeros((n, len(INDEPENDENT), job.samples), np.int16)
    numbers = empty_numbers(n)
    reasons = [""] * n
    for name, group in groupby(range(n), key=lambda k: rows[k][0]):
        places = list(group)
        try:
            found = cut(job.read(job.source, name), [rows[k][1] for k in places], rate=job.rate, seconds=job.seconds)
        except (ValueError, OSError) as error:
            numbers["flags"][places] = bits("unreadable")
            reasons[places[0]] = " ".join(str(error).replace(str(job.source), "").split())[:200] or type(error).__name__
            continue
        for k, window in zip(places, found, strict=True):
            signals[k], numbers["flags"][k], numbers["heart_rate"][k], numbers["valid"][k] = window
    numbers["hash"][:], numbers["print"][:] = [fingerprint(x) for x in signals], prints(signals)
    with (job.part / "signals.npy").open("r+b") as file:
        file.seek(job.first + a * signals[0].nbytes)
        file.write(signals.tobytes())
        file.flush()
        os.fsync(file.fileno())
    write_file(done(job.part, a, shard), lambda path: np.savez(path, **numbers, reasons=np.array(reasons)))
    return n


def gathered(part: Path, source: Source, shard: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What the shards found out about all rows, and which records could not be read, why."""
    names = source.table["name"].tolist()
    numbers, reasons = empty_numbers(len(names)), {}
    for a in range(0, len(names), shard):
        with np.load(done(part, a, shard)) as file:
            for name, values in numbers.items():
                values[a : a + shard] = file[name]
            reasons |= {names[a + k]: str(text) for k, text in enumerate(file["reasons"]) if text}
    return numbers, reasons
