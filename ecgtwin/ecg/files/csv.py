"""Tables of numbers as text: a column for each lead, named in the first row."""

import re
from pathlib import Path

import numpy as np

from ..record import ECG
from .channels import Given, factor, refuse_microvolts, standard_leads
from .fields import comments, describe


def read(path: Path, given: Given) -> ECG:
    """Columns are leads, named in the header row, "I" or "I (uV)"; a column time (s) or time_ms gives the rate."""
    units, rate, leads = given.units, given.rate, given.leads
    text = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    notes = [line.lstrip("# ") for line in text if line.startswith("#")]
    said = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in notes)}
    lines = [line for line in text if line.strip() and not line.startswith("#")]
    between = next((c for c in ";\t" if lines and c in lines[0]), ",")
    rows = [(line if between == "," else line.replace(",", ".")).split(between) for line in lines]  # "0,5;0,6" in much of Europe
    if len(rows) < 2:
        raise ValueError(f"{path}: expected a row of lead names and rows of numbers")
    names = [cell.strip().strip('"') for cell in rows[0]]
    headed = not all(is_number(cell) for cell in names)
    if not headed:
        if leads is None:
            raise ValueError(f"{path}: {len(names)} columns without names: pass leads=(…) in the order of the columns")
        names = list(leads)
    else:
        rows = rows[1:]
    if any(len(row) != len(names) for row in rows):
        bad = next(k for k, row in enumerate(rows) if len(row) != len(names))
        raise ValueError(f"{path}: row {bad + 1} has {len(rows[bad])} columns, {len(names)} are named")
    try:
        values = np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows]).T
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    time = next((k for k, n in enumerate(names) if re.match(r"time|t$|t[ _(]", n.lower())), None)
    if time is not None:
        if rate is None and "rate" not in said:
            rate = rate_of(values[time] * (1e-3 if "ms" in names[time].lower() else 1.0), str(path))
        values, names = np.delete(values, time, 0), names[:time] + names[time + 1 :]
    rate = said_rate(said.get("rate"), path) if rate is None else rate
    if rate is None:
        raise ValueError(f"{path}: no sampling rate: add a time column or a line '# rate: 500', or pass rate= in Hz")
    each = [re.search(r"[\[(_ ](mv|uv|µv|μv|v)[\])]?$", n.lower()) for n in names]
    plain = [n[: m.start()] if m else n for n, m in zip(names, each, strict=True)]
    if leads is not None and headed:
        if len(leads) != len(plain):
            raise ValueError(f"{path}: leads names {len(leads)} columns, the file has {len(plain)} besides time")
        plain = list(leads)
    found, kept, left = standard_leads(plain, str(path))
    common = units or said.get("units") or "mV"
    scale = [factor(each[k].group(1) if each[k] and units is None else common, str(path)) for k in kept]
    signal = values[kept] * np.array(scale)[:, None]
    if units is None:
        refuse_microvolts(signal, str(path))
    known = describe(notes)
    return ECG(signal, rate, found, name=path.stem, **known | {"notes": left + known["notes"]})


def rate_of(time: np.ndarray, where: str) -> float:
    """Hz of a time column in s, from its whole length: steps of rounded times say little about the rate."""
    advice = "pass rate= in Hz, or cut the file there"
    if len(time) < 2 or not np.isfinite(time).all() or not time[-1] > time[0]:
        raise ValueError(f"{where}: the time column does not rise: pass rate= in Hz")
    length = time[-1] - time[0]
    rate = (len(time) - 1) / length
    if rate <= 2:
        raise ValueError(f"{where}: times are {1 / rate:g} s apart: call the column time_ms if they are ms, or pass rate= in Hz")
    off = np.abs(time - np.linspace(time[0], time[-1], len(time)))
    if off.max() * rate > 1:
        steps = np.abs(np.diff(time) * rate - 1)
        raise ValueError(f"{where}: the time column is not even, most of all near {time[steps.argmax()]:.3f} s: {advice}")
    slack = rate * 2 * off.max() / length + 1e-6  # how well rounded times can tell the rate
    return next((near for near in (round(rate, 0), round(rate, 1)) if abs(near - rate) <= slack), rate)


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def said_rate(text: str | None, path: Path) -> float | None:
    if text is None:
        return None
    try:
        return float(text.lower().removesuffix("hz"))
    except ValueError:
        raise ValueError(f"{path}: rate {text!r}: expected a number of Hz") from None


def write(ecg: ECG, path: Path) -> list[Path]:
    lines = [f"# {line}" for line in ("units: mV", f"rate: {ecg.rate!r}", *comments(ecg))]
    lines.append(",".join(ecg.leads))
    lines += [",".join(f"{v:.5f}" for v in row) for row in ecg.signal.T]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [path]
