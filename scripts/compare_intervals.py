"""Measurements beside openecg's report on real recordings, and P waves and regularity by the rhythm that was reported:

    python scripts/compare_intervals.py PTBXL_FOLDER [--records 200] [--json] [--output FILE]

openecg (Apache-2.0, extra `judge`) reads lead II alone, at 500 Hz. The tables are those of docs/measurements.md.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import openecg
import typer

from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.ecg.datasets.ptbxl import read_table
from ecgtwin.ecg.intervals import Measurements
from ecgtwin.ecg.record import ECG

PAIRS = {"heart_rate": "/min", "p": "ms", "pr": "ms", "qrs": "ms", "qt": "ms"}
RHYTHMS = {
    "SR": "sinus rhythm",
    "SARRH": "sinus arrhythmia",
    "AFIB": "atrial fibrillation",
    "AFLT": "atrial flutter",
    "PACE": "paced",
}


def theirs(ecg: ECG) -> dict[str, float | None]:
    report = openecg.report(ecg.signal[ecg.leads.index("II")], fs=500)
    intervals = report.intervals_ms
    return {
        "heart_rate": report.heart_rate.get("bpm"),
        **{
            name: intervals.get(key)
            for name, key in {"p": "p_duration", "pr": "pr", "qrs": "qrs_duration", "qt": "qt"}.items()
        },
    }


def difference(a: list, b: list) -> dict[str, float]:
    """Of the first less the second, where both could be measured."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    d = np.array([x - y for x, y in both])
    return {
        "n": len(d),
        "median difference": float(np.median(d)),
        "median absolute difference": float(np.median(np.abs(d))),
        "90 % below": float(np.quantile(np.abs(d), 0.9)),
        "correlation": float(np.corrcoef(np.array(both).T)[0, 1]),
        "not measurable": sum(x is None for x in a),
        "nor by the other": sum(x is None for x in b),
    }


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Argument(help="PTB-XL")],
    records: Annotated[int, typer.Option(help="compared with openecg's intervals", min=1)] = 200,
    output: Output = None,
    as_json: Json = False,
) -> None:
    table = read_table(folder)
    there = [(folder / row.high).with_suffix(".hea").exists() for _, row in table.iterrows()]
    table = table[there]
    compared = set(table.sample(min(records, len(table)), random_state=0).index)
    fine: list[Measurements] = []
    coarse: list[Measurements] = []
    reports: list[dict] = []
    rhythm: dict[str, list[Measurements]] = {name: [] for name in RHYTHMS}
    for index, row in table.iterrows():
        ecg = ECG.read(folder / row.high).crop(0, 9.88)  # the last samples of PTB-XL's 500 Hz files are constant
        found = ecg.measured()
        for name in set(row.codes) & set(RHYTHMS):
            rhythm[name].append(found)
        if index in compared:
            fine.append(found)
            coarse.append(ecg.resample(102.4).measured())
            reports.append(theirs(ecg))
    units = {**PAIRS, "qrs_axis": "degrees"}
    compared_with = {
        f"Ours less openecg's, {len(fine)} recordings": {
            f"{name} ({unit})": difference([getattr(m, name) for m in fine], [r[name] for r in reports])
            for name, unit in PAIRS.items()
        },
        "Ours at 102.4 Hz less ours at 500 Hz": {
            f"{name} ({unit})": difference([getattr(m, name) for m in coarse], [getattr(m, name) for m in fine])
            for name, unit in units.items()
        },
    }
    found = {**compared_with, "By reported rhythm": {RHYTHMS[name]: counted(m) for name, m in rhythm.items()}}
    tell(found, "\n\n".join(f"{name}:\n\n{table_of(rows)}" for name, rows in found.items()), as_json, output)


def counted(found: list[Measurements]) -> dict[str, int]:
    """How many recordings have a P wave, and how regular they are."""
    p, order = [m.p_present for m in found], [m.regularity for m in found]
    return {
        "n": len(found),
        "P wave found": p.count(True),
        "no P wave": p.count(False),
        "cannot be told": p.count(None),
        "irregular": order.count("irregular"),
        "regular with odd beats": order.count("regular with odd beats"),
    }


def table_of(rows: dict[str, dict[str, float]]) -> str:
    """Markdown."""
    names = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for name, row in rows.items():
        cells = [f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    app()
