"""Constructed states beside real ECGs of those states, lead by lead: python scripts/calibrate_states.py PTBXL_FOLDER

Normal recordings of the training folds (1 to 8) are fitted and constructed in each state; the real side are the
recordings of these folds with the state's code. Both go through one ruler: the median beat of
`ecgtwin.ecg.simulate.read` and its ends of waves. Printed are medians and quartiles, real | constructed, amplitudes
in mV from the level at the QRS onset; --rhythm prints the same of RR intervals.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
import wfdb

from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.ecg.datasets.ptbxl import read_table
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.median_beat import RATE
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.simulate import Fitted, construct, fit
from ecgtwin.ecg.simulate.read import read_beat

MORPHOLOGY = {
    "sinus rhythm": ("NORM",),
    "complete left bundle branch block": ("CLBBB",),
    "complete right bundle branch block": ("CRBBB",),
    "left anterior fascicular block": ("LAFB",),
    "left ventricular hypertrophy": ("LVH",),
    "inferior myocardial infarction": ("IMI",),
    "anterior myocardial infarction": ("AMI",),
    "anteroseptal myocardial infarction": ("ASMI",),
    "lateral myocardial infarction": ("LMI", "ALMI", "ILMI"),
    "normal functioning artificial pacemaker": ("PACE",),
    "long QT-interval": ("LNGQT",),
    "first degree AV block": ("1AVB",),
    "low QRS voltages in the frontal and horizontal leads": ("LVOLT",),
    "non-specific ST depression": ("STD_",),
    "inverted T-waves": ("INVT",),
    "Wolf-Parkinson-White syndrome": ("WPW",),
    "atrial fibrillation": ("AFIB",),
}
"""States by the codes of their real recordings."""
ROUTES = {"CLBBB", "CRBBB", "LAFB", "LPFB", "PACE", "WPW", "IVCD", "ILBBB", "IRBBB"}
REBUILT = {
    "LVH",
    "RVH",
    "IMI",
    "ASMI",
    "AMI",
    "LMI",
    "ALMI",
    "ILMI",
    "IPMI",
    "IPLMI",
    "PMI",
    "INJAS",
    "INJAL",
    "INJIN",
    "INJLA",
    "INJIL",
}
RHYTHM = {
    "sinus rhythm": "NORM",
    "sinus bradycardia": "SBRAD",
    "sinus tachycardia": "STACH",
    "atrial fibrillation": "AFIB",
    "atrial flutter": "AFLT",
    "normal functioning artificial pacemaker": "PACE",
    "ventricular premature complex": "PVC",
    "atrial premature complex": "PAC",
}


def read(path: Path) -> np.ndarray:
    """The eight leads (8, samples) in mV of a recording at 100 Hz."""
    record = wfdb.rdrecord(str(path))
    names = [name.upper() for name in record.sig_name]
    return record.p_signal[:, [names.index(lead.upper()) for lead in INDEPENDENT]].T.astype(np.float32)


def ruler(signal: np.ndarray, rate: float, atria: bool) -> dict[str, float] | None:
    """Amplitudes in mV, durations in ms and the frontal axis in degrees of the median beat; None where
    it has no ends to be found."""
    try:
        found = read_beat(signal, rate, atria)
    except ValueError:
        return None
    beat, ends = found.beat, found.ends
    level = beat - beat[:, ends.on - 8 : ends.on - 2].mean(1, keepdims=True)
    last = min(int(ends.t_end) + 10, beat.shape[1])
    qrs, late, area = level[:, ends.on : ends.off], level[:, ends.off + 30 : last], level[:, ends.on : ends.off].sum(1)
    out = {"QRS": 1000 * len(qrs[0]) / RATE, "QTc": 1000 * (ends.t_end - ends.on) / RATE / found.rr ** (1 / 3)}
    if atria:
        out["PR"] = 1000 * (ends.on - ends.p_on) / RATE
        out["P II"] = float(np.ptp(level[1, int(ends.p_on) : ends.on]))
    out["axis"] = float(np.degrees(np.arctan2(2 / np.sqrt(3) * (area[1] - area[0] / 2), area[0])))
    for row, lead in enumerate(INDEPENDENT):
        out["R " + lead], out["S " + lead] = float(qrs[row].max()), float(-qrs[row].min())
        out["T " + lead] = float(late[row][np.argmax(np.abs(late[row]))])
        out["ST " + lead] = float(level[row, min(ends.off + 20, last)])
    out["S V1 + R V5"] = out["S V1"] + out["R V5"]
    out["area V1"] = float(qrs[2].sum() * 1000 / RATE)
    out["limb"] = float(max(np.ptp(x) for x in (qrs[0], qrs[1], qrs[1] - qrs[0])))
    return out


def people(table: pd.DataFrame, folder: Path, n: int) -> list[Fitted]:
    """Fitted people of normal recordings, spread over the table."""
    normal = table[table.codes.map(lambda codes: codes.get("NORM", 0) >= 80) & table.sex.notna()]
    out = []
    for _, row in normal.iloc[:: max(1, len(normal) // n)].iterrows():
        try:
            out.append(fit(read(folder / row.low), 100, sex=row.sex, age=None if np.isnan(row.age) else row.age))
        except ValueError:
            continue
    return out


def pure(name: str, codes: tuple[str, ...], table: pd.DataFrame) -> pd.DataFrame:
    """Recordings that have one of the codes and no other that reshapes QRS, in sinus rhythm where the state is."""
    others = (ROUTES | REBUILT | {"AFIB", "AFLT", "PACE", "PVC", "BIGU"}) - set(codes)
    if codes == ("NORM",):
        return table[table.codes.map(lambda c: c.get("NORM", 0) >= 80)]
    if codes == ("PACE",):
        others = set()
    elif codes == ("CRBBB",):  # there are few alone
        others = {"CLBBB", "PACE", "AFIB", "AFLT", "ASMI", "LAFB"}
    return table[table.codes.map(lambda c: any(code in c for code in codes) and not others & set(c))]


def three(values: list[float]) -> list[float]:
    values = [v for v in values if np.isfinite(v)]
    return [round(float(q), 3) for q in np.percentile(values, [50, 25, 75])] if values else [float("nan")] * 3


def morphology(table: pd.DataFrame, folder: Path, found: list[Fitted], names: list[str], most: int) -> dict:
    result = {}
    for name in names:
        rows = pure(name, MORPHOLOGY[name], table)
        rows = rows.iloc[:: max(1, len(rows) // most)]
        atria = name not in ("atrial fibrillation", "normal functioning artificial pacemaker")
        real = [r for path in rows.low if (r := ruler(read(folder / path), 100, atria))]
        if (
            name == "normal functioning artificial pacemaker"
        ):  # of the ventricle: many are paced in the atrium, or not in that strip
            real = [r for r in real if r["QRS"] > 140]
        made = [
            r for n, one in enumerate(found) if (r := ruler(construct(one, name, seed=n, rate=100).signal, 100, atria))
        ]
        keys = [k for k in (real or made)[0]]
        result[name] = {"n": (len(real), len(made))} | {
            k: (three([r[k] for r in real]), three([r[k] for r in made])) for k in keys
        }
    return result


def rhythm(table: pd.DataFrame, folder: Path, found: list[Fitted], most: int) -> dict:
    result = {}
    for name, code in RHYTHM.items():
        rows = table[table.codes.map(lambda c, code=code: c.get("NORM", 0) >= 80 if code == "NORM" else code in c)]
        rows = rows.iloc[:: max(1, len(rows) // most)]
        real = [intervals(r_peaks(read(folder / path), 100) / 100) for path in rows.low]
        made = [intervals(construct(one, name, seed=n).peaks) for n, one in enumerate(found)]
        real, made = [r for r in real if r], [m for m in made if m]
        result[name] = {"n": (len(real), len(made))} | {
            k: (three([r[k] for r in real]), three([m[k] for m in made])) for k in made[0]
        }
    return result


def intervals(peaks: np.ndarray) -> dict[str, float] | None:
    """Heart rate, and of the RR intervals: coefficient of variation, smallest and largest by the
    median, step to step variation."""
    rr = np.diff(peaks)
    if len(rr) < 4:
        return None
    usual = np.median(rr)
    return {
        "heart rate": 60 / rr.mean(),
        "RR std / mean": rr.std() / rr.mean(),
        "shortest": rr.min() / usual,
        "longest": rr.max() / usual,
        "RMSSD / mean": np.sqrt(np.mean(np.diff(rr) ** 2)) / rr.mean(),
    }


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Argument(help="PTB-XL")],
    number: Annotated[int, typer.Option("--people", help="real people who are shown in other states", min=1)] = 100,
    most: Annotated[int, typer.Option(help="real recordings of a state", min=1)] = 150,
    state: Annotated[list[str], typer.Option(help="these states alone; repeat")] = [],  # noqa: B006 typer reads it
    beats: Annotated[bool, typer.Option("--rhythm", help="RR intervals instead of waves")] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    if unknown := [name for name in state if name not in MORPHOLOGY]:
        raise typer.BadParameter(f"state {', '.join(unknown)}: expected of {', '.join(MORPHOLOGY)}")
    table = read_table(folder)
    table = table[table.fold.between(1, 8)]
    found = people(table, folder, number)
    if beats:
        result = rhythm(table, folder, found, most)
    else:
        result = morphology(table, folder, found, state or list(MORPHOLOGY), most)
    lines = []
    for name, rows in result.items():
        lines.append(f"\n{name}: {rows['n'][0]} real, {rows['n'][1]} constructed")
        for key, value in rows.items():
            if key != "n":
                (a, b, c), (d, e, f) = value
                lines.append(f"  {key:14} {a:8.3f} [{b:.3f}, {c:.3f}] | {d:8.3f} [{e:.3f}, {f:.3f}]")
    tell(result, "\n".join(lines), as_json, output)


if __name__ == "__main__":
    app()
