"""Two reports on the same questions: paired differences, patient by patient."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..metrics.bootstrap import Estimate, mean


class Difference(NamedTuple):
    """b - a of a figure's row, and whether b is better, worse, or neither (the interval holds 0)."""

    section: str
    figure: str
    row: str
    a: float
    b: float
    difference: Estimate
    verdict: str


class Whole(NamedTuple):
    """A figure of a whole set of ECGs in both reports, and whether its intervals lie apart: no paired difference."""

    section: str
    figure: str
    a: Estimate
    b: Estimate
    apart: bool


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    """Of figures that are means over the same ECGs; ValueError where the reports ask different questions."""
    check(a, b)
    found = []
    others = placed(b)
    for place, f in placed(a).items():
        g = others.get(place)
        if g is None or not paired(f, a["maker"]) or not paired(g, b["maker"]) or f["groups"] != g["groups"]:
            continue
        x, y = (
            np.array([np.nan if v is None else v for v in r["samples"][m]], float)
            for r, m in ((f, a["maker"]), (g, b["maker"]))
        )
        d = mean(y - x, np.array(f["groups"]))
        better = {"less": -1, "more": 1, "real": 0}[f["better"]] * np.sign(d.value)
        sure = d.low > 0 or d.high < 0
        verdict = (
            "no difference seen" if not sure else "different" if better == 0 else "better" if better > 0 else "worse"
        )
        found.append(Difference(*place, a["maker"], float(np.nanmean(x)), float(np.nanmean(y)), d, verdict))
    return found


def wholes(a: dict[str, Any], b: dict[str, Any]) -> list[Whole]:
    """Of figures that are none of single ECGs, such as distances between sets; ValueError as `compare`."""
    check(a, b)
    found, others = [], placed(b)
    for place, f in placed(a).items():
        g = others.get(place)
        if g is None or paired(f, a["maker"]) or a["maker"] not in f["rows"] or b["maker"] not in g["rows"]:
            continue
        x, y = f["rows"][a["maker"]], g["rows"][b["maker"]]
        if None not in (*x, *y):
            x, y = Estimate(*x), Estimate(*y)
            found.append(Whole(*place, x, y, x.high < y.low or y.high < x.low))
    return found


def check(a: dict[str, Any], b: dict[str, Any]) -> None:
    for what in ("split", "digest"):
        left, right = a["facts"]["data"][what], b["facts"]["data"][what]
        if left != right:
            raise ValueError(
                f"the reports are on other data ({what} {left} and {right}): evaluate both on the same store and split"
            )
    if a["facts"]["seed"] != b["facts"]["seed"] or a["suite"] != b["suite"]:
        raise ValueError("the reports differ in seed or suite: their questions are not the same; use the same for both")


def placed(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Figures by section and name: two sections may ask the same of other ECGs."""
    return {(s["title"], f["name"]): f for s in report["sections"] for f in s["figures"]}


def paired(figure: dict[str, Any], maker: str) -> bool:
    """Whether it has a value of each ECG of what was evaluated."""
    return maker in figure.get("samples", {})


def text(differences: Sequence[Difference], sets: Sequence[Whole] = ()) -> str:
    """Section by section; with a word on chance, of many intervals of 95 %."""
    lines = [f"{'paired, patient by patient':52}{'A':>10}{'B':>10}   B - A (95 %)"]
    section = ""
    for d in differences:
        lines += [d.section] * (d.section != section)
        section, e = d.section, d.difference
        lines.append(
            f"  {d.figure[:48]:50}{d.a:10.3g}{d.b:10.3g}   {e.value:.3g} ({e.low:.3g} to {e.high:.3g}) {d.verdict}"
        )
    lines.append(f"Of {len(differences)} figures about {len(differences) / 20:.1f} would differ by chance alone.")
    if sets:
        lines.append(f"\n{'whole sets (95 %, or both halves of the patients)':52}{'A':28}B")
    section = ""
    for s in sets:
        lines += [s.section] * (s.section != section)
        section = s.section
        a, b = (f"{e.value:.3g} ({e.low:.3g} to {e.high:.3g})" for e in (s.a, s.b))
        lines.append(f"  {s.figure[:48]:50}{a:28}{b:28}{'apart' if s.apart else ''}".rstrip())
    return "\n".join(lines)
