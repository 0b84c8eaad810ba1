"""The index of a run of `ecgtwin generate --table`: a line for each row that is done, written after the row's files.

A run that takes a share of the rows has an index of its own, index.K-of-N.csv, which the next run of the whole table
takes over into index.csv.
"""

import csv
import io
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ..atomic import write_text
from ..ecg.store.prepare import locked
from ..ecg.store.turn import Turn
from .people import COLUMNS

INDEX = ("row", *COLUMNS, "status", "files", "measured_heart_rate", "notes", "reason")


class Line(NamedTuple):
    """Of the index: how many files a row has, or why it was refused."""

    row: int
    files: int
    reason: str


def index_of(output: Path, turn: Turn | None) -> Path:
    return output / ("index.csv" if turn is None else f"index.{turn}.csv")


def finished(index: Path) -> dict[int, Line]:
    """Lines of an index by row; a half-written last one is cut off, a missing index begun."""
    if not index.exists():
        write_text(index, line_of(INDEX))
    with index.open("rb+") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
    lines = csv.DictReader(io.StringIO(data[:whole].decode("utf-8")))
    found = (Line(int(x["row"]), len(x["files"].split("|")) if x["files"] else 0, x["reason"]) for x in lines)
    return {line.row: line for line in found}


def append(index: Path, lines: Iterable[str]) -> int:
    """Write lines to the end of an index, each as it comes; returns how many."""
    count = 0
    with index.open("ab", buffering=0) as file:
        for line in lines:
            file.write(line.encode())
            count += 1
        os.fsync(file.fileno())
    return count


def take_over(output: Path, index: Path) -> None:
    """Into the index of the whole table, what runs of shares of it did; their indices go. FileExistsError where one is
    still at work."""
    for path in sorted(output.glob("index.*-of-*.csv")):
        with locked(path):
            finished(path)  # a half-written last line goes
            done = finished(index)
            rows = path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
            append(index, (row for row in rows if int(row.split(",", 1)[0]) not in done))
            path.unlink()


def sort(index: Path) -> None:
    """Put the lines of an index into the order of the table, where they are in another."""
    head, *lines = index.read_text(encoding="utf-8").splitlines(keepends=True)
    ordered = sorted(lines, key=lambda line: int(line.split(",", 1)[0]))
    if ordered != lines:
        write_text(index, head + "".join(ordered))


def sweep(output: Path) -> None:
    """Take away what a killed run had half written."""
    for path in (*output.glob(".*.part*"), *output.glob("[0-9]*/.*part*")):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def line_of(cells: Iterable[Any]) -> str:
    """Cells as one line of a CSV table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([" ".join(str(cell).split()) for cell in cells])
    return text.getvalue()
