"""`ecgtwin generate --table`: from a table of requests to a folder of twins, a full batch at a time;
killed, it goes on where it was.

In the folder: run.json (what makes the twins: table, model, options), records in folders of 1000 rows, and
index.csv, whose line of a row is written after the row's files. Batches follow from the table alone, so a run that
was killed ends in the same files.
"""

import csv
import hashlib
import json
import platform
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from ..atomic import write_text
from ..ecg.files import Given, read
from ..ecg.leads import LEADS
from ..ecg.quality import prepare
from ..ecg.record import ECG
from ..ecg.store.prepare import locked
from ..ecg.store.turn import Turn
from ..evaluation.explain import explain
from ..twin.contradictions import Contradiction
from ..twin.request import check_options, check_seed
from ..twin.twin import ECGTwin
from .cohort_index import append, finished, index_of, line_of, sort, sweep, take_over
from .cohort_remote import Errand, remotely
from .deliver import NOTICE, SUFFIX, refuse_used
from .measured import Side
from .measured import write as write_table
from .people import COLUMNS, Asked, Row, asked, read_rows, records_in
from .wanted import Options, conditions, walked

READERS = 2
TOLD = 10
"""Refused rows that are told on the screen."""
MOST = 10_000
"""Twins of one row, which are in memory together."""


class Read(NamedTuple):
    """A row with its reference, ready for the model."""

    asked: Asked
    used: ECG


class Answer(NamedTuple):
    """Twins of a row, or the reason why there are none."""

    row: Row
    twins: list[ECG]
    notes: list[str]
    reason: str = ""


def run(
    table: Path,
    default: Asked,
    options: Options,
    output: Path,
    *,
    model: ECGTwin,
    given: Given,
    say: Callable[[str], None],
    turn: Turn | None = None,
    source: Path | None = None,
    engine: Executor | None = None,
) -> dict[str, Any]:
    """Answer the rows of `table` that `output` does not hold yet; returns what was done, in figures.

    default: what rows leave out. given: what the records do not say. turn: answer a share of the rows alone. engine:
    processes that answer them in the place of this one, with the model in the folder `source`. A row that cannot be
    answered is listed in the index with its reason; ValueError or OSError only for what no row can be answered with,
    or where `output` holds another run.
    """
    if options.format not in SUFFIX:
        raise ValueError(f"format {options.format!r}: expected one of {', '.join(SUFFIX)}")
    options = replace(options, steps=model.steps_of(options.steps, fast=options.fast))
    check_options(
        steps=options.steps, guidance=options.guidance, base_guidance=options.base_guidance, rescale=options.rescale
    )

    def mine() -> Iterator[list[Row]]:
        for k, group in enumerate(groups(read_rows(table), model.full, default.n)):
            if turn is None or turn.takes(k):
                yield group

    total = sum(map(len, mine()))
    refuse_used(output, False)
    output.mkdir(parents=True, exist_ok=True)
    begin, index = time.perf_counter(), index_of(output, turn)
    folder = table if table.is_dir() else table.parent
    load = reference_of(folder, default, given, model)
    with locked(index):
        begun(output / "run.json", table, default, options, given, model)
        if turn is None:
            take_over(output, index)
            sweep(output)
        done = frozenset(finished(index))
        before = len(done)
        say(f"{total} rows, {before} of them done before" if before else f"{total} rows")
        todo = (group for group in mine() if any(row.number not in done for row in group))
        with tqdm(total=total, initial=before, desc="rows", unit="row") as bar:
            if engine is None:
                for count in here(todo, done, index, options, load, model):
                    bar.update(count)
            else:
                weights, device = model.weights_hash, str(model.device)
                errand = Errand(folder, output, source, weights, device, model.precision, default, options, given)
                for lines in remotely(errand, todo, done, engine):
                    bar.update(append(index, lines))
                sweep(output)
        if turn is None:
            sort(index)
        lines = finished(index)
        if options.measure and turn is None:
            write_table(output / "measurements.csv", sides(output, table, index, load, model), options.measure)
            say(f"{output / 'measurements.csv'}  {', '.join(options.measure)} before and after")
    reasons = {line.row: line.reason for line in lines.values() if line.reason}
    return {
        "rows": total,
        "written": len(lines) - len(reasons),
        "refused": len(reasons),
        "twins": sum(line.files for line in lines.values()),
        "reasons": reasons,
        "done_before": before,
        "index": str(index),
        "seconds": round(time.perf_counter() - begin, 3),
    }


