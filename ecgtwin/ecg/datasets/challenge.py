"""The PhysioNet/CinC Challenge 2021 collection (Reyna et al., Computing in Cardiology 2021; doi:10.13026/34va-7q14).

It has no patient ids. Records of the parts that are known to hold several ECGs of one patient (PTB, St Petersburg
INCART) share one "patient", so that they stay together in one split, and nothing here makes pairs. It contains all of
PTB-XL 1.0.1 (`HR00001` is ecg_id 1): these records are unusable here, since they would leak into PTB-XL's test
patients, unless PTB-XL's own table is given.
"""

import re
from pathlib import Path

import pandas as pd

from ..files.fields import age_of, clean_text, comment_fields, joined, sex_of, snomed_of
from .ptbxl import read_table
from .source import Rows, Source, Statements, find
from .wfdb_folder import read_record, records, windows

PARTS = {
    "HR": "ptb-xl",
    "JS": "chapman-shaoxing-ningbo",
    "E": "georgia",
    "A": "cpsc2018",
    "Q": "cpsc2018-extra",
    "S": "ptb",
    "I": "incart",
}
"""How record names begin in each part."""
TOGETHER = ("ptb", "incart")
"""Parts with several records of one patient."""


def part_of(record: str) -> str | None:
    """The part of the collection that a record belongs to, by its name."""
    match = re.fullmatch(r"([A-Z]{1,2})\d{4,5}", record.rsplit("/", 1)[-1])
    return PARTS.get(match[1]) if match else None


def scan(
    folder: str | Path,
    statements: Statements | None = None,
    *,
    ptbxl: str | Path | None = None,
    seconds: float = 10.0,
    most: int = 12,
) -> Source:
    """A folder of Challenge records (.hea and .mat), at any depth, as a source. statements reads one SNOMED CT code.

    ptbxl: folder of PTB-XL; its patients and folds are then given to the records that come from it. most: windows taken
    from a long record (INCART's last half an hour).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    theirs = _ptbxl(ptbxl)
    rows = Rows(statements)
    for record, header in rows.headers(folder, records(folder)):
        said = comment_fields(header.comments)
        part = part_of(record)
        flags, patient, known, fold = [], f"challenge_{header.name}", False, 0
        if part in TOGETHER:
            patient = f"challenge_{part}"
            rows.count(f"records of {part}, whose patients are not told apart: kept in one split")
        if part == "ptb-xl":
            if theirs is None:
                flags.append("ptbxl_copy")
                rows.count("records of PTB-XL, unusable: give --ptbxl to keep them in their folds")
            elif int(header.name[2:]) in theirs.index:
                patient, fold = theirs.loc[int(header.name[2:]), ["patient", "fold"]]
                known = not str(patient).startswith("ptbxl_record_")
                rows.count("records of PTB-XL, kept in their folds")
            else:
                flags.append("ptbxl_copy")
                rows.count("records of PTB-XL that its table does not list, unusable")
        age, over, odd = age_of(said.get("age", [None])[0])
        sex = sex_of(said.get("sex", [None])[0])
        codes = snomed_of(said)
        rows.count("age over 89", over)
        rows.count("implausible age", odd)
        rows.count("age not given", age != age and not odd)
        rows.count("sex not given", sex is None)
        rows.count("no code in #Dx", not codes)
        text, _ = clean_text(joined(said.get("report", [])))
        rows.add(
            header,
            record,
            windows(header.seconds, seconds, most),
            seconds,
            known=known,
            flags=flags + (["age_over_89"] if over else []),
            patient=patient,
            time=header.time,
            sex=sex,
            age=age,
            report=text,
            codes=codes,
            fold=int(fold),
        )
    return rows.source("challenge", folder, _read)


def _ptbxl(folder: str | Path | None) -> pd.DataFrame | None:
    if folder is None:
        return None
    path = find(folder, ["ptbxl_database.csv"])
    if path is None:
        raise FileNotFoundError(
            f"no ptbxl_database.csv in {folder} or below: give the folder that PTB-XL was unpacked to"
        )
    return read_table(path.parent)


def _read(folder: Path, name: str):
    return read_record(folder / name)
