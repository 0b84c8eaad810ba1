"""The PTB Diagnostic ECG Database (Bousseljot, Kreiseler, Schnabel 1995; doi:10.13026/C28C71).

549 records of 290 patients, 1000 Hz, 15 signals with lower-case names, up to two minutes: cut into windows. Clinical
fields are header comments. The large offsets of its amplifier go with each window's median.
"""

import re
from datetime import datetime
from pathlib import Path

from ..files.fields import age_of, clean_text, comment_fields, joined, sex_of
from .source import Rows, Source, Statements
from .wfdb_folder import read_record, records, windows

BLANK = {"", "n/a", "no", "unknown", "none", "-"}
KEPT = (
    "reason for admission",
    "acute infarction (localization)",
    "former infarction (localization)",
    "additional diagnoses",
)
"""Fields that are kept as report text."""


def scan(folder: str | Path, statements: Statements | None = None, *, seconds: float = 10.0, most: int = 12) -> Source:
    """PTBDB, whole or in part, as a source: patientNNN/sNNNN?re.hea, at any depth. statements reads one phrase, such as
    "inferolateral myocardial infarction". most: windows taken from one record.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    rows = Rows(statements)
    for record in records(folder):
        match = re.search(r"(?:^|/)(patient\d+)/[^/]+$", record)
        if match is None and not re.search(r"patient\d+$", folder.name):
            rows.count("records outside a folder patientNNN left out")
            continue
        header = rows.header(folder, record)
        if header is None:
            continue
        said = comment_fields(header.comments)
        age, over, odd = age_of(said.get("age", [None])[0])
        sex = sex_of(said.get("sex", [None])[0])
        rows.count("age over 89", over)
        rows.count("implausible age", odd)
        rows.count("age not given", age != age and not odd)
        rows.count("sex not given", sex is None)
        text, broken = clean_text(
            joined([f"{key}: {value}" for key in KEPT for value in said.get(key, []) if not _blank(value)])
        )
        rows.add(
            header,
            record,
            windows(header.seconds, seconds, most),
            seconds,
            known=True,
            flags=[f for f, on in (("age_over_89", over), ("broken_text", broken)) if on],
            patient=f"ptbdb_{match[1] if match else folder.name}",
            time=_date(said.get("ecg date", [""])[0]),
            sex=sex,
            age=age,
            report=text,
            codes=phrases(said),
        )
    return rows.source("ptbdb", folder, _read)


def phrases(said: dict[str, list[str]]) -> list[str]:
    """What the clinical fields say as phrases: sites of infarctions with their name, and the other diagnoses."""
    found = []
    for key in ("acute infarction (localization)", "former infarction (localization)"):
        for value in said.get(key, []):
            for place in re.split(r"[,;/]| and ", value):
                if not _blank(place):
                    found.append(f"{_site(place)} myocardial infarction")
    for key in ("reason for admission", "additional diagnoses"):
        for value in said.get(key, []):
            found += [part.strip() for part in value.split(",") if not _blank(part)]
    # The site says it already; without one the text has no place and "myocardial infarction" alone would get one.
    return list(
        dict.fromkeys(p for p in found if not re.fullmatch(r"myocardial infarction|healthy control", p, re.IGNORECASE))
    )


def _site(text: str) -> str:
    """ "infero-latera" -> "inferolateral"; PTBDB cuts and hyphenates its sites."""
    site = re.sub(r"[^a-z]", "", text.lower())
    return site + "l" if site.endswith("latera") else site


def _blank(text: str) -> bool:
    return text.strip().lower() in BLANK


def _date(text: str) -> datetime | None:
    for form in ("%d/%m/%Y", "%d-%b-%y", "%d.%m.%Y"):
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None


def _read(folder: Path, name: str):
    return read_record(folder / name)
