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
from ecgtwin.ecg.simulate import Person, simulate_truth

PAIRS = {"heart_rate": "/min", "p": "ms", "pr": "ms", "qrs": "ms", "qt": "ms"}
RHYTHMS = {
    "SR": "sinus rhythm",
    "SARRH": "sinus arrhythmia",
    "AFIB": "atrial fibrillation",
    "AFLT": "atrial flutter",
    "PACE": "paced",
}
STATED = {
    "broad QRS: bundle branch block, paced": ("qrs", ("CLBBB", "CRBBB", "PACE")),
    "a little broad: incomplete block, delay": ("qrs", ("IRBBB", "ILBBB", "IVCD")),
    "first degree AV block": ("pr", ("1AVB",)),
    "long QT": ("qtc", ("LNGQT",)),
}
"""What readers stated: the quantity that shows it, and the codes."""
EXACT = (
    "sinus rhythm",
    "complete left bundle branch block",
    "complete right bundle branch block",
    "first degree AV block",
    "long QT-interval",
)


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


def read_as_stated(codes: list[dict], ours: list[dict], others: list[dict]) -> dict[str, dict[str, float | int]]:
    """Whether a quantity tells those of whom readers stated a change from normal ECGs: medians, area under the ROC."""
    normal, out = np.array([c.get("NORM", 0) >= 80 for c in codes]), {}
    for name, (what, wanted) in STATED.items():
        yes = np.array([bool(set(wanted) & set(c)) for c in codes])
        row: dict[str, float | int] = {"n": int(yes.sum())}
        for who, rows in (("ours", ours), ("openecg", others)):
            values = np.array([np.nan if row[what] is None else row[what] for row in rows], float)
            a, b = (values[mask & np.isfinite(values)] for mask in (yes, normal))
            if len(a) and len(b):
                area = float((a[:, None] > b).mean() + 0.5 * (a[:, None] == b).mean())
                row |= {
                    f"{who}, stated": float(np.median(a)),
                    f"{who}, normal": float(np.median(b)),
                    f"{who}, AUC": area,
                }
        if len(row) == 7:
            out[f"{name} ({what})"] = row
    return out


def beside_truth(people: int) -> dict[str, dict[str, float]]:
    """Both against the simulator's exact values: median difference in ms and correlation over people of each state."""
    out = {}
    for name in EXACT:
        truths = [simulate_truth(Person.draw(900 + seed), name, seed=seed) for seed in range(people)]
        read = [(truth.ecg.measured(), theirs(truth.ecg)) for truth in truths]
        for what in ("pr", "qrs", "qt"):
            row = {}
            for who, side in (("ours", [getattr(m, what) for m, _ in read]), ("openecg", [r[what] for _, r in read])):
                both = [(x, getattr(t, what + "_ms")) for x, t in zip(side, truths, strict=True) if x is not None]
                a, b = np.array(both).T
                row |= {f"{who}, difference": float(np.median(a - b)), f"{who}, r": float(np.corrcoef(a, b)[0, 1])}
            out[f"{name}, {what}"] = row
    return out


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Argument(help="PTB-XL")],
    records: Annotated[int, typer.Option(help="compared with openecg's intervals", min=1)] = 200,
    people: Annotated[int, typer.Option(help="simulated in each state", min=3)] = 25,
    output: Output = None,
    as_json: Json = False,
) -> None:
    table = read_table(folder)
    there = [(folder / row.high).with_suffix(".hea").exists() for _, row in table.iterrows()]
    table = table[there]
    wanted = {code for _, codes in STATED.values() for code in codes}
    drawn = set(table.sample(min(records, len(table)), random_state=0).index)
    fine: list[Measurements] = []
    coarse: list[Measurements] = []
    reports: list[dict] = []
    codes: list[dict] = []
    at_random: list[bool] = []
    rhythm: dict[str, list[Measurements]] = {name: [] for name in RHYTHMS}
    for index, row in table.iterrows():
        ecg = ECG.read(folder / row.high).crop(0, 9.88)  # the last samples of PTB-XL's 500 Hz files are constant
        found = ecg.measured()
        for name in set(row.codes) & set(RHYTHMS):
            rhythm[name].append(found)
        if index in drawn or wanted & set(row.codes):
            fine.append(found)
            coarse.append(ecg.resample(102.4).measured())
            reports.append(theirs(ecg))
            codes.append(row.codes)
            at_random.append(index in drawn)
    cube = [np.cbrt(60 / m.heart_rate) if m.heart_rate else np.nan for m in fine]
    ours = [{"qrs": m.qrs, "pr": m.pr, "qtc": m.qtc_fridericia} for m in fine]
    others = [r | {"qtc": r["qt"] and r["qt"] / c} for r, c in zip(reports, cube, strict=True)]
    as_stated = read_as_stated(codes, ours, others)
    widths = {"below 110 ms": lambda qrs: qrs < 110, "from 110 ms on": lambda qrs: qrs >= 110}
    by_width = {
        f"qrs, ours {name} (ms)": difference(
            *zip(*((m.qrs, r["qrs"]) for m, r in zip(fine, reports, strict=True) if m.qrs and fits(m.qrs)), strict=True)
        )
        for name, fits in widths.items()
    }
    fine, coarse, reports = ([x for x, yes in zip(xs, at_random, strict=True) if yes] for xs in (fine, coarse, reports))
    units = {**PAIRS, "qrs_axis": "degrees"}
    compared_with = {
        f"Ours less openecg's, {len(fine)} recordings": {
            f"{name} ({unit})": difference([getattr(m, name) for m in fine], [r[name] for r in reports])
            for name, unit in PAIRS.items()
        },
        "The same by width of QRS, with all of whom readers stated a change": by_width,
        "As readers stated, against normal ECGs (ms)": as_stated,
        f"Against the simulator, {people} people each (ms)": beside_truth(people),
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