def here(
    todo: Iterable[list[Row]],
    done: frozenset[int],
    index: Path,
    options: Options,
    load: Callable[[Row], Read],
    model: ECGTwin,
) -> Iterator[int]:
    """Answer groups of rows in this process: the next group's references are read, and the last one's files written,
    while the network works. Yields numbers of rows that are done."""
    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(1) as writer:
        waiting: deque[Future[int]] = deque()
        for group, loaded in ahead(todo, lambda row: readers.submit(load, row)):
            found = answers(model, group, loaded, options)
            fresh = [answer for answer in found if answer.row.number not in done]
            lines = (written(index.parent, answer, options.format) for answer in fresh)
            waiting.append(writer.submit(append, index, lines))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def tell(done: dict[str, Any], say: Callable[[str], None], as_json: bool) -> None:
    """What `run` did, for a reader, or as JSON on standard output."""
    if as_json:
        print(json.dumps(done, indent=2))
        return
    say(
        f"{done['written']} of {done['rows']} rows answered, {done['twins']} twins, {done['seconds']:.1f} s; "
        f"{done['index']} lists them"
    )
    for row, reason in list(done["reasons"].items())[:TOLD]:
        say(f"row {row} refused: {reason}")
    if done["refused"] > TOLD:
        say(f"and {done['refused'] - TOLD} more: see the index")
    say(NOTICE)


def begun(path: Path, table: Path, default: Asked, options: Options, given: Given, model: ECGTwin) -> None:
    """Write what this run is made with; ValueError where the folder's run was made with something else."""
    own = {
        "table": {"name": table.name, "sha256": hashlib.sha256(content(table)).hexdigest()},
        "model": {
            "weights_sha256": model.weights_hash,
            "text_encoder": model.table.fingerprint,
            "precision": model.precision,
        },
        "options": {k: v for k, v in asdict(options).items() if k not in ("n", "seed", "measure")},
        "default": {"wish": asdict(default.wish), "n": default.n, "seed": default.seed, "records": asdict(given)},
    }
    own = json.loads(json.dumps(own, default=str))
    if path.exists():
        was = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name in own if was.get(name) != own[name]]
        if other:
            raise ValueError(
                f"{path.parent} holds a run with another {other[0]}: give another folder as --output, or the "
                f"same {other[0]}"
            )
        return
    versions = {p: version(p) for p in ("ecgtwin", "torch", "numpy")} | {"python": platform.python_version()}
    write_text(
        path, json.dumps({"notice": NOTICE, "versions": versions, "device": str(model.device)} | own, indent=2) + "\n"
    )


def content(table: Path) -> bytes:
    """What makes a table another one: its bytes, or the names in a folder."""
    return "\n".join(records_in(table)).encode() if table.is_dir() else table.read_bytes()


def sides(output: Path, table: Path, index: Path, load: Callable[[Row], Read], model: ECGTwin) -> Iterator[Side]:
    """Reference and twins of each row that was answered, from the files."""
    with index.open(encoding="utf-8", newline="") as file:
        files = {int(line["row"]): line["files"].split("|") for line in csv.DictReader(file) if line["files"]}
    for row in read_rows(table):
        if row.number in files:
            wanted, used = load(row)
            now = conditions(model, used, wanted.wish)[0]
            twins = [ECG.read(output / name) for name in files[row.number]]
            yield Side(row.number, row.cells["record"], explain(used, twins, now))


