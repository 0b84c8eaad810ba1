"""What all formats share: what the caller says of a file, units, and which channels are leads."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as brief

import numpy as np

from ..leads import LEADS, canonical

UNITS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "millivolt": 1.0, "microvolt": 1e-3, "volt": 1e3}
COUNTS = {"adu", "adc", "count", "counts", "digital", "lsb", "raw", "nu"}
"""What files call the steps of their converter."""


class Unsaid(ValueError):
    """A file does not say, or says wrongly, what the caller can say. options: the names of what
    helps, of `Given`'s fields."""

    def __init__(self, message: str, *options: str):
        super().__init__(message)
        self.options = options


@dataclass(frozen=True)
class Given:
    """What the caller says of a file that does not say it, or says it wrongly.

    units: "mV", "uV" or "V". rate: Hz. leads: a name for each channel, in the order of the file. gain: steps of the
    converter per mV, where a table holds its bare counts. identify: take the patient's ID over from files of ECG
    machines, which is left behind otherwise.
    """

    units: str | None = None
    rate: float | None = None
    leads: tuple[str, ...] | None = None
    gain: float | None = None
    identify: bool = False

    def __post_init__(self):
        if self.units is not None and not isinstance(self.units, str):
            raise TypeError(f"units {brief(self.units)}: expected 'mV', 'uV' or 'V'")
        for name, what in (("rate", "Hz"), ("gain", "steps per mV")):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float, np.number)) and 0 < value < 1e12):
                raise ValueError(f"{name} {brief(value)}: expected a positive number of {what}")
        if self.gain is not None and self.units is not None:
            raise ValueError(
                "units and gain are both given: a unit is for volts, a gain for counts of a converter; give one"
            )
        if isinstance(self.leads, str) or self.leads is not None and not all(isinstance(n, str) for n in self.leads):
            raise TypeError(f"leads {brief(self.leads)}: expected a name for each channel, such as ('I', 'II', 'V1')")


def factor(units: str, where: str) -> float:
    """mV per unit."""
    name = units.strip().lower()
    if name in COUNTS:
        raise Unsaid(f"{where}: unit {brief(units)} is a converter's step: give its gain, in steps per mV", "gain")
    if name not in UNITS:
        raise Unsaid(f"{where}: unit {brief(units)}: expected mV, uV or V", "units")
    return UNITS[name]


def missing(path: Path) -> str:
    """A message for a file that does not exist, with the nearest names beside it."""
    if not path.parent.is_dir():
        return f"no record {path}: the folder {path.parent} does not exist"
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3, cutoff=0.5)
    return f"no record {path}" + (f"; near names there: {', '.join(near)}" if near else "")


def standard_leads(names: Iterable[str], where: str) -> tuple[tuple[str, ...], list[int], tuple[str, ...]]:
    """Standard leads among channel names, their positions, and notes on what was left out."""
    found, kept, others = [], [], []
    for k, name in enumerate(names):
        try:
            lead = canonical(name)
        except ValueError:
            others.append(name or "(no name)")
            continue
        if lead in found:
            raise ValueError(f"{where}: lead {lead} occurs twice")
        found.append(lead)
        kept.append(k)
    seen = ", ".join(others[:12])[:200] + (" …" if len(others) > 12 else "")
    if not found:
        raise Unsaid(f"{where}: channels {seen or 'without names'}: none is one of {', '.join(LEADS)}", "leads")
    return tuple(found), kept, (f"channels left out: {seen}",) if others else ()


def refuse_large(signal: np.ndarray, where: str) -> None:
    """No heart makes |x| > 20 mV off its median; an artefact does, but not for 5 % of the samples of a lead."""
    for row in signal:
        row = row[np.isfinite(row)]
        off = np.abs(row - np.median(row)) if len(row) else np.zeros(1)
        if np.percentile(off, 95) > 20:
            raise Unsaid(f"{where}: values up to {off.max():.0f} mV: {TOO_LARGE}", "units", "gain")


TOO_LARGE = (
    "no heart makes that. If they are microvolts, give units uV; if they are counts of a converter, give its gain, in "
    "counts per mV (its data sheet or the header of the original file has it)"
)
