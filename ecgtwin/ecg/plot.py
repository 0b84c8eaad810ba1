"""A 12-lead ECG on paper: 25 mm/s, 10 mm/mV, 3 x 4 leads of 2.5 s and a rhythm strip of lead II.

Rows are as high as their traces need, so that nothing is cut and nothing runs into another row. Where that would make a
sheet taller than TALLEST the whole sheet is drawn at half gain, or less, which the calibration pulses and the foot say.
"""

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..atomic import write_file
from .record import ECG

SPEED = 25.0
"""mm/s."""
GAINS = (10.0, 5.0, 2.5, 1.0, 0.5, 0.25, 0.1)
"""mm/mV, the usual one first."""
COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
SHOWN = 10.0
"""Seconds on a sheet."""
ROW, TALLEST = 26.0, 190.0
"""mm: least height of a row, and most of a sheet of four rows at a gain that is not the last."""
MARGIN, PULSE, HEAD, FOOT, BETWEEN = 6.0, 8.0, 22.0, 12.0, 8.0
"""mm: left and right, the calibration pulse, room for the title, for the notice, and between two sheets."""
WIDTH = 2 * MARGIN + PULSE + SHOWN * SPEED
LABEL, AIR = 4.0, 1.5
"""mm: height of a lead's name, and what stays free above and below the traces of a row."""
TITLE, LINE = 100, 150
"""Letters that fit in the title and in a line below it."""
NOTICE = "Research use only, not for clinical diagnosis"
INK, OTHER, BEHIND = "#111111", "#b3202c", "#8a8f98"
SHADE = (0.10, 0.42, 0.75)
"""Red, green and blue of what is shaded behind the traces."""


class Strip(NamedTuple):
    """One lead's trace in a row: where it begins (s), t (s) and mV of its samples."""

    lead: str
    begin: float
    t: np.ndarray
    mv: np.ndarray


class Rows(NamedTuple):
    """How the four rows of a sheet lie.

    gain: mm/mV. above, below: mm that each row needs on both sides of its zero line. names: of each row, how many mm
    above that line its leads' names stand, over the beginning of their traces.
    """

    gain: float
    above: tuple[float, ...]
    below: tuple[float, ...]
    names: tuple[tuple[float, ...], ...]

    @property
    def height(self) -> float:
        return sum(self.above) + sum(self.below)

    def zeros(self, top: float) -> list[float]:
        """The zero line of each row of a sheet that begins at `top`."""
        return [top - sum(self.above[: k + 1]) - sum(self.below[:k]) for k in range(len(self.above))]


def plot(
    ecg: ECG,
    path: str | Path | None = None,
    *,
    reference: ECG | None = None,
    layout: str = "overlay",
    title: str | None = None,
    shade: np.ndarray | None = None,
    ax: Any = None,
    fig: Any = None,
) -> Path | Figure | Any:
    """Draw to PNG, SVG or PDF (by the ending), true to scale at the file's own size. Returns the path.

    reference: another ECG, drawn under this one in grey ("overlay") or above it on a sheet of its own ("stacked").
    A synthetic ECG is drawn in red and marked SYNTHETIC. shade: for each sample of the ECG, how dark the paper behind
    it is, from 0 to 1. Without a path the figure is returned; with `ax` (axes of
    matplotlib) or `fig` (a figure or subfigure) it is drawn there, and that is returned.
    """
    if not isinstance(ecg, ECG) or not isinstance(reference, ECG | None):
        raise TypeError(f"{type(ecg).__name__} and reference {type(reference).__name__}: expected ECGs")
    if layout not in ("overlay", "stacked"):
        raise ValueError(f"layout {layout!r}: expected 'overlay' or 'stacked'")
    if sum(place is not None for place in (path, ax, fig)) > 1:
        raise ValueError("expected one of a path, ax and fig")
    if path is not None:
        path = Path(path)
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise ValueError(f"{path.name}: expected a name that ends in .png, .svg or .pdf")
        return write_file(path, lambda p: figure_of(ecg, reference, layout, title, shade).savefig(p, dpi=150))
    if ax is not None:
        draw_page(ax, ecg, reference, layout, title, shade)
        return ax
    if fig is not None:
        draw_page(fig.add_axes((0, 0, 1, 1)), ecg, reference, layout, title, shade)
        return fig
    return figure_of(ecg, reference, layout, title, shade)


def png(ecg: ECG) -> bytes:
    """The sheet as the bytes of a PNG file, for a page or a notebook."""
    out = BytesIO()
    figure_of(ecg, None, "overlay", None).savefig(out, format="png", dpi=110)
    return out.getvalue()


