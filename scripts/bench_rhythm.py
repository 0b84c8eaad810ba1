"""R peaks by `ecgtwin.ecg.rhythm`, by wfdb's XQRS and by openecg (extra `judge`) on the same real
ECGs: agreement, heart rates, time.

python scripts/bench_rhythm.py PTBXL --records 300 --output rhythm.json

No beats were marked by hand in these recordings. What is told is how far the detectors agree, whom the others side with
where they do not, and, on simulated people whose beats are known, how many are missed or invented.
"""

import csv
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.ecg.datasets.ptbxl import read_table
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.simulate import STATES, Person, simulate_truth

TOLERANCE, EDGE = 0.10, 0.3
"""s: how far apart two marks of one beat may be, and what is left out at both ends, where
filters have no past or no future."""
MIDDLE = ("ours, 12 leads", "XQRS, lead II, resampled to 500 Hz", "openecg, lead II")
"""Of these three heart rates the middle one stands in for the truth."""
Detector = Callable[[ECG], np.ndarray]


def xqrs(ecg: ECG) -> np.ndarray:
    from wfdb.processing import XQRS

    detector = XQRS(sig=lead_two(ecg), fs=ecg.rate)
    detector.detect(verbose=False)
    return np.asarray(detector.qrs_inds, float)


def xqrs_faster(ecg: ECG) -> np.ndarray:
    """At 500 Hz, what it is used at most; a recording of 100 Hz is interpolated first."""
    return xqrs(ecg.select(["II"]).resample(500.0)) * ecg.rate / 500.0


def openecg(ecg: ECG) -> np.ndarray:
    from openecg import detect_qrs

    return np.asarray(detect_qrs(lead_two(ecg), int(ecg.rate)), float)


def lead_two(ecg: ECG) -> np.ndarray:
    return ecg.signal[ecg.leads.index("II")].astype(np.float64)


def detectors() -> dict[str, Detector]:
    found: dict[str, Detector] = {
        "ours, 12 leads": lambda ecg: r_peaks(ecg.signal, ecg.rate),
        "ours, lead II": lambda ecg: r_peaks(lead_two(ecg)[None], ecg.rate),
        "XQRS, lead II": xqrs,
        "XQRS, lead II, resampled to 500 Hz": xqrs_faster,
    }
    try:
        import openecg as there  # noqa: F401
    except ImportError:
        return found
    return found | {"openecg, lead II": openecg}


def matched(one: np.ndarray, two: np.ndarray) -> int:
    """Pairs of marks (s, rising) within TOLERANCE, each mark in at most one."""
    i = j = pairs = 0
    while i < len(one) and j < len(two):
        if abs(one[i] - two[j]) <= TOLERANCE:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif one[i] < two[j]:
            i += 1
        else:
            j += 1
    return pairs


def agreement(ones: list[np.ndarray], twos: list[np.ndarray], lengths: list[float]) -> float:
    """F1 of all beats of all records, those near the ends left out unless the other has them."""
    pairs = marks = 0
    for one, two, seconds in zip(ones, twos, lengths, strict=True):
        inner = [x[(x > EDGE) & (x < seconds - EDGE)] for x in (one, two)]
        pairs += matched(inner[0], two) + matched(inner[1], one)
        marks += len(inner[0]) + len(inner[1])
    return pairs / marks if marks else float("nan")


def heart_rate(beats: np.ndarray) -> float:
    """Beats/min by the median RR interval, NaN where there are fewer than three beats."""
    return 60 / float(np.median(np.diff(beats))) if len(beats) > 2 else float("nan")


