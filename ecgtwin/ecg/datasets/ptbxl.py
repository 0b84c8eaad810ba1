"""PTB-XL in its native layout (Wagner et al., Scientific Data 7:154, 2020; doi:10.13026/kfzx-aw45)."""

import math
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from ..files.fields import OVER_89, SEXES, age_of, clean_text, number, sex_of
from ..quality import bits
from .source import Source, Statements, find, read_csv
from .wfdb_folder import read_record

__all__ = ["OVER_89", "read_codes", "read_table", "scan"]

NEEDED = (
    "ecg_id",
    "patient_id",
    "age",
    "sex",
    "recording_date",
    "report",
    "scp_codes",
    "strat_fold",
    "filename_lr",
    "filename_hr",
)
SEX_CODES = {"0": "male", "0.0": "male", "1": "female", "1.0": "female"}
NOISE = ("baseline_drift", "static_noise", "burst_noise", "electrodes_problems")
CODE = re.compile(r"""\s*(?:'([^'"{}]+)'|"([^'"{}]+)")\s*:\s*(\d+(?:\.\d*)?)\s*""")


def read_codes(text: str) -> dict[str, float]:
    """SCP codes -> likelihood in percent, from a Python dict as text; 0.0 means present,
    ungraded. ValueError otherwise."""
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        raise ValueError(f"scp_codes {text[:60]!r}: expected a dict such as {{'SR': 0.0}}")
    parts = [part for part in body[1:-1].split(",") if part.strip()]
    found = [CODE.fullmatch(part) for part in parts]
    if None in found:
        raise ValueError(f"scp_codes {text[:60]!r}: expected a dict such as {{'SR': 0.0}}")
    return {(m[1] or m[2]).strip(): float(m[3]) for m in found}


def read_table(folder: str | Path) -> pd.DataFrame:
    """`ptbxl_database.csv` in clean types, indexed by ecg_id.

    Columns: patient (text), sex ("female" | "male" | None; PTB-XL writes 1 and 0), age (years or NaN; over 89, written
    300 or 90, as 90), over_89, codes (dict of SCP code to likelihood; 0.0 means present, ungraded), report (free text),
    broken (the text lost characters), fold (1-10, 0 where it cannot be read), time, low and high (record paths without
    ending, at 100 and 500 Hz), pacemaker, noise. What could not be read is counted in `table.attrs["problems"]`.
    """
    path = Path(folder) / "ptbxl_database.csv"
    if not path.is_file():
        raise FileNotFoundError(f"no ptbxl_database.csv in {folder}: give the folder that PTB-XL was unpacked to")
    raw = read_csv(path, NEEDED)
    problems: Counter[str] = Counter()
    ids = [number(i) for i in raw["ecg_id"]]
    keep = [not math.isnan(i) and i == int(i) for i in ids]
    problems["rows without a number in ecg_id"] = keep.count(False)
    raw = raw[keep].assign(ecg_id=[int(i) for i, good in zip(ids, keep, strict=True) if good])
    again = raw["ecg_id"].duplicated()
    problems["rows whose ecg_id came before"] = int(again.sum())
    raw = raw[~again].set_index("ecg_id")
    ages = [age_of(text) for text in raw["age"]]
    reports = [clean_text(text) for text in raw["report"]]
    patients = [_patient(text, i) for i, text in raw["patient_id"].items()]
    folds = [int(f) if (f := number(text)) in range(1, 11) else 0 for text in raw["strat_fold"]]
    codes, unread = [], 0
    for text in raw["scp_codes"]:
        try:
            codes.append(read_codes(text))
        except ValueError:
            codes.append({})
            unread += 1
    problems["patient_id that cannot be read"] = sum(p.startswith("ptbxl_record_") for p in patients)
    problems["age over 89 (300 or 90)"] = sum(over for _, over, _ in ages)
    problems["implausible age"] = sum(odd for _, _, odd in ages)
    problems["age not given"] = sum(math.isnan(age) and not odd for age, _, odd in ages)
    problems["scp_codes that cannot be read"] = unread
    problems["strat_fold that cannot be read"] = folds.count(0)
    problems["blank report"] = sum(not text for text, _ in reports)
    problems["report with lost characters"] = sum(broken for _, broken in reports)
    problems["report with capital umlauts inside words, repaired"] = sum(
        bool(re.search(r"[a-z][ÄÖÜÅ]|[ÄÖÜÅ][a-z]", text)) for text in raw["report"]
    )
    sexes = [sex_of(text, SEX_CODES) for text in raw["sex"]]
    problems["sex not given"] = sexes.count(None)
    noted = {name: (raw[name].str.strip() != "") if name in raw else False for name in (*NOISE, "pacemaker")}
    table = pd.DataFrame(
        {
            "patient": patients,
            "sex": pd.Series(sexes, index=raw.index, dtype=object),
            "age": [age for age, _, _ in ages],
            "over_89": [over for _, over, _ in ages],
            "codes": codes,
            "report": [text for text, _ in reports],
            "broken": [broken for _, broken in reports],
            "fold": folds,
            "time": pd.to_datetime(raw["recording_date"], errors="coerce"),
            "low": [_stem(name) for name in raw["filename_lr"]],
            "high": [_stem(name) for name in raw["filename_hr"]],
            "pacemaker": noted["pacemaker"],
            "noise": sum(
                (pd.Series(noted[name], index=raw.index) for name in NOISE), start=pd.Series(False, index=raw.index)
            )
            > 0,
        },
        index=raw.index,
    )
    table.attrs["problems"] = {what: int(count) for what, count in problems.items() if count}
    return table


