"""MIMIC-IV-ECG (Gow et al., PhysioNet 2023; doi:10.13026/4nqg-sb35) with sex and age from
MIMIC-IV, which is credentialed.

Nothing here leaves the machine. `record_list.csv` and `machine_measurements.csv` are found under any folder above them,
and a copy of part of the files is enough.
"""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ..files.fields import SEXES, age_of, clean_text, joined, number, plausible_heart_rate, sex_of
from ..quality import bits
from .source import Source, Statements, find, read_chunks, read_csv
from .wfdb_folder import read_record

SENTINELS = (29999.0, 32767.0, -32768.0, 65535.0)
"""What the machines write for "not measured"."""
TIMES = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end")
AXES = ("p_axis", "qrs_axis", "t_axis")
INTERVALS = {
    "pr_ms_given": ("p_onset", "qrs_onset", 60, 600),
    "qrs_ms_given": ("qrs_onset", "qrs_end", 30, 300),
    "qt_ms_given": ("qrs_onset", "t_end", 150, 800),
}
"""Interval -> its two marks, least and largest plausible length in ms."""
CHUNK = 50_000
"""Rows of measurements read at a time: 800,000 rows of 18 lines are never in memory together."""


def scan(folder: str | Path, statements: Statements | None = None, *, patients: str | Path | None = None) -> Source:
    """MIMIC-IV-ECG, whole or in part, as a source. statements reads one printed report line.

    patients: MIMIC-IV's `hosp/patients.csv` or `.csv.gz`, or a folder above it; where it is None it is looked for under
    `folder`, and without it sex and age are not known. Machine measurements become heart_rate_given (beats/min) and the
    float columns pr_ms_given, qrs_ms_given, qt_ms_given, p_axis_given, qrs_axis_given, t_axis_given.
    """
    path = find(folder, ["record_list.csv"])
    if path is None:
        raise FileNotFoundError(f"no record_list.csv in {folder} or below: give a folder that holds MIMIC-IV-ECG")
    root = path.parent
    problems: Counter[str] = Counter()
    raw = read_csv(path, ["subject_id", "study_id", "ecg_time", "path"])
    again = raw["study_id"].duplicated() | raw["path"].duplicated()
    problems["studies listed twice"] = int(again.sum())
    raw = raw[~again]
    stems = [p.strip().removesuffix(".hea").removesuffix(".dat") for p in raw["path"]]
    there = np.array([_there(root, stem) for stem in stems])
    problems["records that are listed but not here"] = int((~there).sum())
    raw, stems = raw[there].reset_index(drop=True), [s for s, here in zip(stems, there, strict=True) if here]
    subjects = [number(s) for s in raw["subject_id"]]
    known = [s >= 0 for s in subjects]
    problems["subject_id that cannot be read"] = known.count(False)
    time = pd.to_datetime(raw["ecg_time"], errors="coerce")
    problems["ecg_time that cannot be read"] = int(time.isna().sum())
    flags = np.array([0 if k else bits("patient_unknown") for k in known], np.int64)
    columns = {
        "name": stems,
        "patient": [
            f"mimic_{int(s)}" if k else f"mimic_study_{i}"
            for s, k, i in zip(subjects, known, raw["study_id"], strict=True)
        ],
        "time": time.to_numpy(),
    }
    columns |= _people(patients, Path(folder), subjects, time, problems, flags)
    measured, lines = _measurements(root, raw["study_id"].tolist(), problems, flags)
    columns |= measured
    reports = [clean_text(joined(row)) for row in lines]
    problems["report with lost characters"] = sum(broken for _, broken in reports)
    problems["records without a report"] = sum(not text for text, _ in reports)
    flags[[broken for _, broken in reports]] |= bits("broken_text")
    columns |= {"report": [text for text, _ in reports], "flags": flags}
    return Source.of("mimic-iv-ecg", root, columns, _read, codes=lines, statements=statements, problems=problems)


def _there(root: Path, stem: str) -> bool:
    inside = stem and not stem.startswith("/") and ".." not in stem.split("/")
    return bool(inside) and (root / f"{stem}.hea").is_file() and (root / f"{stem}.dat").is_file()


def _read(folder: Path, name: str):
    return read_record(folder / name)


