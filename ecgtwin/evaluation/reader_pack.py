"""Can readers tell synthetic ECGs from real ones? Sheets in random order without any mark, a form, a key
kept apart, and the score."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import binomtest

from ..atomic import write_files
from ..ecg.leads import INDEPENDENT
from ..ecg.plot import FOOT, HEAD, INK, MARGIN, PULSE, SPEED, WIDTH, draw, paper, rows_of
from ..ecg.record import ECG

FINDINGS = (
    "atrial fibrillation",
    "left bundle branch block",
    "right bundle branch block",
    "hypertrophy",
    "infarction",
    "ST or T changes",
    "normal",
)
"""Questions of the form beside the one whether a sheet is real; the key answers those that a statement names."""
WORDS = {
    "hypertrophy": ("hypertrophy",),
    "infarction": ("infarction",),
    "ST or T changes": ("ST", "T wave"),
    "normal": ("normal ECG",),
}
FORM = ("sheet", "real_or_synthetic", "sure_1_to_5", *FINDINGS, "remarks")
GUIDE = """# Reading

Each sheet is a 12-lead ECG of 10 s at 25 mm/s. Some were recorded, some were made by a model; how many is not told. All
were brought to the same rate, so that sharpness gives nothing away.

1. Copy form.csv to form_YOURNAME.csv. Read alone and in the order of the form; do not go back.
2. real_or_synthetic: r or s, for every sheet. sure_1_to_5: 1 = a guess, 5 = certain.
3. Findings: y, n, or empty where you cannot say.
4. Send the form to whoever keeps the key: `ecgtwin reader-score KEY form_*.csv`.

Research use only, not for clinical diagnosis.
"""


def write_pack(
    real: Sequence[ECG], synthetic: Sequence[ECG], sheets: Path, key: Path, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Write numbered sheets, form.csv and README.md into the folder `sheets`, and key.csv into another,
    `key`. Returns the key's rows.

    All ECGs are brought to the lowest rate among them, cut to 10 s and freed of their offset; names, sex,
    age and statements are left out of the sheets. ValueError where one of the two kinds is missing or the
    key would lie among the sheets.
    """
    if not real or not synthetic:
        raise ValueError(f"{len(real)} real and {len(synthetic)} synthetic ECGs: expected some of each")
    if sheets.resolve() in (key.resolve(), *key.resolve().parents):
        raise ValueError(f"the key would lie in {sheets}, which readers get: choose a folder apart")
    everything = [(ecg, "r") for ecg in real] + [(ecg, "s") for ecg in synthetic]
    order = np.random.default_rng(seed).permutation(len(everything))
    rate = min(ecg.rate for ecg, _ in everything)
    rows = []
    for number, place in enumerate(order, 1):
        ecg, kind = everything[place]
        findings = {name: said(name, ecg.reports, asked=kind == "s") for name in FINDINGS}
        rows.append(
            {"sheet": number, "real_or_synthetic": kind, **findings, "name": ecg.name, "reports": "|".join(ecg.reports)}
        )

    def pages(folder: Path) -> None:
        for number, place in enumerate(order, 1):
            drawing = sheet(same(everything[place][0], rate), number)
            drawing.savefig(folder / f"sheet_{number:03d}.png", dpi=150, metadata={"Software": None})
        (folder / "form.csv").write_text(table(FORM, [{"sheet": row["sheet"]} for row in rows]), encoding="utf-8")
        (folder / "README.md").write_text(GUIDE, encoding="utf-8")

    write_files(sheets, pages)
    write_files(key, lambda folder: (folder / "key.csv").write_text(table(tuple(rows[0]), rows), encoding="utf-8"))
    return rows


def said(finding: str, reports: Sequence[str], *, asked: bool = False) -> str:
    """y or n by the statements that came with an ECG; empty where none came. asked: they are what a twin was asked for:
    other findings of its reference may have stayed, and are n only where what was asked for excludes them."""
    if not reports:
        return ""
    if any(word in report for report in reports for word in WORDS.get(finding, (finding,))):
        return "y"
    if not asked or "normal ECG" in reports:
        return "n"
    if finding == "atrial fibrillation":
        return "n" if any(report.startswith(("sinus", "paced", "atrial flutter")) for report in reports) else ""
    others = (name for name in FINDINGS if name != finding)
    return "n" if finding == "normal" and any(said(name, reports) == "y" for name in others) else ""


def same(ecg: ECG, rate: float) -> ECG:
    """The eight leads that are recorded, at a common rate and step, without offset: nothing but
    the heart tells ECGs apart."""
    ecg = ecg.select(INDEPENDENT)
    ecg = ecg.crop(0, min(10.0, ecg.seconds))
    ecg = ecg if ecg.rate == rate else ecg.resample(rate)
    x = ecg.signal - np.median(ecg.signal, axis=1, keepdims=True)
    return replace(ecg, signal=np.round(x * 200) / 200, synthetic=False, name="", reports=()).twelve()


