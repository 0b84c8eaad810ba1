"""The report as one HTML file: no server, no script, nothing fetched."""

from collections.abc import Sequence
from html import escape
from typing import Any

from .page_plots import AIMS, bar, beats, number, plot, reach

HEADLINE = (
    "kernel distance, learned",
    "told from real by a classifier",
    "given away by RR variation",
    "given away by median beat",
    "diversity within a condition, people",
    "statement agreement",
    "heart rate error",
    "recognised",
    "copied",
    "null test: distance to the reference",
    "distance to the real later ECG",
    "distance to it, where much changed",
    "nearer than a copy, where much changed",
    "cycle test",
    "minimality: QRS moved by the heart rate",
    "distance to the constructed truth",
    "found as the own reference",
)
STYLE = """
:root{--ink:#1c2430;--soft:#667085;--line:#d9dee7;--band:#f5f7fa;--made:#c2410c;--real:#0f766e;--other:#64748b}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);max-width:1160px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}
h2{margin:2.4rem 0 .4rem;border-bottom:1px solid var(--line);font-size:1.2rem}
h3{font-size:1rem;margin:1.2rem 0 .1rem}
p{margin:.3rem 0}
.soft{color:var(--soft)}
.note{color:var(--made)}
svg.plot{display:block;max-width:100%;height:auto}
.warn{background:#fff7ed;border-left:4px solid var(--made);padding:.4rem .8rem;margin:1rem 0}
table{border-collapse:collapse;margin:.4rem 0;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .5rem;text-align:left;vertical-align:middle}
th{font-weight:600;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right}
td.n{white-space:nowrap}
td:first-child{min-width:11rem}
.contents a{display:inline-block;margin-right:1.2rem;color:var(--real)}
tr:nth-child(even) td{background:var(--band)}
tr.made td{font-weight:600}
.grid{display:grid;grid-template-columns:1fr 1fr;gap:1rem}
.grid div{border:1px solid var(--line);padding:.5rem}
code{font-size:.85em}
.wide{overflow-x:auto}
@media(max-width:760px){.grid{grid-template-columns:1fr}}
"""


def page(report: dict[str, Any]) -> str:
    """`report`: what `ecgtwin evaluate` writes as JSON."""
    facts = report["facts"]
    name = escape(report["name"])
    data = facts["data"]
    parts = [
        f"<h1>{name}: generated ECGs, judged</h1>",
        f"<p class=soft>{data['held_out']} real ECGs of {data['patients']} patients of the {data['split']} "
        f"split, on whom nothing was trained; suite "
        f"{escape(report['suite'])}, seed {facts['seed']}, {report['seconds']:.0f} s</p>",
        "<p class=warn>Research use only, not for clinical diagnosis. Generated ECGs are synthetic; each is "
        "linkable to its reference by design.</p>",
        headline(report),
        contents(report),
        *(section(s, report["maker"], k) for k, s in enumerate(report["sections"])),
        model_parts(report.get("parts") or {}),
        overlays(report.get("overlays", [])),
        notes(report),
    ]
    head = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    return f"{head}<title>{name}</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"


