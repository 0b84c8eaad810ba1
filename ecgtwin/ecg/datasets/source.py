"""What a data set offers before any signal is read: one table row per window, and what was found odd in its tables.

Every data set (`ptbxl`, `mimic`, `challenge`, `ptbdb`, `wfdb_folder`) has a `scan` that gives a `Source`; `prepare`
makes a store of it. Cells are cleaned here, so that an age, a sex or a text means the same wherever it came from.
"""

import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..files.fields import SEXES
from ..files.wfdb_header import Header, read_header
from ..quality import bits
from ..record import ECG

OVER_89 = 90.0
"""Ages over 89 are hidden in every data set (300, 90, 91): what is known is that they are at least this."""
COLUMNS: dict[str, Any] = {
    "name": "",
    "patient": "",
    "time": np.datetime64("NaT", "s"),
    "sex": 0,
    "age": np.nan,
    "report": "",
    "codes": "",
    "fold": 0,
    "heart_rate_given": np.nan,
    "start": 0.0,
    "flags": 0,
}
"""What every source's table has, with what stands for "not known"."""
BROKEN = re.compile(r"[�¿½¬¦§©\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Statements:
    """How codes or report lines become statements, handed in by the caller.

    read: one code or line -> statements; none where it says nothing clear; ValueError where it is unknown. names: all
    statements in their order.
    """

    read: Callable[[str], Sequence[str]]
    names: Sequence[str]


@dataclass(frozen=True)
class Source:
    """A data set that can be prepared.

    table: one row per window with COLUMNS, `statements` (places in `vocabulary`), and float columns of the data
    set's own. problems: what was found odd -> how often. unmapped: codes or lines without a statement -> how
    often. read: (folder, name) -> ECG.
    """

    name: str
    folder: Path
    table: pd.DataFrame
    read: Callable[[Path, str], ECG]
    vocabulary: tuple[str, ...] = ()
    problems: Mapping[str, int] = field(default_factory=dict)
    unmapped: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(
        name: str,
        folder: Path,
        columns: Mapping[str, Any],
        read: Callable[[Path, str], ECG],
        *,
        codes: Sequence[Sequence[str]],
        statements: Statements | None,
        problems: Mapping[str, int],
    ) -> "Source":
        """From columns (those that are left out become unknown) and each row's codes or report lines."""
        n = len(columns["name"])
        if n == 0:
            why = "; ".join(f"{what}: {count}" for what, count in problems.items())
            raise FileNotFoundError(f"no records of {name} under {folder}" + (f" ({why})" if why else ""))
        table = pd.DataFrame({key: columns.get(key, default) for key, default in COLUMNS.items()}, index=range(n))
        for key in columns.keys() - COLUMNS.keys():
            table[key] = np.asarray(columns[key], np.float32)
        table["time"] = pd.to_datetime(table["time"], errors="coerce").astype("datetime64[s]")
        places, vocabulary, unmapped = mapped(codes, statements)
        table["statements"] = pd.Series(places, dtype=object)
        return Source(name, folder, table, read, vocabulary, {k: int(v) for k, v in problems.items() if v}, unmapped)


def mapped(
    codes: Sequence[Sequence[str]], statements: Statements | None
) -> tuple[list[tuple[int, ...]], tuple[str, ...], dict[str, int]]:
    """Each row's statements as places in the vocabulary that occurs, and how often what could not be read."""
    if statements is None:
        return [()] * len(codes), (), {}
    order = {name: k for k, name in enumerate(statements.names)}
    known: dict[str, tuple[int, ...]] = {}
    unmapped: Counter[str] = Counter()
    rows = []
    for row in codes:
        found: set[int] = set()
        for code in row:
            if code not in known:
                try:
                    known[code] = tuple(order[name] for name in statements.read(code))
                except ValueError:
                    known[code] = ()
            if not known[code]:
                unmapped[code] += 1
            found.update(known[code])
        rows.append(tuple(sorted(found)))
    used = sorted({k for row in rows for k in row})
    place = {k: i for i, k in enumerate(used)}
    names = list(statements.names)
    return [tuple(place[k] for k in row) for row in rows], tuple(names[k] for k in used), dict(unmapped.most_common())


class Rows:
    """Collects the rows of a data set that is a tree of WFDB files, and counts what is wrong with them."""

    def __init__(self, statements: Statements | None):
        self.statements = statements
        self.problems: Counter[str] = Counter()
        self.columns: dict[str, list] = {key: [] for key in COLUMNS}
        self.codes: list[Sequence[str]] = []

    def count(self, what: str, times: int | bool = 1) -> None:
        self.problems[what] += int(times)

    def headers(self, folder: Path, records: Iterable[str]) -> Iterator[tuple[str, Header]]:
        """Each record that can be read, with its header."""
        for record in records:
            if (header := self.header(folder, record)) is not None:
                yield record, header

    def header(self, folder: Path, record: str) -> Header | None:
        """A record's header, or None, counted, where there is nothing to read."""
        path = folder / f"{record}.hea"
        try:
            header = read_header(path)
        except (ValueError, FileNotFoundError):
            return self.count("headers that cannot be read")
        if header.segmented:
            return self.count("multi-segment headers left out (their segments are taken)")
        if not header.channels or not all(c.file == "~" or path.with_name(c.file).is_file() for c in header.channels):
            return self.count("records without their signal file")
        return header

    def add(
        self,
        header: Header,
        record: str,
        windows: int,
        seconds: float,
        *,
        known: bool,
        flags: Sequence[str],
        **cells: Any,
    ) -> None:
        """One row for each window of a record. cells: values of COLUMNS; codes: the list
        that statements are read from."""
        codes = list(cells.pop("codes", ()))
        cells["flags"] = bits(*flags, *([] if known else ["patient_unknown"]))
        cells["sex"] = SEXES.index(cells.get("sex"))
        cells["time"] = COLUMNS["time"] if cells.get("time") is None else np.datetime64(cells["time"], "s")
        for k in range(windows):
            row = COLUMNS | cells | {"name": record, "codes": "|".join(codes), "start": k * seconds}
            for key, values in self.columns.items():
                values.append(row[key])
            self.codes.append(codes)

    def source(self, name: str, folder: Path, read: Callable[[Path, str], ECG]) -> Source:
        return Source.of(
            name, folder, self.columns, read, codes=self.codes, statements=self.statements, problems=self.problems
        )


def find(folder: str | Path, names: Sequence[str], depth: int = 6) -> Path | None:
    """The first of these files in a folder or below it, nearest first; folders of records are not entered."""
    level = [Path(folder)]
    for _ in range(depth + 1):
        for place in level:
            for name in names:
                if (place / name).is_file():
                    return place / name
        level = [d for place in level for d in _below(place)]
    return None


def _below(place: Path) -> list[Path]:
    try:
        found = sorted(d for d in place.iterdir() if d.is_dir())
    except OSError:
        return []
    return [d for d in found if not re.fullmatch(r"p\d{4,}|records\d+|patient\d+|g\d+|\d+|\..*", d.name)]


def read_csv(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """A CSV file, every cell as text and empty cells as "". ValueError where it is no table or lacks a column."""
    return next(read_chunks(path, needed, sys.maxsize))


def read_chunks(path: Path, needed: Sequence[str], rows: int) -> Iterator[pd.DataFrame]:
    """As `read_csv`, so many rows at a time."""
    options = {"dtype": str, "keep_default_na": False, "na_filter": False, "encoding_errors": "replace"}
    try:
        for table in pd.read_csv(path, chunksize=min(rows, 2**31 - 1), **options):
            missing = [name for name in needed if name not in table.columns]
            if missing:
                seen = ", ".join(map(str, list(table.columns)[:12]))[:300]
                raise Lacking(
                    f"{path} lacks column {', '.join(missing)}: it has {seen}; is this the table of another data set?"
                )
            yield table.reset_index(drop=True)
    except Lacking:
        raise
    except (ValueError, OSError, EOFError, OverflowError, zlib.error) as error:
        raise ValueError(
            f"{path} is not a readable CSV table ({type(error).__name__}: {str(error)[:150]}); copy it again"
        ) from None


class Lacking(ValueError):
    """A table is readable but lacks a column."""