def compare(ecgs: list[ECG], given: list[float]) -> dict[str, Any]:
    """All detectors on all ECGs. given: beats/min from elsewhere, NaN where there is none."""
    beats: dict[str, list[np.ndarray]] = {}
    report: dict[str, Any] = {"records": len(ecgs), "detectors": {}, "agreement": {}}
    lengths = [ecg.seconds for ecg in ecgs]
    for name, detect in detectors().items():
        detect(ecgs[0])  # imports and filters are made once
        begun = time.process_time()
        beats[name] = [detect(ecg) / ecg.rate for ecg in ecgs]
        report["detectors"][name] = {"milliseconds": round(1000 * (time.process_time() - begun) / len(ecgs), 2)}
    rates = {name: np.array([heart_rate(found) for found in its]) for name, its in beats.items()}
    middle = np.nanmedian(np.stack([rates[name] for name in beats if name in MIDDLE]), axis=0)
    for name, its in rates.items():
        row = report["detectors"][name]
        for label, other in (("the middle of the three", middle), ("the figure of the data", np.array(given))):
            known = ~np.isnan(other)
            error = np.abs(np.nan_to_num(its, nan=np.inf) - other)[known]
            row[f"more than 5/min off {label}"] = int((error > 5).sum())
            row[f"median error to {label}"] = round(float(np.median(error)), 2) if len(error) else None
        row["without a heart rate"] = int(np.isnan(its).sum())
    names = list(beats)
    for k, one in enumerate(names):
        for two in names[k + 1 :]:
            report["agreement"][f"{one} | {two}"] = round(agreement(beats[one], beats[two], lengths), 4)
    return report


def simulated(people: int) -> dict[str, Any]:
    """Beats that are known: how many are missed and invented of each thousand, over all simulated states."""
    report: dict[str, Any] = {}
    truths = [simulate_truth(Person.draw(700 + k), state, seed=k) for k in range(people) for state in STATES]
    for name, detect in detectors().items():
        missed = invented = total = 0
        for truth in truths:
            found = detect(truth.ecg) / truth.ecg.rate
            known = np.asarray(truth.beats) + 0.04  # R peaks come some 40 ms after the onset that is known
            inner = known[(known > EDGE) & (known < truth.ecg.seconds - EDGE)]
            own = found[(found > EDGE) & (found < truth.ecg.seconds - EDGE)]
            total += len(inner)
            missed += len(inner) - matched(inner, found)
            invented += len(own) - matched(own, known)
        report[name] = {"missed": round(1000 * missed / total, 2), "invented": round(1000 * invented / total, 2)}
    return {"records": len(truths), "beats": total, "of 1000 beats": report}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Argument(help="PTB-XL, whole or in part")],
    records: Annotated[int, typer.Option(help="ECGs of each rate, evenly spread", min=2)] = 300,
    people: Annotated[int, typer.Option(help="simulated people, each in every state; 0: none", min=0)] = 5,
    output: Output = None,
    as_json: Json = False,
) -> None:
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    table = read_table(folder)
    known: dict[int, float] = {}
    if (folder / "provenance.csv").is_file():
        with (folder / "provenance.csv").open(encoding="utf-8") as file:
            known = {int(row["ecg_id"]): float(row["heart_rate_bpm"] or "nan") for row in csv.DictReader(file)}
    report: dict[str, Any] = {}
    for rate, column in ((500, "high"), (100, "low")):
        there = [(i, path) for i, name in table[column].items() if name and (path := folder / f"{name}.hea").is_file()]
        chosen = [there[k] for k in np.unique(np.linspace(0, len(there) - 1, min(records, len(there))).astype(int))]
        if chosen:
            ecgs, given = [ECG.read(path) for _, path in chosen], [known.get(i, float("nan")) for i, _ in chosen]
            report[f"{rate} Hz"] = compare(ecgs, given)
    if people:
        report["simulated, 500 Hz"] = simulated(people)
    tell(report, told(report), as_json, output)


def told(report: dict[str, Any]) -> str:
    """The figures as tables of Markdown."""
    lines = []
    for part, figures in report.items():
        lines += ["", f"**{part}**, {figures['records']} ECGs", ""]
        rows = figures.get("detectors") or figures["of 1000 beats"]
        heads = list(next(iter(rows.values())))
        lines += ["| | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(heads)]
        lines += [f"| {name} | " + " | ".join(str(row[head]) for head in heads) + " |" for name, row in rows.items()]
        lines += ["", *(f"- agreement (F1) {pair}: {value}" for pair, value in figures.get("agreement", {}).items())]
    return "\n".join(lines)


if __name__ == "__main__":
    app()
