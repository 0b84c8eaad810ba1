"""PTB-XL in its native layout (Wagner et al., Scientific Data 7:154, 2020; doi:10.13026/kfzx-aw45)."""

import ast
from pathlib import Path

import pandas as pd

OVER_89 = 90.0
"""PTB-XL writes the age of everybody over 89 as 300 (or 90): it is known to be at least this."""


def read_table(folder: str | Path) -> pd.DataFrame:
    """`ptbxl_database.csv` in clean types, indexed by ecg_id.

    Columns: patient (text), sex ("female" | "male" | None), age (years or NaN; over 89 as 90), codes (dict of SCP code
    to likelihood; 0.0 means present, ungraded), report (free text as written), fold (1-10), time, low and high (record
    paths without ending, at 100 and 500 Hz).
    """
    path = Path(folder) / "ptbxl_database.csv"
    if not path.is_file():
        raise FileNotFoundError(f"no ptbxl_database.csv in {folder}: give the folder that PTB-XL was unpacked to")
    raw = pd.read_csv(path, index_col="ecg_id")
    age = pd.to_numeric(raw["age"], errors="coerce")
    return pd.DataFrame(
        {
            "patient": ["ptbxl_" + str(int(float(p))) for p in raw["patient_id"]],
            "sex": [{0: "male", 1: "female"}.get(s) for s in raw["sex"]],
            "age": age.where(age < 90, OVER_89).where(age.notna()),
            "codes": [ast.literal_eval(codes) for codes in raw["scp_codes"]],
            "report": raw["report"].fillna(""),
            "fold": raw["strat_fold"].astype(int),
            "time": pd.to_datetime(raw["recording_date"]),
            "low": raw["filename_lr"],
            "high": raw["filename_hr"],
        },
        index=raw.index,
    )
