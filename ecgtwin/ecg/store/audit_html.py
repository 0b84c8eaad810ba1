"""The report of a store as one HTML page that needs nothing else: figures, histograms, example ECGs."""

import base64
import html
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..plot import png
from .audit import sampled
from .columns import GAIN, SPLITS
from .pairs import Pairs
from .store import Store

NOTICE = "Research use only, not for clinical diagnosis."
SHOWN = (
    "spike",
    "clipped",
    "bridged",
    "tail_cropped",
    "pacemaker",
    "zero_lead",
    "limb_mismatch",
    "missing_samples",
    "short",
)
"""Flags of which an example is shown, where there is one."""
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em }
body { color: #222; background: #fff }
table { border-collapse: collapse; margin: .5em 0 1.5em }
td, th { padding: .15em .9em .15em 0; text-align: left; vertical-align: top }
th { border-bottom: 1px solid #999 } td.n, th.n { text-align: right } img { max-width: 100% } figure { margin: 1em 0 }
.bad { color: #b00020; font-weight: 600 } .good { color: #1b6e2c; font-weight: 600 } .notice { color: #666 }
"""


def page(store: Store, report: dict[str, Any], examples: int = 3) -> str:
    """The page as text. examples: of ordinary ECGs of each split, beside one for each flag of SHOWN."""
    leak, rows = report["leaks"], report["splits"]["table"]
    pairs = report["pairs"]
    verdict = (
        f'<p class="bad">{leak["found"]} leaks between splits</p>'
        if leak["found"]
        else '<p class="good">No leaks between splits</p>'
    )
    known = report["patients"]
    parts = [
        f"<h1>{html.escape(report['source'])}</h1><p class='notice'>{NOTICE}</p>{verdict}",
        table(
            ("", ""),
            [
                ("ECGs", f"{report['ecgs']} ({report['usable']} usable, {report['hours']} h)"),
                ("patients", f"{known['patients']}, {known['with_several']} with several ECGs, most {known['most']}"),
                ("without a patient id", known["ecgs_without_patient_id"]),
                ("signals", f"{', '.join(report['leads'])}; {report['samples']} samples at {report['rate_hz']:g} Hz"),
                ("digest", report["digest"]),
                ("split digest", report["splits"]["digest"]),
            ],
        ),
        "<h2>Splits</h2>",
        table(
            ("split", "ECGs", "patients", "patients with pairs", "pairs", "with cap"),
            [
                (n, r["ecgs"], r["patients"], *(pairs[n][k] for k in ("patients", "pairs", "with_cap")))
                for n, r in rows.items()
            ],
        ),
        "<h2>Leaks</h2>",
        table(("", ""), [(k.replace("_", " "), v) for k, v in leak.items() if isinstance(v, int)]),
        "".join(
            f"<p>{html.escape(str(line))}</p>"
            for line in leak["near_identical_across_splits"] + leak["identical_across_splits"]
        ),
        "<h2>Flags</h2>",
        table(
            ("flag", "ECGs", "unusable", "meaning"),
            [(n, r["ecgs"], "yes" if r["unusable"] else "", r["meaning"]) for n, r in report["flags"].items()],
        ),
        "<h2>What was odd in the tables and files</h2>",
        table(("", "times"), list(report["problems"].items())),
        table(("could not be read", "why"), list(report["unreadable"].items())) if report["unreadable"] else "",
        table(("gave no statement", "times"), list(report["unmapped"].items())) if report["unmapped"] else "",
        "<h2>Distributions</h2>",
        image(histograms(store, report), "histograms"),
        "<h2>Statements</h2>",
        table(
            ("statement", "ECGs"),
            [("(none)", report["statements"]["ecgs_without"]), *report["statements"]["ecgs_with"].items()],
        ),
        "<h2>Examples</h2>",
        *(picture(store, row, why) for row, why in chosen(store, examples)),
    ]
    title = f"{html.escape(report['source'])}: store report"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    head += f"<style>{STYLE}</style></head>"
    return head + "<body>" + "\n".join(parts) + "</body></html>\n"


def table(head: tuple[str, ...], rows: list[tuple]) -> str:
    def cell(value: Any, tag: str) -> str:
        numeric = isinstance(value, (int, float)) or (
            tag == "th" and value in ("ECGs", "times", "patients", "pairs", "with cap")
        )
        return f"<{tag}{' class=n' if numeric else ''}>{html.escape(str(value))}</{tag}>"

    top = "".join(cell(h, "th") for h in head) if any(head) else ""
    return (
        f"<table><tr>{top}</tr>"
        + "".join("<tr>" + "".join(cell(c, "td") for c in row) + "</tr>" for row in rows)
        + "</table>"
    )


def image(png: bytes, what: str) -> str:
    return f'<img alt="{html.escape(what)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def histograms(store: Store, report: dict[str, Any]) -> bytes:
    """Heart rate, age, ECGs per patient, amplitude, days between the ECGs of a pair, ECGs over the years, as a PNG."""
    usable = store.usable
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    axes = figure.subplots(2, 3).flat

    def bars(values: np.ndarray, bins: Any, label: str, *, name: str | None = None, log: bool = False) -> Any:
        axis = next(axes)
        known = values[np.isfinite(values)]
        axis.hist(known, bins=bins, color="#37618e", alpha=0.85, label=name)
        axis.set(xlabel=label, ylabel="", yscale="log" if log and len(known) else "linear")
        return axis

    rate, given = (np.asarray(store.column(n))[usable] for n in ("heart_rate", "heart_rate_given"))
    axis = bars(rate, np.arange(20, 221, 4), "heart rate, beats/min", name="measured")
    if np.isfinite(given).any():
        axis.hist(
            given[np.isfinite(given)], bins=np.arange(20, 221, 4), histtype="step", color="#c2410c", label="given"
        )
        axis.legend(frameon=False)
    bars(np.asarray(store.column("age"))[usable], np.arange(0, 96, 3), "age, years (over 89: 90)")
    people = store.people[usable]
    counts = np.bincount(people[people >= 0])
    bars(counts[counts > 0], np.arange(0.5, max(6, min(60, counts.max(initial=1))) + 1), "ECGs of a patient", log=True)
    rows = sampled(usable, 1024)
    peaks = np.abs(store.read(rows).astype(np.int32)).max(axis=(1, 2)) / GAIN if len(rows) else np.empty(0)
    bars(peaks, np.geomspace(0.2, 33, 40), "largest deflection, mV").set_xscale("log")
    time, gaps = np.asarray(store.column("time")), []
    for split in SPLITS:
        for chunk in Pairs.of(store, split, reverse=False).stream():
            gap = (time[chunk[:, 1]] - time[chunk[:, 0]]).astype("timedelta64[s]")
            gaps.append(gap[~np.isnat(gap)].astype(float) / 86_400)
    days = np.concatenate(gaps) if gaps else np.empty(0)
    bars(np.maximum(days, 1e-3), np.geomspace(1e-3, 1e4, 40), "days between the ECGs of a pair").set_xscale("log")
    known = time[usable & ~np.isnat(time)].astype("datetime64[D]").astype(float) / 365.2425 + 1970
    bars(known, 30, "year")
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return out.getvalue()


def chosen(store: Store, examples: int) -> list[tuple[int, str]]:
    """Rows to show and why: some of each split, evenly spread, then the first row of each flag of SHOWN."""
    found = []
    for split in SPLITS:
        found += [(int(r), split) for r in sampled(_only(store, split), examples)]
    for flag in SHOWN:
        rows = np.flatnonzero(store.flagged(flag))
        found += [(int(rows[0]), f"flag {flag}")] if len(rows) else []
    return found


def _only(store: Store, split: str) -> np.ndarray:
    mask = np.zeros(len(store), bool)
    mask[store.rows(split)] = True
    return mask


def picture(store: Store, row: int, why: str) -> str:
    """One ECG on paper with what is known about it."""
    ecg = store.ecg(row)
    rate = float(store.column("heart_rate")[row])
    words = [why, ecg.name, "; ".join(ecg.reports) or store.texts("report")[row] or "no report"]
    words += [] if np.isnan(rate) else [f"{rate:.0f} beats/min"]
    words += [f"flags: {', '.join(ecg.notes)}"] if ecg.notes else []
    caption = html.escape(" | ".join(words))
    return f"<figure>{image(png(ecg), caption)}<figcaption>{caption}</figcaption></figure>"
