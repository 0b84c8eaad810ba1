"""Columns of numbers with names, as CSV files and data frames have them: leads, and perhaps a time."""

import re
from collections.abc import Mapping, Sequence
from reprlib import repr as brief
from typing import Any

import numpy as np

from ..record import ECG
from .channels import Given, Unsaid, factor, refuse_large, standard_leads

UNIT = re.compile(r"[\[(_ ](mv|uv|µv|μv|v)[\])]?$", re.IGNORECASE)


def from_columns(
    names: Sequence[str],
    values: np.ndarray,
    given: Given,
    where: str,
    *,
    said: Mapping[str, str],
    known: Mapping[str, Any],
) -> ECG:
    """An ECG of columns (columns, samples), named "I" or "I (uV)"; a column time (s) or time_ms gives the rate.

    said: units, rate (Hz) and gain (steps per mV) as the file says them; what the caller says goes before.
    known: further fields of the ECG. Whatever had to be assumed is in the ECG's notes. Unsaid where the rate,
    the unit or the leads cannot be told.
    """
    names, notes = [str(name) for name in names], []
    time = next((k for k, n in enumerate(names) if re.match(r"time|t$|t[ _(]", n.strip().lower())), None)
    own = said_number(said, "rate", where)
    rate = own if given.rate is None else given.rate
    if own not in (None, rate):
        notes.append(f"the file says {own:g} Hz, but {rate:g} Hz were given and taken")
    if time is not None:
        if rate is None:
            rate = rate_of(values[time] * (1e-3 if "ms" in names[time].lower() else 1.0), where)
            notes.append(f"rate {rate:g} Hz from the time column")
        values, names = np.delete(values, time, 0), names[:time] + names[time + 1 :]
    if rate is None:
        raise Unsaid(
            f"{where}: no sampling rate: add a time column or a line '# rate: 500', or give the rate in Hz", "rate"
        )
    units = [UNIT.search(n) for n in names]
    plain = [n[: m.start()] if m else n for n, m in zip(names, units, strict=True)]
    if given.leads is not None:
        if len(given.leads) != len(plain):
            raise Unsaid(
                f"{where}: leads names {len(given.leads)} columns, the file has {len(plain)} besides time", "leads"
            )
        plain = list(given.leads)
    found, kept, left = standard_leads(plain, where)
    gain = given.gain if given.gain is not None else said_number(said, "gain", where)
    if gain is not None and given.units is None:
        signal = values[kept] / gain
        notes.append(f"{gain:g} steps of the converter are 1 mV" + ("" if given.gain is None else ", as given"))
    else:
        named = [units[k].group(1) if units[k] else None for k in kept]
        common = said.get("units")
        if given.units is None and common is None and None in named:
            notes.append("no unit is given: mV assumed")
        scale = [factor(given.units or own or common or "mV", where) for own in named]
        signal = values[kept] * np.array(scale)[:, None]
    if given.units is None:
        refuse_large(signal, where)
    return ECG(signal, rate, found, **{**known, "notes": (*left, *notes, *known.get("notes", ()))})


def rate_of(time: np.ndarray, where: str) -> float:
    """Hz of a time column in s, from its whole length: steps of rounded times say little about the rate."""
    advice = "give the rate in Hz, or cut the file there"
    if len(time) < 2 or not np.isfinite(time).all() or not time[-1] > time[0]:
        raise Unsaid(f"{where}: the time column does not rise: give the rate in Hz", "rate")
    length = time[-1] - time[0]
    rate = (len(time) - 1) / length
    if rate <= 2:
        raise Unsaid(
            f"{where}: times are {1 / rate:g} s apart: call the column time_ms if they are ms, or give the rate in Hz",
            "rate",
        )
    off = np.abs(time - np.linspace(time[0], time[-1], len(time)))
    if off.max() * rate > 1:
        steps = np.abs(np.diff(time) * rate - 1)
        raise Unsaid(
            f"{where}: the time column is not even, most of all near {time[steps.argmax()]:.3f} s: {advice}", "rate"
        )
    slack = rate * 2 * off.max() / length + 1e-6  # how well rounded times can tell the rate
    return next((near for near in (round(rate, 0), round(rate, 1)) if abs(near - rate) <= slack), rate)


def said_number(said: Mapping[str, str], key: str, where: str) -> float | None:
    """A positive number that a file says ("500 Hz", "204.8 /mV"), None where it does not."""
    if key not in said:
        return None
    match = re.match(r"[-+.\deE]+", said[key])
    try:
        value = float(match[0]) if match else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value < 1e12:
        raise Unsaid(f"{where}: {key} {brief(said[key])}: expected a positive number", key)
    return value