def figure_of(
    ecg: ECG, reference: ECG | None, layout: str, title: str | None, shade: np.ndarray | None = None
) -> Figure:
    """A figure of the paper's own size."""
    figure = Figure(facecolor="white")
    FigureCanvasAgg(figure)
    width, height = draw_page(figure.add_axes((0, 0, 1, 1)), ecg, reference, layout, title, shade)
    figure.set_size_inches(width / 25.4, height / 25.4)
    return figure


def draw_page(
    axes: Any, ecg: ECG, reference: ECG | None, layout: str, title: str | None, shade: np.ndarray | None = None
) -> tuple[float, float]:
    """Everything, into axes whose units become mm. Returns width and height of the page in mm."""
    sheets = [[ecg]] if reference is None else [[reference, ecg]] if layout == "overlay" else [[reference], [ecg]]
    gain = min(rows_of(sheet).gain for sheet in sheets)
    rows = [rows_of(sheet, gain) for sheet in sheets]
    height = HEAD + FOOT + sum(r.height for r in rows) + (len(sheets) - 1) * BETWEEN
    axes.set(xlim=(0, WIDTH), ylim=(0, height), aspect="equal")
    axes.axis("off")
    top = height - HEAD
    for sheet, its in zip(sheets, rows, strict=True):
        paper(axes, MARGIN, top - its.height, WIDTH - 2 * MARGIN, its.height)
        if shade is not None and sheet[-1] is ecg:
            shaded(axes, shade[: int(SHOWN * ecg.rate) + 1], ecg.rate, top - its.height, top)
        for k, one in enumerate(sheet):
            behind = layout == "overlay" and one is reference
            color = BEHIND if behind else OTHER if one.synthetic and one is ecg else INK
            draw(axes, one, MARGIN + PULSE, top, color, its, labels=k == len(sheet) - 1)
        top -= its.height + BETWEEN
    words(axes, ecg, reference, layout, title, height, gain)
    return WIDTH, height


def strips(ecg: ECG) -> list[list[Strip]]:
    """The traces of the four rows, each lead around its median."""
    ecg = ecg.twelve()
    shown = ecg.signal[:, : int(SHOWN * ecg.rate) + 1].astype(np.float64)
    there = np.isfinite(shown).any(axis=1)
    middle = np.zeros((len(shown), 1))
    if shown.size:
        middle[there] = np.nanmedian(np.where(np.isfinite(shown[there]), shown[there], np.nan), axis=1, keepdims=True)
    signal = dict(zip(ecg.leads, np.where(np.isfinite(shown), shown - middle, np.nan), strict=True))
    t = np.arange(shown.shape[1]) / ecg.rate
    part = SHOWN / len(COLUMNS)
    plan = [[(column[row], part * k, part * (k + 1)) for k, column in enumerate(COLUMNS)] for row in range(3)]
    plan.append([("II", 0.0, SHOWN)])
    return [
        [Strip(lead, a, t[seen], signal[lead][seen]) for lead, a, b in row for seen in [(t >= a) & (t <= b)]]
        for row in plan
    ]


def label_height(strip: Strip, gain: float) -> float:
    """mm above the zero line where a lead's name stands: over the beginning of its trace."""
    start = strip.mv[strip.t < strip.begin + 0.5]
    return max(5.0, gain * float(np.nanmax(start)) + AIR) if np.isfinite(start).any() else 5.0


def rows_of(ecgs: list[ECG], gain: float | None = None) -> Rows:
    """Rows in which the traces of all these ECGs, and their calibration pulses, have room; at the
    largest gain that fits a sheet."""
    each = [strips(ecg) for ecg in ecgs]
    for mm in GAINS if gain is None else (gain,):
        above, below, names = [], [], []
        for row in range(4):
            traces = [strip for one in each for strip in one[row]]
            known = [strip.mv[np.isfinite(strip.mv)] for strip in traces]
            names.append(
                tuple(
                    max(label_height(one, mm) for one in same) for same in zip(*(one[row] for one in each), strict=True)
                )
            )
            up = max(mm, max(names[-1]) + LABEL, *(mm * float(x.max(initial=0.0)) for x in known)) + AIR
            down = max(mm * float(-x.min(initial=0.0)) for x in known) + AIR
            spare = max(0.0, ROW - up - down)
            above.append(float(np.ceil(up + 0.4 * spare)))  # whole mm, so that zero lines lie on the grid
            below.append(float(np.ceil(down + 0.6 * spare)))
        rows = Rows(mm, tuple(above), tuple(below), tuple(names))
        if rows.height <= TALLEST:
            break
    return rows