def sheet(ecg: ECG, number: int) -> Figure:
    """One ECG on paper under its number alone."""
    figure = Figure(facecolor="white")
    FigureCanvasAgg(figure)
    rows = rows_of([ecg])
    height = HEAD + FOOT + rows.height
    figure.set_size_inches(WIDTH / 25.4, height / 25.4)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, height), aspect="equal")
    axes.axis("off")
    paper(axes, MARGIN, FOOT, WIDTH - 2 * MARGIN, rows.height)
    draw(axes, ecg, MARGIN + PULSE, height - HEAD, INK, rows, labels=True)
    axes.text(MARGIN, height - 7, f"Sheet {number:03d}", fontsize=12, weight="bold", va="center")
    foot = f"{SPEED:g} mm/s   {rows.gain:g} mm/mV   blinded reading: real or synthetic; not for diagnosis"
    axes.text(MARGIN, 5, foot, fontsize=7, va="center")
    return figure


def table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def score(key: Path, forms: Sequence[Path]) -> dict[str, Any]:
    """How often readers were right, with 95 % intervals (Wilson), for each reader, all together, and each finding.

    ValueError for a form without the key's sheets or with an answer that is neither r nor s.
    """
    truth = {row["sheet"]: row for row in rows_of_file(key)}
    readers = {}
    for path in forms:
        answers = {row["sheet"]: row for row in rows_of_file(path)}
        if missing := sorted(truth.keys() - answers.keys(), key=int):
            raise ValueError(
                f"{path.name}: sheets {', '.join(missing[:5])} are not in it: expected every sheet of the key"
            )
        readers[path.stem.removeprefix("form_")] = {name: answers[name] for name in truth}
    found: dict[str, Any] = {"sheets": len(truth), "readers": {}}
    pooled: list[tuple[bool, bool]] = []
    for name, answers in readers.items():
        pairs = []
        for number, row in answers.items():
            answer = (row.get("real_or_synthetic") or "").strip().lower()[:1]
            if answer not in ("r", "s"):
                raise ValueError(
                    f"{name}: sheet {number}: real_or_synthetic is {row.get('real_or_synthetic')!r}: expected r or s"
                )
            pairs.append((answer == "s", truth[number]["real_or_synthetic"] == "s"))
        pooled += pairs
        found["readers"][name] = told(pairs) | {"findings": findings(answers, truth)}
    found["together"] = told(pooled)
    together: dict[str, list[int]] = {}
    for one in found["readers"].values():
        for name, row in one["findings"].items():
            right, n = together.setdefault(name, [0, 0])
            together[name] = [right + row["right"], n + row["n"]]
    found["findings"] = {name: proportion(right, n) for name, (right, n) in together.items()}
    return found


def rows_of_file(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        between = ";" if ";" in file.readline() else ","  # spreadsheets in much of Europe
        file.seek(0)
        rows = csv.DictReader(file, delimiter=between)
        return [{**row, "sheet": str(int(row["sheet"]))} for row in rows if row.get("sheet")]


def told(pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    """Accuracy, and of the synthetic and the real sheets each; p: of an accuracy so far from one half by guessing."""
    right = sum(a == b for a, b in pairs)
    synthetic = [a for a, b in pairs if b]
    real = [a for a, b in pairs if not b]
    return {
        "accuracy": proportion(right, len(pairs)),
        "synthetic_called_synthetic": proportion(sum(synthetic), len(synthetic)),
        "real_called_synthetic": proportion(sum(real), len(real)),
        "p_guessing": float(binomtest(right, len(pairs), 0.5).pvalue),
    }


def findings(answers: dict[str, dict[str, str]], truth: dict[str, dict[str, str]]) -> dict[str, Any]:
    """How often a finding was answered as the statements say, where both did."""
    found = {}
    for name in FINDINGS:
        both = [((answers[n].get(name) or "").strip().lower()[:1], truth[n].get(name, "")) for n in truth]
        both = [(a, b) for a, b in both if a in ("y", "n") and b in ("y", "n")]
        if both:
            found[name] = proportion(sum(a == b for a, b in both), len(both))
    return found


def proportion(right: int, n: int) -> dict[str, Any]:
    """A proportion with Wilson's 95 % interval (J Am Stat Assoc 1927; 22:209)."""
    if not n:
        return {"right": 0, "n": 0, "value": None, "low": None, "high": None}
    z, p = 1.959964, right / n
    middle, half = p + z**2 / (2 * n), z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return {
        "right": right,
        "n": n,
        "value": p,
        "low": max((middle - half) / scale, 0.0),
        "high": min((middle + half) / scale, 1.0),
    }


def summary(found: dict[str, Any]) -> str:
    """The score as a short text."""

    def say(one: dict[str, Any]) -> str:
        return (
            "no answers"
            if not one["n"]
            else f"{one['right']} of {one['n']} ({one['value']:.0%}, {one['low']:.0%} to {one['high']:.0%})"
        )

    lines = [f"{found['sheets']} sheets, {len(found['readers'])} readers; 95 % intervals. Half right is guessing."]
    for name, one in (*found["readers"].items(), ("together", found["together"])):
        caught = say(one["synthetic_called_synthetic"])
        lines.append(
            f"{name:16} right {say(one['accuracy'])}; synthetic called so {caught}; p of guessing "
            f"{one['p_guessing']:.3g}"
        )
    lines += [f"  {name:28} as the statements say {say(one)}" for name, one in found["findings"].items()]
    return "\n".join(lines)
