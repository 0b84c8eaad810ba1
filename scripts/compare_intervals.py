"""Measurements beside openecg's report on real recordings, and P waves and regularity by the rhythm that was reported:

    python scripts/compare_intervals.py PTBXL_FOLDER [--records 200]

openecg (Apache-2.0, extra `judge`) reads lead II alone, at 500 Hz. The tables are those of docs/measurements.md.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import openecg
import typer

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


def line(name: str, a: list, b: list) -> str:
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    d = np.array([x - y for x, y in both])
    first, second = (sum(x is None for x in column) for column in (a, b))
    return (
        f"| {name} | {len(d)} | {np.median(d):+.1f} | {np.median(np.abs(d)):.1f} | {np.quantile(np.abs(d), 0.9):.1f} "
        f"| {np.corrcoef(np.array(both).T)[0, 1]:.2f} | {first} | {second} |"
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Argument(help="PTB-XL")],
    records: Annotated[int, typer.Option(help="compared with openecg's intervals", min=1)] = 200,
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
    head = (
        "| | n | median difference | median absolute difference | 90 % below | correlation | not "
        "measurable | nor by the other |"
    )
    print(f"Ours less openecg's, {len(fine)} recordings:\n\n{head}\n|---|" + "---:|" * 7)
    for name, unit in PAIRS.items():
        print(line(f"{name} ({unit})", [getattr(m, name) for m in fine], [r[name] for r in reports]))
    print(f"\nOurs at 102.4 Hz less ours at 500 Hz:\n\n{head}\n|---|" + "---:|" * 7)
    for name, unit in {**PAIRS, "qrs_axis": "degrees"}.items():
        print(line(f"{name} ({unit})", [getattr(m, name) for m in coarse], [getattr(m, name) for m in fine]))
    print(
        "\n| reported rhythm | n | P wave found | no P wave | cannot be told | irregular | regular with odd "
        "beats |\n|---|" + "---:|" * 6
    )
    for name, found in rhythm.items():
        p = [m.p_present for m in found]
        order = [m.regularity for m in found]
        counts = (
            p.count(True),
            p.count(False),
            p.count(None),
            order.count("irregular"),
            order.count("regular with odd beats"),
        )
        print(f"| {RHYTHMS[name]} | {len(found)} | " + " | ".join(str(k) for k in counts) + " |")


if __name__ == "__main__":
    app()
