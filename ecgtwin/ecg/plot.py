"""A 12-lead ECG on paper: 25 mm/s, 10 mm/mV, 3 x 4 leads of 2.5 s and a rhythm strip of lead II."""

import os
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .record import ECG

SPEED, GAIN = 25.0, 10.0
"""mm/s and mm/mV."""
COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
ROW, MARGIN, PULSE, HEAD, FOOT = 26.0, 6.0, 8.0, 22.0, 12.0
"""mm: height of a row, margin left and right, width of the calibration pulse, room for the title and for the notice."""
NOTICE = "Research use only, not for clinical diagnosis"
INK, OTHER, BEHIND = "#111111", "#b3202c", "#8a8f98"


def plot(ecg: ECG, path: str | Path, *, reference: ECG | None = None, layout: str = "overlay", title: str | None = None) -> Path:
    """Draw to PNG, SVG or PDF (by the ending), true to scale at the file's own size.

    reference: another ECG, drawn under this one in grey ("overlay") or above it on a sheet of its own ("stacked").
    A synthetic ECG is drawn in red and marked SYNTHETIC.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"{path.name}: expected a name that ends in .png, .svg or .pdf")
    if layout not in ("overlay", "stacked"):
        raise ValueError(f"layout {layout!r}: expected 'overlay' or 'stacked'")
    sheets = [[ecg]] if reference is None else [[reference, ecg]] if layout == "overlay" else [[reference], [ecg]]
    width = 2 * MARGIN + PULSE + 10 * SPEED
    height = HEAD + FOOT + len(sheets) * 4 * ROW + (len(sheets) - 1) * 8
    figure = Figure(figsize=(width / 25.4, height / 25.4), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    for index, sheet in enumerate(sheets):
        top = height - HEAD - index * (4 * ROW + 8)
        paper(axes, MARGIN, top - 4 * ROW, width - 2 * MARGIN, 4 * ROW)
        for k, one in enumerate(sheet):
            behind = layout == "overlay" and one is reference
            color = BEHIND if behind else OTHER if one.synthetic and one is ecg else INK
            draw(axes, one, MARGIN + PULSE, top, color, labels=k == 0)
    words(axes, ecg, reference, layout, title, width, height)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        figure.savefig(part, dpi=150)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def paper(axes, x: float, y: float, width: float, height: float) -> None:
    """The grid: a line every mm, a stronger one every 5 mm."""
    for step, color, line in ((1, "#f6d5cf", 0.25), (5, "#e9a9a0", 0.5)):
        vertical, horizontal = np.arange(x, x + width + 0.01, step), np.arange(y, y + height + 0.01, step)
        axes.vlines(vertical, y, y + height, colors=color, linewidths=line, zorder=0)
        axes.hlines(horizontal, x, x + width, colors=color, linewidths=line, zorder=0)


def draw(axes, ecg: ECG, x: float, top: float, color: str, *, labels: bool) -> None:
    """One ECG on a sheet whose traces begin at x and whose first row begins at top (mm)."""
    ecg = ecg.twelve()
    shown = ecg.signal[:, : int(10 * ecg.rate) + 1]
    signal = dict(zip(ecg.leads, shown - np.nanmedian(shown, axis=1, keepdims=True), strict=True))
    t = np.arange(shown.shape[1]) / ecg.rate
    sheet = Rectangle((x - PULSE, top - 4 * ROW), PULSE + 10 * SPEED, 4 * ROW, transform=axes.transData)
    for row in range(4):
        zero = top - (row + 0.55) * ROW
        if labels:
            pulse(axes, x - PULSE + 1, zero)
        strips = [("II", 0.0, 10.0)] if row == 3 else [(c[row], 2.5 * k, 2.5 * k + 2.5) for k, c in enumerate(COLUMNS)]
        for name, begin, end in strips:
            seen = (t >= begin) & (t <= end)
            place, height = x + SPEED * t[seen], zero + GAIN * signal[name][seen]
            order = 3 if labels else 4
            (line,) = axes.plot(place, height, color=color, linewidth=0.8, zorder=order, solid_joinstyle="round")
            line.set_clip_path(sheet)  # a pacing spike must not cross the words above
            if labels:
                # Over the grid and under the traces: no label may hide a wave.
                ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
                place = (x + SPEED * begin + 1, zero + 9)
                axes.text(*place, name, fontsize=8, weight="bold", color=INK, zorder=2.5, bbox=ground)
                if begin:
                    axes.vlines(x + SPEED * begin, zero - 3, zero + 3, colors=INK, linewidths=0.6, zorder=2)


def pulse(axes, x: float, zero: float) -> None:
    """The calibration pulse: 1 mV for 0.2 s."""
    step = 0.2 * SPEED
    axes.plot([x, x + 1, x + 1, x + 1 + step, x + 1 + step, x + 2 + step], [zero, zero, zero + GAIN, zero + GAIN, zero, zero],
              color=INK, linewidth=0.8, zorder=3)


def words(axes, ecg: ECG, reference: ECG | None, layout: str, title: str | None, width: float, height: float) -> None:
    axes.text(MARGIN, height - 7, title or ecg.name or "ECG", fontsize=10, weight="bold", color=INK, va="center")
    lines = [(ecg, "synthetic" if ecg.synthetic else "recorded")] if reference is None else [(reference, "reference"), (ecg, "twin")]
    for row, (one, what) in enumerate(lines):
        rate = one.heart_rate()
        text = f"{what}: " + ", ".join(
            [f"{rate:.0f}/min" if rate else "rate not measurable", *([one.sex] if one.sex else []),
             *([f"{one.age:g} years"] if one.age is not None else []), *one.reports[:4]]
        )
        color = OTHER if one is ecg and ecg.synthetic else INK if layout == "stacked" or one is ecg else "#5c6068"
        text = textwrap.shorten(text, 150, placeholder=" …")
        axes.text(MARGIN, height - 13 - 4.5 * row, text, fontsize=8, color=color, va="center")
    axes.text(MARGIN, 5, f"{SPEED:g} mm/s   {GAIN:g} mm/mV   {NOTICE}", fontsize=7, color="#555555", va="center")
    if ecg.synthetic:
        axes.text(width - MARGIN, 5, "SYNTHETIC", fontsize=11, weight="bold", color=OTHER, ha="right", va="center")