def paper(axes: Any, x: float, y: float, width: float, height: float) -> None:
    """The grid: a line every mm, a stronger one every 5 mm."""
    for step, color, line in ((1, "#f6d5cf", 0.25), (5, "#e9a9a0", 0.5)):
        vertical, horizontal = np.arange(x, x + width + 0.01, step), np.arange(y + height, y - 0.01, -step)
        axes.vlines(vertical, y, y + height, colors=color, linewidths=line, zorder=0)
        axes.hlines(horizontal, x, x + width, colors=color, linewidths=line, zorder=0)


def shaded(axes: Any, shade: np.ndarray, rate: float, bottom: float, top: float) -> None:
    """Darker paper where `shade` (one number from 0 to 1 a sample) is higher."""
    colours = np.concatenate([np.broadcast_to(SHADE, (len(shade), 3)), 0.6 * np.clip(shade, 0, 1)[:, None]], 1)
    begin = MARGIN + PULSE
    extent = (begin, begin + SPEED * len(shade) / rate, bottom, top)
    axes.imshow(colours[None], extent=extent, aspect="auto", interpolation="bilinear", zorder=1)
    axes.set(aspect="equal")


def draw(axes: Any, ecg: ECG, x: float, top: float, color: str, rows: Rows, *, labels: bool) -> None:
    """One ECG on a sheet whose traces begin at x and whose first row begins at top (mm).
    labels: also names and pulses."""
    for row, (zero, traces) in enumerate(zip(rows.zeros(top), strips(ecg), strict=True)):
        if labels:
            pulse(axes, x - PULSE + 1, zero, rows.gain)
        for strip, over in zip(traces, rows.names[row], strict=True):
            axes.plot(
                x + SPEED * strip.t,
                zero + rows.gain * strip.mv,
                color=color,
                linewidth=0.8,
                zorder=4 if labels else 3,
                solid_joinstyle="round",
            )
            if labels:
                # Over the grid and under the traces: no name may hide a wave.
                ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
                place = (x + SPEED * strip.begin + 1, zero + over)
                axes.text(*place, strip.lead, fontsize=8, weight="bold", color=INK, zorder=2.5, bbox=ground)
                if strip.begin:
                    axes.vlines(x + SPEED * strip.begin, zero - 3, zero + 3, colors=INK, linewidths=0.6, zorder=2)


def pulse(axes: Any, x: float, zero: float, gain: float) -> None:
    """The calibration pulse: 1 mV for 0.2 s."""
    step = 0.2 * SPEED
    across = [x, x + 1, x + 1, x + 1 + step, x + 1 + step, x + 2 + step]
    axes.plot(across, [zero, zero, zero + gain, zero + gain, zero, zero], color=INK, linewidth=0.8, zorder=3)


def words(
    axes: Any, ecg: ECG, reference: ECG | None, layout: str, title: str | None, height: float, gain: float
) -> None:
    """Title, a line about each ECG, and the foot."""
    axes.text(
        MARGIN,
        height - 7,
        shortened(title or ecg.name or "ECG", TITLE),
        fontsize=10,
        weight="bold",
        color=INK,
        va="center",
    )
    lines = (
        [(ecg, "synthetic" if ecg.synthetic else "recorded")]
        if reference is None
        else [(reference, "reference"), (ecg, "twin")]
    )
    for row, (one, what) in enumerate(lines):
        rate = one.heart_rate() if one.rate >= 50 else None
        known = [f"{rate:.0f}/min" if rate else "heart rate not measurable", *([one.sex] if one.sex else [])]
        known += [f"{one.age:.0f} years"] if one.age is not None else []
        known += [f"first {SHOWN:g} s of {one.seconds:.0f} s"] if one.seconds > 1.02 * SHOWN else []
        color = OTHER if one is ecg and ecg.synthetic else INK if layout == "stacked" or one is ecg else "#5c6068"
        text = shortened(f"{what}: " + ", ".join([*known, *one.reports]), LINE)
        axes.text(MARGIN, height - 13 - 4.5 * row, text, fontsize=8, color=color, va="center")
    half = (
        ""
        if gain == GAINS[0]
        else f" ({'half' if gain == GAINS[0] / 2 else 'reduced'} gain: 1 mV is as high as the calibration pulse)"
    )
    foot = f"{SPEED:g} mm/s   {gain:g} mm/mV{half}   {NOTICE}"
    axes.text(MARGIN, 5, foot, fontsize=7, color="#555555", va="center")
    if ecg.synthetic:
        axes.text(WIDTH - MARGIN, 5, "SYNTHETIC", fontsize=11, weight="bold", color=OTHER, ha="right", va="center")


def shortened(text: str, most: int) -> str:
    """On one line of at most so many letters; "$" would begin a formula."""
    text = " ".join(str(text).split())
    return (text if len(text) <= most else text[: most - 2].rstrip() + " …").replace("$", r"\$")
