"""An explanation as a picture and as one self-contained HTML page: no script, no request to anywhere."""

import base64
import tempfile
from html import escape
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..atomic import write_file
from ..ecg.leads import LEADS
from ..ecg.median_beat import RATE
from ..ecg.plot import NOTICE, plot
from .explain import HIGH, LOW, OTHER_IDENTITY, OTHERS, SAME_IDENTITY, SAME_PERSON, Explanation, turned

INK, OTHER, BAND = "#333a44", "#b3202c", "#f0b9bd"
NAMES = {
    "heart_rate": "Heart rate",
    "rr_variation": "RR variation (standard deviation / mean)",
    "odd_fraction": "Odd RR intervals, fraction",
    "rr_variation_usual": "RR variation without odd intervals",
    "regularity": "Rhythm",
    "p_present": "P wave",
    "p": "P duration",
    "pr": "PR interval",
    "qrs": "QRS duration",
    "qt": "QT interval",
    "qtc_bazett": "QTc (Bazett)",
    "qtc_fridericia": "QTc (Fridericia)",
    "p_axis": "P axis",
    "qrs_axis": "QRS axis",
    "t_axis": "T axis",
    "sokolow": "S V1 + R V5",
    "beats": "Beats",
}
DIGITS = {"ms": 0, "degrees": 0, "/min": 0}
"""Digits behind the point by unit; two elsewhere."""
SHEETS = 4
"""Twins whose whole sheet is in the page."""
STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 0 auto; max-width: 72rem;
  padding: 1rem }
