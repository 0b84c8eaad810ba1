"""`--measure`: quantities of references and of their twins side by side, on the screen and as a CSV table."""

import csv
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as brief
from typing import Any, NamedTuple

from ..atomic import write_file
from ..ecg.intervals import UNITS
from ..evaluation.explain import Explanation

SUFFIXES = {"/min": "per_min", "ms": "ms", "degrees": "degrees", "mV": "mv", "": ""}
FIRST = ("row", "record", "asked_for", "samples")


class Side(NamedTuple):
    """A line of the table: whose, and what was measured of reference and twins."""

    row: int
    record: str
    one: Explanation


def quantities(text: str | None) -> tuple[str, ...]:
    """Names of quantities with commas between them, or "all". ValueError with the nearest for one that is none."""
    if text is None:
        return ()
    names = tuple(dict.fromkeys(name.strip().lower().replace("-", "_") for name in text.split(",") if name.strip()))
    if names == ("all",):
        return tuple(UNITS)
    for name in names or ("",):
        if name not in UNITS:
            near = get_close_matches(name, UNITS, 3, 0.4)
            way = f"did you mean {' or '.join(near)}? All" if near else "known"
            raise ValueError(f"--measure {brief(name)}: {way}: {', '.join(UNITS)}; or all")
    return names


def columns(names: Iterable[str]) -> list[str]:
    """before: the reference, at the twins' rate. after: median of the samples. low, high: 10th and 90th centile."""
    titles = ("_".join(filter(None, (name, SUFFIXES[UNITS[name]]))) for name in names)
    return [*FIRST, *(f"{title}_{part}" for title in titles for part in ("before", "after", "low", "high"))]


def cells(side: Side, names: Sequence[str]) -> list[Any]:
    found = {row["quantity"]: row for row in side.one.rows if not row["lead"]}
    values = []
    for name in names:
        row, one = found.get(name, {}), len(side.one.twins) == 1  # of one sample there is no spread
        values += [row.get("reference"), row.get("twins"), *(None if one else row.get(k) for k in ("low", "high"))]
    return [side.row, side.record, str(side.one.condition), len(side.one.twins), *values]


def write(path: Path, sides: Iterable[Side], names: Sequence[str]) -> Path:
    """The table, whole; an empty cell: not measurable."""

    def fill(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(columns(names))
            out.writerows(cells(side, names) for side in sides)

    return write_file(path, fill)


def shown(one: Explanation, names: Sequence[str]) -> str:
    """For the screen: before, after, spread over the samples and change; a star where the change is clear."""
    lines = [f"{'':20} {'before':>14} {'after':>14} {'10 to 90 %':>18} {'change':>9}"]
    for row in one.rows:
        if row["lead"] or row["quantity"] not in names:
            continue
        around = "" if row["low"] is None or len(one.twins) == 1 else f"{row['low']:.4g} to {row['high']:.4g}"
        change = "" if row["change"] is None else f"{row['change']:+.4g}"
        values = f"{word(row['reference']):>14} {word(row['twins']):>14} {around:>18} {change:>9}"
        lines.append(f"{row['quantity']:20} {values} {row['unit']}{'  *' if row['clear'] else ''}")
    return "\n".join([*lines, "* changed by more than its spread over the samples and than reading errors"])


def word(value: Any) -> str:
    if value is None:
        return "not measurable"
    return (
        ("yes" if value else "no")
        if isinstance(value, bool)
        else f"{value:.4g}"
        if not isinstance(value, str)
        else value
    )
