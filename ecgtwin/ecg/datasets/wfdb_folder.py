"""Any tree of WFDB records as a source."""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from reprlib import repr as brief

from ..files.channels import factor
from ..files.fields import age_of, clean_text, comment_fields, joined, patient_of, sex_of, statements_of
from ..files.wfdb import signal
from ..files.wfdb_header import read_header
from ..record import ECG
from .source import Rows, Source, Statements


def read_record(path: str | Path, units: str | None = None) -> ECG:
    """The record (its path without ending, or with .hea) as an ECG: the signal as `ECG.read` has
    it, nothing of the comments."""
    stem = Path(str(path).removesuffix(".hea"))
    return signal(stem, read_header(stem.with_name(stem.name + ".hea")), units=units)


def records(folder: Path) -> Iterator[str]:
    """All records under a folder, as paths without ending relative to it, in alphabetical order."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.endswith(".hea"):
                yield str((Path(place) / name[:-4]).relative_to(folder).as_posix())


def scan(
    folder: str | Path,
    statements: Statements | None = None,
    *,
    seconds: float = 10.0,
    most: int = 12,
    patient: str | None = None,
    units: str | None = None,
    name: str = "wfdb",
) -> Source:
    """Any tree of WFDB records as a source.

    Age, sex, patient and report come from header comments ("age: 63", "sex: female", "patient: 17", "report: a|b").
    patient: a regular expression on the record's path whose first group, or whole match, is the patient; where neither
    it nor the header tells, each record is a patient of its own that makes no pairs. most: windows taken from a long
    record. units: "mV", "uV" or "V" for headers that say something wrong.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    try:
        pattern = re.compile(patient) if patient is not None else None
        factor(units or "mV", "option units")
    except re.error as error:
        raise ValueError(f"patient pattern {brief(patient)}: {error}") from None
    rows = Rows(statements)
    for record, header in rows.headers(folder, records(folder)):
        said = comment_fields(header.comments)
        match = pattern.search(record) if pattern else None
        whose = patient_of((match[1] if pattern.groups else match[0]) if match else said.get("patient", [None])[0])
        age, over, odd = age_of(said.get("age", [None])[0])
        rows.count("implausible age", odd)
        text, broken = clean_text(joined(statements_of(said)))
        rows.add(
            header,
            record,
            windows(header.seconds, seconds, most),
            seconds,
            patient=f"{name}_{whose or record}",
            known=whose is not None,
            time=header.time,
            sex=sex_of(said.get("sex", [None])[0]),
            age=age,
            report=text,
            codes=[part for part in text.split("|") if part],
            flags=[f for f, on in (("age_over_89", over), ("broken_text", broken)) if on],
        )
    return rows.source(name, folder, partial(_read, units))


def _read(units: str | None, folder: Path, name: str) -> ECG:
    return read_record(folder / f"{name}.hea", units)


def windows(recorded: float, seconds: float, most: int) -> int:
    """How many whole windows a recording gives; at least one, so that a recording that is
    too short is listed as such."""
    return max(1, min(most, int(recorded / seconds + 0.05)))