def _patient(text: str, row: int) -> str:
    value = number(text)  # written as a float: "15709.0"
    return f"ptbxl_record_{row}" if math.isnan(value) or value < 0 else f"ptbxl_{int(value)}"


def _stem(name: str) -> str:
    """A record's path; one that would leave the folder is taken as absent."""
    name = name.strip().removesuffix(".hea").removesuffix(".dat")
    return "" if name.startswith("/") or ".." in name.split("/") else name


def scan(folder: str | Path, statements: Statements | None = None, *, frequency: int | None = None) -> Source:
    """PTB-XL, whole or in part, as a source.

    folder: where `ptbxl_database.csv` is, or any folder above. frequency: 100 or 500 Hz files, None for 100 where there
    are both. Where a record has only the other file, that is taken and counted. statements reads one SCP code.
    """
    if frequency not in (None, 100, 500):
        raise ValueError(f"frequency {frequency}: PTB-XL has 100 and 500 Hz")
    path = find(folder, ["ptbxl_database.csv"])
    if path is None:
        raise FileNotFoundError(
            f"no ptbxl_database.csv in {folder} or below: give the folder that PTB-XL was unpacked to"
        )
    root, table = path.parent, read_table(path.parent)
    problems = Counter(table.attrs["problems"])
    first, second = ("high", "low") if frequency == 500 else ("low", "high")
    names, other = [], 0
    for wanted, instead in zip(table[first], table[second], strict=True):
        found = next((name for name in (wanted, instead) if name and _there(root, name)), "")
        other += found != wanted and found != ""
        names.append(found)
    problems["records that are listed but not here"] = names.count("")
    problems[f"records with a file at {100 if first == 'high' else 500} Hz only"] = other
    table = table.assign(name=names)[[name != "" for name in names]]
    flags = [
        bits(
            *(
                flag
                for flag, on in zip(("age_over_89", "broken_text", "pacemaker", "noise_noted"), row, strict=True)
                if on
            )
        )
        | (bits("patient_unknown") if patient.startswith("ptbxl_record_") else 0)
        for patient, *row in zip(
            table["patient"], table["over_89"], table["broken"], table["pacemaker"], table["noise"], strict=True
        )
    ]
    columns = {
        **{key: table[key].to_numpy() for key in ("name", "patient", "time", "age", "report", "fold")},
        "sex": [SEXES.index(sex) for sex in table["sex"]],
        "codes": ["|".join(f"{code}:{likelihood:g}" for code, likelihood in codes.items()) for codes in table["codes"]],
        "flags": flags,
    }
    codes = [list(codes) for codes in table["codes"]]
    return Source.of("ptbxl", root, columns, _read, codes=codes, statements=statements, problems=problems)


def _there(root: Path, name: str) -> bool:
    return (root / f"{name}.hea").is_file() and (root / f"{name}.dat").is_file()


def _read(folder: Path, name: str):
    return read_record(folder / name)
