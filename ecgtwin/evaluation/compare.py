"""Two reports on the same questions: paired differences, patient by patient."""

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


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    """Of figures that are means over the same ECGs; ValueError where the reports ask different questions."""
    for what in ("split", "digest"):
        left, right = a["facts"]["data"][what], b["facts"]["data"][what]
        if left != right:
            raise ValueError(
                f"the reports are on other data ({what} {left} and {right}): evaluate both on the same store and split"
            )
    if a["facts"]["seed"] != b["facts"]["seed"] or a["suite"] != b["suite"]:
        raise ValueError("the reports differ in seed or suite: their questions are not the same; use the same for both")
    found = []
    others = sampled(b)
    for place, f in sampled(a).items():
        g = others.get(place)
        if g is None or f["groups"] != g["groups"]:
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


def sampled(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Figures with values of single ECGs of what was evaluated, by section and name: two sections may ask the same of
    other ECGs."""
    return {
        (section["title"], figure["name"]): figure
        for section in report["sections"]
        for figure in section["figures"]
        if report["maker"] in figure.get("samples", {})
    }


def text(differences: list[Difference]) -> str:
    """Section by section; with a word on chance, of many intervals of 95 %."""
    lines, section = [f"{'figure':52}{'A':>10}{'B':>10}   B - A (95 %)"], ""
    for d in differences:
        if d.section != section:
            section = d.section
            lines.append(section)
        e = d.difference
        lines.append(
            f"  {d.figure[:48]:50}{d.a:10.3g}{d.b:10.3g}   {e.value:.3g} ({e.low:.3g} to {e.high:.3g}) {d.verdict}"
        )
    lines.append(f"Of {len(differences)} figures about {len(differences) / 20:.0f} would differ by chance alone.")
    return "\n".join(lines)
