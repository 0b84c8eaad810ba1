"""What the report's page draws: dots with intervals, distributions, median beats; as SVG inside the page."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ..ecg.leads import INDEPENDENT
from ..metrics.identity import POINTS

AIMS = ("real", "real later ECG", "real held-out ECGs", "constructed ECG", "calibrated")
"""Rows that what was made is measured against."""
FAR = 3.0
"""A value so many times as large as those of what was made and of real ECGs lies beyond the scale."""


def number(value: float | None) -> str:
    if value is None:
        return "–"
    if abs(value) < 1e-9:
        return "0"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def colour_of(name: str, maker: str, other: str = "var(--other)") -> str:
    return "var(--made)" if name == maker else "var(--real)" if name in AIMS else other


def reach(rows: Mapping[str, Sequence[float | None]], maker: str) -> tuple[float, float]:
    """Ends of the scale that rows share: zero and all values, but not those far beyond what was made and real ECGs."""
    values = [v for row in rows.values() for v in row if v is not None]
    low, high = (min(*values, 0.0), max(values)) if values else (0.0, 1.0)
    near = [abs(v) for name, row in rows.items() if name == maker or name in AIMS for v in row if v]
    return low, min(high, FAR * max(near)) if near else high


def bar(row: Sequence[float | None], low: float, high: float, name: str, maker: str) -> str:
    """A dot and its interval; an arrow where the value is beyond the scale."""
    colour = colour_of(name, maker)
    span = max(high - low, 1e-12)

    def x(v: float) -> float:
        return 4 + 252 * min(max((v - low) / span, 0.0), 1.0)

    value, *ends = row
    if value is None:
        return ""
    zero = f"<line x1={x(0):.1f} x2={x(0):.1f} y1=0 y2=16 stroke='var(--line)' />"
    if value > high:
        mark = f"<path d='M240 8h14m-5 -4l5 4l-5 4' fill=none stroke='{colour}' stroke-width=1.5 />"
    else:
        mark = f"<circle cx={x(value):.1f} cy=8 r=3.5 fill='{colour}' />"
        if None not in ends:
            line = f"<line x1={x(ends[0]):.1f} x2={x(ends[1]):.1f} y1=8 y2=8 stroke='{colour}' stroke-width=2 />"
            mark = line + mark
    return f"<svg width=264 height=16>{zero}{mark}</svg>"


def plot(h: dict[str, Any], unit: str, maker: str) -> str:
    """Distributions of all rows as steps on one axis, a row that is all in one bin cut off; the legend is beside
    them."""
    edges, shares = h["edges"], h["shares"]
    if not edges:
        return ""
    tops = sorted(max(row, default=0) for row in shares.values())
    top = (min(tops[-1], 2 * tops[-2]) if len(tops) > 1 and tops[-2] else tops[-1]) or 1
    span = edges[-1] - edges[0]

    def x(v: float) -> float:
        return 6 + 428 * (v - edges[0]) / span

    lines = []
    axis_at = max(96, 14 + 15 * len(shares))
    greys = iter(("#64748b", "#7c3aed", "#0284c7", "#a16207", "#be185d"))
    for k, (name, row) in enumerate(shares.items()):
        other = "" if name == maker or name in AIMS else next(greys, "#999")
        colour = colour_of(name, maker, other)
        points = " ".join(
            f"{x(e):.1f},{axis_at - (axis_at - 8) * min(v / top, 1):.1f}"
            for left, right, v in zip(edges, edges[1:], row, strict=False)
            for e in (left, right)
        )
        width = 1.1 if other else 2
        lines.append(f"<polyline points='{points}' fill=none stroke='{colour}' stroke-width={width} />")
        lines.append(f"<text x=446 y={14 + 15 * k} font-size=11 fill='{colour}'>{escape(name)}</text>")
    digits = max(0, 1 - math.floor(math.log10(span / 4)))
    ticks = "".join(
        f"<text x={x(v):.1f} y={axis_at + 14} font-size=10 text-anchor=middle fill='#667085'>{v:.{digits}f}</text>"
        for v in (edges[0] + span * f for f in (0.03, 0.25, 0.5, 0.75, 0.97))
    )
    axis = f"<line x1=6 x2=434 y1={axis_at} y2={axis_at} stroke='var(--line)' />"
    named = f"<text x=446 y={axis_at + 14} font-size=10 fill='#667085'>{escape(unit)}</text>"
    return f"<svg class=plot viewBox='0 0 680 {axis_at + 18}' width=680>{axis}{ticks}{named}{''.join(lines)}</svg>"


def beats(curves: dict[str, list[int]]) -> str:
    """Eight leads in two rows; a box is 0.75 s wide; all leads on one scale."""
    all_ = {k: np.array(v, float).reshape(len(INDEPENDENT), POINTS) for k, v in curves.items()}
    most = max(500.0, *(np.abs(v).max() for v in all_.values()))
    colours = {"reference": "#9aa4b2", "truth": "#111827", "made": "#ea580c"}
    shapes = []
    for k, lead in enumerate(INDEPENDENT):
        left, top = 118 * (k % 4), 92 * (k // 4)
        shapes.append(f"<text x={left + 3} y={top + 12} font-size=10 fill='#667085'>{lead}</text>")
        for name in ("reference", "truth", "made"):
            y = top + 46 - 42 * all_[name][k] / most
            points = " ".join(f"{left + 112 * i / (POINTS - 1):.1f},{v:.1f}" for i, v in enumerate(y))
            width = 1.6 if name == "made" else 1.2
            shapes.append(f"<polyline points='{points}' fill=none stroke='{colours[name]}' stroke-width={width} />")
    return f"<svg viewBox='0 0 470 184' width=100%>{''.join(shapes)}</svg>"