def groups(rows: Iterable[Row], size: int, n: int) -> Iterator[list[Row]]:
    """Rows whose twins (n where a row does not say) fill a batch of `size`, or one row with more."""
    group, twins = [], 0
    for row in rows:
        wanted = row.size if row.cells["n"] else n
        if group and (twins + wanted > size or len(group) == size):
            yield group
            group, twins = [], 0
        group.append(row)
        twins += wanted
    if group:
        yield group


def ahead(todo: Iterable[list[Row]], submit: Callable[[Row], Future]) -> Iterator[tuple[list[Row], list[Future]]]:
    """Each group with its references, while those of the next are being read."""
    waiting = None
    for group in todo:
        loaded = [submit(row) for row in group]
        if waiting is not None:
            yield waiting
        waiting = group, loaded
    if waiting is not None:
        yield waiting


def reference_of(folder: Path, default: Asked, given: Given, model: ECGTwin) -> Callable[[Row], Read]:
    """Reads a row's reference; the result raises what is wrong with it."""
    c = model.config.signal

    def load(row: Row) -> Read:
        wanted = asked(row, folder, default)
        if not 1 <= wanted.n <= MOST:
            raise ValueError(f"n {wanted.n}: expected 1 to {MOST} twins in one row")
        check_seed(wanted.seed, wanted.n)
        return Read(
            wanted,
            prepare(read(wanted.record, given), seconds=c.samples / c.rate, leads=LEADS, start=wanted.wish.start),
        )

    return load


def answers(model: ECGTwin, group: list[Row], loaded: list[Future], options: Options) -> list[Answer]:
    """The twins of a group of rows, in one batch (a row alone may fill several)."""
    found, requests, drawn = [], [], []
    for row, future in zip(group, loaded, strict=True):
        try:
            wanted, used = future.result()
            now, was, notes = conditions(model, used, wanted.wish)
            own = None if was.empty else was
            seeds = [wanted.seed + k for k in range(wanted.n)]
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", Contradiction)
                mine = model.requests(used, now, seeds, reference_condition=own)
            model.conditions([request.condition for request in mine[:1]])
            notes += [*used.notes, *(str(one.message) for one in told if issubclass(one.category, Contradiction))]
            state = model.wanted(used, now, own)[0]
        except Exception as error:  # whatever a file holds: it is the row that is refused, and the reason is kept
            known = isinstance(error, ValueError | OSError | TypeError | FloatingPointError)
            found.append(
                Answer(row, [], [], str(error) if known and str(error) else f"{type(error).__name__}: {error}")
            )
            continue
        requests += mine
        drawn += [(state, used, f"seed {seed}") for seed in seeds]
        found.append(Answer(row, [], [*dict.fromkeys(notes)]))
    if not requests:
        return found
    scales = {"guidance": options.guidance, "base_guidance": options.base_guidance, "rescale": options.rescale}
    signals = model.sample_in_parts(requests, steps=options.steps, **scales, **walked(model, options))
    rows = zip(signals, drawn, requests, strict=True)
    made = (model.at_rate(model.as_ecg(x, *of), options.rate, request.seed) for x, of, request in rows)
    sizes = iter([future.result().asked.n for future, answer in zip(loaded, found, strict=True) if not answer.reason])
    return [a if a.reason else a._replace(twins=[next(made) for _ in range(next(sizes))]) for a in found]


def written(output: Path, answer: Answer, format: str) -> str:
    """Write the files of an answer; returns its line of the index."""
    row, twins, notes, reason = answer
    folder = output / f"{row.number // 1000:04d}"
    files = [folder / f"{row.number:06d}_{k:03d}{SUFFIX[format]}" for k in range(len(twins))]
    for path, twin in zip(files, twins, strict=True):
        twin.write(path, format=format)
    rates = (twin.heart_rate() for twin in twins)
    measured = "|".join("" if rate is None else f"{rate:.1f}" for rate in rates)
    names = "|".join(path.relative_to(output).as_posix() for path in files)
    status, told = "refused" if reason else "written", "; ".join(notes)
    return line_of((row.number, *(row.cells[name] for name in COLUMNS), status, names, measured, told, reason))