def _people(
    patients, folder: Path, subjects: list[float], time: pd.Series, problems: Counter, flags: np.ndarray
) -> dict[str, list]:
    """Sex and age: anchor_age + year of the ECG - anchor_year; an anchor_age of 91 stands
    for over 89 and stays that."""
    names = ["hosp/patients.csv.gz", "hosp/patients.csv", "patients.csv.gz", "patients.csv"]
    given = Path(patients) if patients is not None else folder
    path = given if given.is_file() else find(given, names)
    if path is None:
        if patients is not None:
            raise FileNotFoundError(
                f"no patients.csv or patients.csv.gz in {patients} or below (MIMIC-IV, folder hosp)"
            )
        problems["sex and age not known: no patients.csv (MIMIC-IV, folder hosp) was given"] = len(subjects)
        return {}
    raw = read_csv(path, ["subject_id", "gender", "anchor_age", "anchor_year"])
    people = {
        number(row[0]): row[1:]
        for row in raw[["subject_id", "gender", "anchor_age", "anchor_year"]].itertuples(index=False)
    }
    sexes, ages = [], []
    for k, (subject, when) in enumerate(zip(subjects, time, strict=True)):
        gender, anchor_age, anchor_year = people.get(subject, ("", "", ""))
        problems["patients' ECGs without a line in patients.csv"] += subject not in people
        anchor, over, _ = age_of(anchor_age)
        years = anchor if over else anchor + (when.year if when is not pd.NaT else math.nan) - number(anchor_year)
        age, over, odd = age_of(years)
        sexes.append(SEXES.index(sex_of(gender)))
        ages.append(age)
        flags[k] |= bits("age_over_89") if over else 0
        problems["age over 89 (anchor_age 91, or 90 and more)"] += over
        problems["implausible age"] += odd
    problems["sex not given"] = sexes.count(0)
    problems["age not given"] = sum(map(math.isnan, ages)) - problems["implausible age"]
    return {"sex": sexes, "age": ages}


def _measurements(
    root: Path, studies: list[str], problems: Counter, flags: np.ndarray
) -> tuple[dict[str, np.ndarray], list[list[str]]]:
    """Given heart rate, intervals, axes, and the report lines of each study, read in chunks."""
    place = {study: k for k, study in enumerate(studies)}
    names = ["heart_rate_given", *INTERVALS, *(f"{axis}_given" for axis in AXES)]
    found = {name: np.full(len(studies), np.nan, np.float32) for name in names}
    lines: list[list[str]] = [[] for _ in studies]
    path = find(root, ["machine_measurements.csv"], depth=0)
    if path is None:
        problems["no machine_measurements.csv: reports and measurements not known"] = len(studies)
        return found, lines
    seen: set[int] = set()
    for raw in read_chunks(path, ["study_id"], CHUNK):
        reports = [c for c in raw.columns if c.startswith("report_")]
        reports.sort(key=lambda c: number(c.removeprefix("report_")))
        rows = [place.get(s) for s in raw["study_id"]]
        here = np.array([r is not None and r not in seen for r in rows], bool)
        rows = np.array([r for r, h in zip(rows, here, strict=True) if h], int)
        seen.update(rows.tolist())
        raw = raw[here]
        values = {name: _unmasked(raw[name], problems, flags, rows) for name in (*TIMES, *AXES) if name in raw}
        blank = 0
        for row, *texts in zip(rows, *(raw[c] for c in reports), strict=True):
            filled = [k for k, t in enumerate(texts) if t.strip()]
            blank += bool(filled) and filled[-1] + 1 != len(filled)
            lines[row] = [" ".join(texts[k].replace("|", "/").split()) for k in filled]
        problems["reports with blank lines in between"] += blank
        if "rr_interval" in values:
            with np.errstate(divide="ignore"):
                found["heart_rate_given"][rows] = [plausible_heart_rate(v) for v in 60_000 / values["rr_interval"]]
        for name, (start, end, least, most) in INTERVALS.items():
            if start in values and end in values:
                length = values[end] - values[start]
                found[name][rows] = np.where((length >= least) & (length <= most), length, np.nan)
        for axis in AXES:
            if axis in values:
                found[f"{axis}_given"][rows] = np.where(np.abs(values[axis]) <= 360, values[axis], np.nan)
    problems["records without a line in machine_measurements.csv"] = len(studies) - len(seen)
    return found, lines


def _unmasked(texts: pd.Series, problems: Counter, flags: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Numbers, the codes for "not measured" as NaN, counted and flagged."""
    values = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64, copy=True)
    masked = np.isin(values, SENTINELS)
    problems[f"{texts.name}: code for 'not measured'"] += int(masked.sum())
    flags[rows[masked]] |= bits("sentinel")
    values[masked | ~np.isfinite(values)] = np.nan
    return values
