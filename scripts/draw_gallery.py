"""Twelve twins of six real people, drawn on ECG paper: python scripts/draw_gallery.py MODEL
PTBXL_FOLDER --output FOLDER"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from ecgtwin import ECG, Condition, ECGTwin
from ecgtwin.cli.options import Json, OtherTwins, tell

SHEETS = [
    ("normal", "sinus rhythm|normal ECG", "sinus rhythm|normal ECG", None),
    ("normal", "sinus rhythm|normal ECG", "atrial fibrillation", 110),
    ("normal", "sinus rhythm|normal ECG", "sinus rhythm|complete left bundle branch block", 70),
    ("normal man", "sinus rhythm|normal ECG", "sinus rhythm|complete right bundle branch block", 70),
    ("normal man", "sinus rhythm|normal ECG", "sinus tachycardia", 125),
    ("normal man", "sinus rhythm|normal ECG", "paced rhythm", 70),
    ("infarction", "sinus rhythm|inferior myocardial infarction", "sinus rhythm|normal ECG", 70),
    ("infarction", "sinus rhythm|inferior myocardial infarction", "sinus rhythm|left ventricular hypertrophy", 70),
    ("fibrillation", "atrial fibrillation", "sinus rhythm|normal ECG", 70),
    ("left bundle", "sinus rhythm|complete left bundle branch block", "sinus rhythm|normal ECG", 70),
    (
        "left bundle",
        "sinus rhythm|complete left bundle branch block",
        "atrial fibrillation|complete left bundle branch block",
        100,
    ),
    ("hypertrophy", "sinus rhythm|left ventricular hypertrophy", "sinus rhythm|first degree AV block", 65),
]
"""Who, in which state they were recorded, what is asked for, beats/min (None: as recorded)."""
CODES = {
    "normal": ({"NORM", "SR"}, 1), "normal man": ({"NORM", "SR"}, 0), "infarction": ({"IMI", "SR"}, None),
    "fibrillation": ({"AFIB"}, None), "left bundle": ({"CLBBB", "SR"}, None), "hypertrophy": ({"LVH", "SR"}, None),
}  # fmt: skip
"""Who -> SCP codes that the recording has, and sex as PTB-XL codes it (0 male, 1 female; None either)."""


def people(folder: Path) -> dict[str, pd.Series]:
    """The first recording of fold 9 with each set of codes, each of another patient; normal ones with nothing else."""
    table = pd.read_csv(folder / "ptbxl_database.csv", index_col="ecg_id")
    table = table[table.strat_fold == 9].sort_index()
    found: dict[str, pd.Series] = {}
    for who, (codes, sex) in CODES.items():
        for _, row in table.iterrows():
            own = {word.split("'")[1] for word in row.scp_codes.split(",")}
            fits = own == codes if "NORM" in codes else codes <= own and not own & {"PACE", "WPW"}
            taken = {r.patient_id for r in found.values()}
            if (
                fits
                and sex in (None, row.sex)
                and row.patient_id not in taken
                and (folder / f"{row.filename_lr}.hea").is_file()
            ):
                found[who] = row
                break
    return found


SHOWN = ("heart_rate", "pr", "qrs", "qtc_fridericia")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: Annotated[str, typer.Argument(help='a model folder, or "default"')],
    folder: Annotated[Path, typer.Argument(help="PTB-XL's folder")],
    output: Annotated[Path, typer.Option(help="folder for the sheets")],
    seed: OtherTwins = 0,
    as_json: Json = False,
) -> None:
    twin = ECGTwin.from_pretrained(None if model == "default" else model)
    chosen, sheets = people(folder), []
    for number, (who, was, now, heart_rate) in enumerate(SHEETS, 1):
        row = chosen[who]
        reference = ECG.read(folder / f"{row.filename_lr}.hea")
        sex, age = ("male", "female")[int(row.sex)], min(float(row.age), 90.0)
        before = Condition(was, sex, age)
        made = twin.generate(reference, Condition(now, sex, age, heart_rate), reference_condition=before, seed=seed)[0]
        path = output / f"gallery_{number:02d}.png"
        made.plot(path, reference=reference, title=f"{was.replace('|', ', ')}  ->  {now.replace('|', ', ')}")
        measured = made.measure()
        table = {q: v for q, lead, v in zip(measured.quantity, measured.lead, measured.value, strict=True) if not lead}
        found = {name: table[name] for name in SHOWN if table.get(name) is not None}
        sheets.append({"file": path.name, "record": row.filename_lr, "sex": sex, "age": age, **found})
    lines = [", ".join(f"{k} {v:.0f}" if isinstance(v, float) else f"{k} {v}" for k, v in s.items()) for s in sheets]
    tell(sheets, "\n".join(lines), as_json)


if __name__ == "__main__":
    app()