h1 { font-size: 1.6rem; margin: .4rem 0 } h2 { font-size: 1.2rem; margin: 1.6rem 0 .4rem }
.notice { background: #fff4d6; border-left: .4rem solid #c98a00; padding: .5rem .8rem; font-weight: 600 }
.warn { background: #fde8e8; border-left: .4rem solid #b3202c; padding: .5rem .8rem } .fine { color: #4a525c }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #dde1e6 }
td.n, th.n { text-align: right; white-space: nowrap }
tr.few { color: #6b7480 }
tr.clear td { font-weight: 600; background: #fdf3f3 }
.scroll img { width: 100%; min-width: 44rem; height: auto; border: 1px solid #dde1e6 } p.fine { margin: .2rem 0 }
:focus-visible { outline: 3px solid #1a66d6; outline-offset: 2px }
details { margin: .6rem 0 } summary { cursor: pointer; font-weight: 600 }
@media (max-width: 40rem) { body { padding: .5rem } table { font-size: .85rem } th, td { padding: .2rem .3rem } }
@media print { details { display: block } }
"""


def beats_figure(one: Explanation) -> Figure:
    """Twelve panels: the reference's median beat, the median of the twins' and the band between
    their 10th and 90th centile."""
    before, after = one.beats()
    figure = Figure(figsize=(11, 7.2), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 4, sharex=True)
    stack = np.stack(after) if after else None
    width = (before if before is not None else stack[0] if after else np.zeros((12, 400))).shape[1]
    ms = (np.arange(width) - 0.3 * RATE) * 1000 / RATE
    for k, (lead, axis) in enumerate(zip(LEADS, axes.T.ravel(), strict=True)):
        axis.axhline(0, color="#c9ced6", linewidth=0.6)
        if stack is not None:
            low, middle, high = np.quantile(stack[:, k], (LOW, 0.5, HIGH), axis=0)
            axis.fill_between(ms, low, high, color=BAND, linewidth=0, label=f"twins, {LOW:.0%} to {HIGH:.0%}")
            axis.plot(ms, middle, color=OTHER, linewidth=1.4, label=f"twins, median of {len(stack)}")
        if before is not None:
            axis.plot(ms, before[k], color=INK, linewidth=1.2, linestyle=(0, (4, 1.5)), label="reference")
        axis.set_title(lead, loc="left", fontsize=10, weight="bold")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("ms from QRS onset", fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("mV", fontsize=8)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower right", fontsize=9, ncols=3, frameon=False)
    figure.text(
        0.01,
        0.975,
        shorten(f"Median beats: {one.condition}", 108, placeholder=" …"),
        fontsize=11,
        weight="bold",
        va="center",
    )
    figure.text(0.01, 0.012, f"SYNTHETIC.  {NOTICE}.", fontsize=8, color=OTHER)
    figure.tight_layout(rect=(0, 0.035, 1, 0.955))
    return figure


def draw(one: Explanation, path: Path) -> Path:
    """The median beats as PNG, SVG or PDF."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        raise ValueError(f"{path.name}: expected a name that ends in .png, .svg or .pdf")
    return write_file(path, lambda part: beats_figure(one).savefig(part, dpi=150, format=kind))


def page(one: Explanation, *, title: str = "", facts: dict[str, Any] | None = None) -> str:
    """The page as text. title: in place of the reference's name. facts: further lines for the end,
    such as options and hashes."""
    title = title or one.reference.name or "ECG"
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport "
        "content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}: what changed</title><style>{STYLE}</style></head><body>",
        f"<p class=notice>Synthetic ECGs. {NOTICE}.</p>",
        f"<h1>{escape(title)}</h1><p>Asked for: <b>{escape(str(one.condition))}</b>. {len(one.twins)} samples.</p>",
    ]
    if one.doubts:
        items = "".join(f"<li>{escape(text)}</li>" for text in one.doubts)
        parts.append(f"<div class=warn role=note><b>Do not believe without a look</b><ul>{items}</ul></div>")
    parts.append("<h2>Sheets</h2>")
    with tempfile.TemporaryDirectory() as folder:
        for k, ecg in enumerate((one.reference, *one.twins[:SHEETS])):
            name = f"Twin {k} of {len(one.twins)}" if k else "Reference"
            drawing = plot(ecg, Path(folder) / f"{k}.svg", title=name).read_text()
            picture = image(drawing, f"{name}, 12 leads on ECG paper")
            parts.append(f"<details{' open' if k < 2 else ''}><summary>{name}</summary>{picture}</details>")
    parts += [rules_table(one), trust_table(one), "<h2>What changed</h2>", changes_table(one, whole=True)]
    parts.append(f"<details><summary>All leads</summary>{changes_table(one, whole=False)}</details>")
    parts.append(
        f"<h2>Median beats</h2>{image(svg(beats_figure(one)), 'Median beats of reference and twins in twelve leads')}"
    )
    parts += ["<h2>Who, and how far from what the model has seen</h2>", nearness_table(one)]
    parts.append(
        "<h2>What to keep in mind</h2><ul>" + "".join(f"<li>{escape(text)}</li>" for text in one.notes) + "</ul>"
    )
    if facts:
        rows = "".join(
            f"<tr><th scope=row>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items()
        )
        parts.append(
            "<details><summary>How this was made</summary>"
            f"<div class=scroll tabindex=0><table>{rows}</table></div></details>"
        )
    return "\n".join([*parts, "</body></html>\n"])


def nearness_table(one: Explanation) -> str:
    """Whether the twins are of the reference's person, and how far both are from the training data."""
    usual = "real ECGs of one person {:.2f} to {:.2f}, of two people {:.2f} to {:.2f}; {}"
    rows = [
        (name, spread(values), usual.format(*same, *others, whose(values, same, others)))
        for name, values, same, others in (
            ("Likeness of median beats with the reference", one.likeness, SAME_PERSON, OTHERS),
            ("Identity score by an independent judge", one.identity, SAME_IDENTITY, OTHER_IDENTITY),
        )
    ]
    if one.distance is not None:
        means = "0 to 1 for other real ECGs; above 0.95 unlike what the model was trained on"
        rows.append(("Distance of the reference from the training data", spread(one.distance[:1]), means))
        rows.append(("Distance of the twins from the training data", spread(one.distance[1:]), means))
    body = "".join(
        f"<tr><th scope=row>{name}</th><td class=n>{value}</td><td>{means}</td></tr>" for name, value, means in rows
    )
    return (
        "<div class=scroll tabindex=0><table><thead><tr><th scope=col>Measure</th>"
        "<th scope=col class=n>Median (least to most)</th>"
        f"<th scope=col>What is usual</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def whose(values: np.ndarray, same: tuple[float, float], others: tuple[float, float]) -> str:
    """What a measure of likeness says of most samples, by the ranges of one person and of two."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "here nothing can be told"
    middle = np.median(known)
    if middle < same[0]:
        return "here as of two people: the state can do that, and so can the loss of the person"
    return "here as of one person" if middle > others[1] else "here it may be either"


def spread(values: np.ndarray) -> str:
    known = values[~np.isnan(values)]
    if not len(known):
        return "not measurable"
    around = f" ({known.min():.2f} to {known.max():.2f})" if len(known) > 1 else ""
    return f"{np.median(known):.2f}{around}"


def trust_table(one: Explanation) -> str:
    """What taught the model the statements asked for, and how an independent reader sees them in its twins."""
    rows = [] if one.reliability is None else one.reliability.data(one.condition.reports)
    if not rows:
        return ""
    body = "".join(
        f"<tr{' class=few' if r['doubt'] else ''}><th scope=row>{escape(r['name'])}</th>"
        f"<td class=n>{count(r['recorded_ecgs'])}</td><td class=n>{count(r['training_ecgs'])}</td>"
        f"<td class=n>{count(r['constructed_ecgs'])}</td><td class=n>{share(r['auroc'])}</td>"
        f"<td class=n>{share(r['rules'])}</td><td>{r['verdict']}</td></tr>"
        for r in rows
    )
    return (
        "<h2>Can these statements be trusted?</h2><p class=fine>AUROC: an independent 12-lead "
        "classifier tells twins asked for the statement from twins asked for a normal sinus rhythm (0.5 is chance). "
        "Rules: how many of the criteria hold in them.</p>"
        "<div class=scroll tabindex=0><table><thead><tr><th scope=col>Statement</th>"
        "<th scope=col class=n>Recorded ECGs</th><th scope=col class=n>With simulated</th>"
        "<th scope=col class=n>Constructed</th><th scope=col class=n>AUROC</th><th scope=col class=n>Rules</th>"
        f"<th scope=col>Verdict</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def count(value: int | None) -> str:
    return "not known" if value is None else f"{value}"


def share(value: float | None) -> str:
    return "not judged" if value is None else f"{value:.2f}"


def rules_table(one: Explanation) -> str:
    if not one.checked:
        return "<h2>Is it what was asked for?</h2><p>No rule can check these statements.</p>"
    rows = []
    for r in one.checked:
        lost = r["samples"] - r["of"]
        few = f" (not measurable in {lost})" if lost else ""
        rows.append(
            f"<tr><td>{escape(r['statement'])}</td><td>{escape(r['rule'])}</td><td>{words(r['reference'])}</td>"
            f"<td class=n>{r['holds']} of {r['of']}{few}</td></tr>"
        )
    return (
        "<h2>Is it what was asked for?</h2><div class=scroll tabindex=0><table><thead><tr><th "
        "scope=col>Statement</th><th scope=col>Criterion</th>"
        f"<th scope=col>Reference</th><th scope=col class=n>Samples in which it holds</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def changes_table(one: Explanation, *, whole: bool) -> str:
    """Quantities of the whole ECG, or the amplitudes of each lead."""
    body = []
    for r in one.rows:
        if bool(r["lead"]) == whole or r["quantity"] == "beats":
            continue
        name = NAMES.get(r["quantity"]) or f"{r['quantity'].split('_')[0].upper()} in {r['lead']}"
        unit = r["unit"]
        one_alone = r["measured"] < 2 or r["low"] is None
        low, high = (r[k] if one_alone or unit != "degrees" else turned(r[k]) for k in ("low", "high"))
        spread = "" if one_alone else f"{number(low, unit)} to {number(high, unit)}"
        change = "" if r["change"] is None else number(r["change"], unit, "+")
        few = (
            "" if r["measured"] == len(one.twins) else f" <span class=fine>({r['measured']} of {len(one.twins)})</span>"
        )
        body.append(
            f"<tr{' class=clear' if r['clear'] else ''}><td>{name}</td><td class=n>{words(r['reference'], unit)}</td>"
            f"<td class=n>{words(r['twins'], unit)}{few}</td><td class=n>{spread}</td><td "
            f"class=n>{change}</td><td>{unit}</td></tr>"
        )
    return (
        "<p class=fine>Median and spread (10th to 90th centile) over samples. Bold: the change is larger than its "
        "spread and than reading errors.</p><div class=scroll tabindex=0><table><thead><tr>"
        "<th scope=col>Measurement</th><th scope=col class=n>Reference</th><th scope=col class=n>Twins</th>"
        "<th scope=col class=n>Spread</th><th scope=col class=n>Change</th><th scope=col>Unit</th></tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def words(value: Any, unit: str = "") -> str:
    if value is None:
        return "not measurable"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape(value) if isinstance(value, str) else number(value, unit)


def number(value: float, unit: str, sign: str = "") -> str:
    """As precise as its unit is read; no minus before nought."""
    digits = DIGITS.get(unit, 2)
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def svg(figure: Figure) -> str:
    content = BytesIO()
    figure.savefig(content, format="svg")
    return content.getvalue().decode()


def image(drawing: str, alt: str) -> str:
    """A drawing inside the page, apart from it: names in it cannot clash with others'. Wide enough to be read."""
    source = f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"
    return f'<div class=scroll tabindex=0><img alt="{escape(alt)}" src="{source}"></div>'