def figures(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [f for s in report["sections"] for f in s["figures"]]


def aim(f: dict[str, Any]) -> str:
    """Which way is better, in words."""
    if f["better"] != "real":
        return f"{f['better']} is better"
    return f"aim: {next((name for name in AIMS if name in f['rows']), 'real')}"


def headline(report: dict[str, Any]) -> str:
    """The made ECGs beside the row that they must be measured against: real ones, or a copy, or strangers."""
    maker, rows = report["maker"], []
    by_name: dict[str, dict[str, Any]] = {}
    for f in figures(report):
        by_name.setdefault(f["name"], f)  # of several on other ECGs the first, which is on the most
    for name in HEADLINE:
        f = by_name.get(name)
        if f is None or maker not in f["rows"]:
            continue
        others = [
            k
            for k in (
                "real",
                "real later ECG",
                "real ECG of another patient",
                "copy of the reference",
                "another patient in that state",
                "the model without a reference",
                "constructed ECG",
            )
            if k in f["rows"]
        ][:3]
        beside = "; ".join(f"{escape(k)} <b>{number(f['rows'][k][0])}</b>" for k in others)
        rows.append(
            f"<tr><td>{escape(f['name'])}</td><td "
            f"class=n><b>{estimate(f['rows'][maker])}</b></td><td>{escape(f['unit'])}</td>"
            f"<td>{beside}</td><td class=soft>{aim(f)}</td></tr>"
        )
    if not rows:  # a part of the suite alone
        return ""
    top = f"<tr><th>figure<th class=n>{escape(maker)}<th>unit<th>beside it<th></tr>"
    return f"<h2>In short</h2><div class=wide><table>{top}{''.join(rows)}</table></div>"


def contents(report: dict[str, Any]) -> str:
    titles = [(f"s{k}", s["title"]) for k, s in enumerate(report["sections"])]
    titles += [("parts", "The model's parts")] * bool(report.get("parts"))
    titles += [("overlays", "Best, median and worst")] * bool(report.get("overlays")) + [("notes", "Notes")]
    return "<p class=contents>" + "".join(f"<a href='#{at}'>{escape(title)}</a>" for at, title in titles) + "</p>"


def section(s: dict[str, Any], maker: str, number_of: int) -> str:
    tables = (table(t) for t in s.get("tables", []))
    return "".join(
        [f"<h2 id=s{number_of}>{escape(s['title'])}</h2>", *(figure(f, maker) for f in s["figures"]), *tables]
    )


def table(t: dict[str, Any]) -> str:
    head = "".join(f"<th class=n>{escape(c)}" for c in t["columns"])
    body = "".join(
        f"<tr><td>{escape(name)}</td>" + "".join(f"<td class=n>{number(v)}</td>" for v in values) + "</tr>"
        for name, values in t["lines"].items()
    )
    return (
        f"<h3>{escape(t['title'])}</h3><p class=soft>{escape(t['note'])}</p>"
        f"<div class=wide><table><tr><th>{head}</tr>{body}</table></div>"
    )


def figure(f: dict[str, Any], maker: str) -> str:
    """Rows as a table with a dot and its interval."""
    low, high = reach(f["rows"], maker)
    body = []
    for name, row in f["rows"].items():
        mark = " class=made" if name == maker else ""
        body.append(
            f"<tr{mark}><td>{escape(name)}</td><td "
            f"class=n>{estimate(row)}</td><td>{bar(row, low, high, name, maker)}</td></tr>"
        )
    unit = f" ({escape(f['unit'])})" if f["unit"] else ""
    note = f"<p class=note>{escape(f['note'])}</p>" if f.get("note") else ""
    drawn = plot(f["histogram"], f["unit"], maker) if f.get("histogram") else ""
    return (
        f"<h3>{escape(f['name'])}{unit}</h3><p class=soft>{escape(f['meaning'])} "
        f"{aim(f).capitalize()}. n&nbsp;=&nbsp;{f['n']}.</p>"
        f"{note}<table>{''.join(body)}</table>{drawn}"
    )


def model_parts(parts: dict[str, Any]) -> str:
    """Auto-encoder, base vectors and speed, where they were measured."""
    if not parts:
        return ""
    text, r, who, speed = (
        ["<h2 id=parts>The model's parts</h2>"],
        *map(parts.get, ("reconstruction", "identity", "speed")),
    )
    if r:
        text.append(
            f"<p>Auto-encoder, {r['n']} real ECGs: correlation {r['correlation_median']:.4f} (median over leads), RMS "
            f"error {r['rms_uv_median']:.0f} uV (median).</p>"
        )
    if speed:
        text.append(
            f"<p>{speed['samples']} samples in {speed['steps']} steps: {speed['seconds']:.1f} s on {speed['threads']} "
            "threads, with whatever else the machine was doing.</p>"
        )
    if who:
        lines = {name: [row["rank1"], row["eer"]] for name, row in who.items()}
        first = next(iter(who.values()))
        note = f"{first['queries']} ECGs of patients with several, among {first['gallery']}; none was trained on."
        columns = ["rank-1", "equal error rate"]
        text.append(table({"title": "Base vectors", "note": note, "columns": columns, "lines": lines}))
    return "".join(text)


def overlays(found: list[dict[str, Any]]) -> str:
    if not found:
        return ""
    parts = [
        "<h2 id=overlays>Best, median and worst</h2><p class=soft>Median beats: grey the reference, black the same "
        "patient's real later ECG, orange what was "
        "made of the reference under that ECG's condition. Ordered by the distance to the truth, and drawn as it is "
        "measured: moved by at most 95 ms onto it.</p><div class=grid>"
    ]
    for o in found:
        parts.append(
            f"<div><b>{escape(o['group'])}</b>: {o['uv']:.0f} uV (a copy: {o['uv_copy']:.0f})<p "
            f"class=soft>from {escape(o['own'])}<br>to "
            f"{escape(o['wanted'])}</p>{beats(o['beats'])}</div>"
        )
    return "".join(parts) + "</div>"


def notes(report: dict[str, Any]) -> str:
    facts = report["facts"]
    quality = facts["judge_quality"]
    who, read = quality["identity"], quality["text"]
    pair = f", ECG and text (right text among the first 5 of {read['texts']}: {read['top5']:.2f})" if read else ""
    lines = [
        "Rows: <b>real</b> is the floor (real ECGs of other patients, as many); <b>copy</b> returns the "
        "reference; <b>another patient</b> is a real ECG in the "
        "wanted state; <b>without a reference</b> is the model told the condition alone; degraded real ECGs "
        "are a yardstick.",
        "Intervals are 95 %, by bootstrap over patients; where two halves of the patients were compared, the "
        "ends are the two halves' values.",
        f"Judges were trained on training patients only, apart from the generator: statements (mean "
        f"validation AUROC {quality['statement_auroc_validation']}), "
        f"identity (rank-1 {who['rank1']:.2f}, equal error rate {who['eer']:.3f} among {who['gallery']} "
        f"validation ECGs){pair}.",
        "Distances are between median beats of 8 leads, from 0.30 s before to 0.45 s after R, moved by at most 95 ms.",
    ]
    hashes = "".join(f"<tr><td>{escape(k)}</td><td><code>{escape(str(v))}</code></td></tr>" for k, v in flat(facts))
    return f"<h2 id=notes>Notes</h2><ul>{''.join(f'<li>{x}</li>' for x in lines)}</ul><table>{hashes}</table>"


def flat(tree: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in tree.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        out += flat(value, f"{before}{key}.") if isinstance(value, dict) else [(before + key, shown)]
    return out


def estimate(row: Sequence[float | None]) -> str:
    value, low, high = row
    return (
        number(value)
        if low is None or high is None
        else f"{number(value)} <span class=soft>({number(low)} to {number(high)})</span>"
    )


def text(report: dict[str, Any]) -> str:
    """The same figures for a terminal: every row of every figure, one line each."""
    lines = []
    for s in report["sections"]:
        lines.append(f"\n{s['title']}")
        for f in s["figures"]:
            rows = ", ".join(f"{k} {number(v[0])}" for k, v in f["rows"].items())
            mark = f" [{f['note']}]" if f.get("note") else ""
            lines.append(f"  {f['name']}{' (' + f['unit'] + ')' if f['unit'] else ''}: {rows}{mark}")
        for t in s.get("tables", []):
            lines.append(f"  {t['title'].lower()}: {', '.join(t['columns'])}")
            lines += [f"    {name}: {', '.join(number(v) for v in row)}" for name, row in t["lines"].items()]
    return "\n".join(lines)
