"""The table of `ecgtwin generate --table`: one row a request. Only `record` is required; empty cells are
the command's own options."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import isnan
from pathlib import Path
from reprlib import repr as brief
from typing import NamedTuple

from ..ecg.files import FORMATS, fields
from .wanted import Wish

COLUMNS = ("record", "report", "heart_rate", "sex", "age", "reference_report", "n", "seed")


class Row(NamedTuple):
    """number: from 1, without the header. cells: by column, "" where a column is missing. wrong:
    why it cannot be one, or ""."""

    number: int
    cells: dict[str, str]
    wrong: str = ""

    @property
    def size(self) -> int:
        """Twins that it asks for, as far as that can be read."""
        return int(self.cells["n"]) if self.cells["n"].isdecimal() and len(self.cells["n"]) < 10 else 1


@dataclass(frozen=True)
class Asked:
    """A row as a request."""

    record: Path
    wish: Wish
    n: int
    seed: int


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and not the name of a WFDB record beside one."""
    return path.is_dir() and not path.with_name(f"{path.name}.hea").is_file()


def records_in(folder: Path) -> list[str]:
    """Names of the files in a folder that may be records, in order. ValueError where there is none."""
    endings = {ending for kind in FORMATS for ending in kind.endings} - {".dat", ".mat", ""}
    found = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in endings and p.is_file())
    if not found:
        raise ValueError(f"{folder} holds no record: expected files that end in {', '.join(sorted(endings))}")
    return found


def read_rows(table: Path) -> Iterator[Row]:
    """Rows of a CSV table, as they are read, or of the records in a folder. ValueError for a table that is none, or
    has columns that are not known."""
    if table.is_dir():
        for number, name in enumerate(records_in(table), 1):
            yield Row(number, dict.fromkeys(COLUMNS, "") | {"record": name})
        return
    with table.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        try:
            header = [name.strip().lower() for name in next(lines, [])]
            refuse_header(table, header)
            number = 0
            for line in lines:
                if not any(cell.strip() for cell in line):
                    continue
                number += 1
                cells = dict.fromkeys(COLUMNS, "") | {k: v.strip() for k, v in zip(header, line, strict=False)}
                wrong = (
                    "" if len(line) == len(header) else f"the row has {len(line)} cells, the header has {len(header)}"
                )
                yield Row(number, cells, wrong)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{table} is not a CSV table in UTF-8: {error}") from None


def refuse_header(table: Path, header: list[str]) -> None:
    if "record" not in header:
        raise ValueError(
            f"{table} has no column 'record' but {brief(', '.join(header))}: give a CSV with commas and a header line"
        )
    for name in header:
        if name not in COLUMNS:
            near = get_close_matches(name, COLUMNS, 1)
            way = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(COLUMNS)}"
            raise ValueError(f"{table} has a column {brief(name)} that is not known: {way}")
        if header.count(name) > 1:
            raise ValueError(f"{table} has the column {name!r} {header.count(name)} times: keep one")


def asked(row: Row, folder: Path, default: Asked) -> Asked:
    """What a row asks for; relative paths start at `folder`. ValueError for cells that cannot be read."""
    if row.wrong:
        raise ValueError(row.wrong)
    if not row.cells["record"]:
        raise ValueError("no record: give the path of one")
    own = default.wish
    sex = word(row, "sex")
    if sex is not None and fields.sex_of(sex) is None:
        raise ValueError(f"sex {brief(sex)}: expected female, male or nothing")
    age, heart_rate = number(row, "age"), number(row, "heart_rate")
    wish = replace(
        own,
        reports=statements(row, "report") or own.reports,
        reference_reports=statements(row, "reference_report") or own.reference_reports,
        sex=own.sex if sex is None else fields.sex_of(sex),
        age=own.age if age is None else age,
        heart_rate=own.heart_rate if heart_rate is None else heart_rate,
    )
    n, seed = whole(row, "n"), whole(row, "seed")
    return Asked(
        folder / row.cells["record"], wish, default.n if n is None else n, default.seed if seed is None else seed
    )


def word(row: Row, name: str) -> str | None:
    return None if row.cells[name].lower() in fields.BLANK else row.cells[name]


def statements(row: Row, name: str) -> tuple[str, ...]:
    return tuple(text.strip() for text in (word(row, name) or "").split("|") if text.strip())


def number(row: Row, name: str) -> float | None:
    text = word(row, name)
    if text is not None and isnan(fields.number(text)):
        raise ValueError(f"{name} {brief(text)}: expected a number, or nothing where it is not known")
    return None if text is None else fields.number(text)


def whole(row: Row, name: str) -> int | None:
    text = word(row, name)
    if text is not None and not (text.isdecimal() and len(text) <= 20):
        raise ValueError(f"{name} {brief(text)}: expected a whole number, or nothing")
    return None if text is None else int(text)
