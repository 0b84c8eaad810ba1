"""What all formats share: what the caller says of a file, units, and which channels are leads."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..leads import LEADS, canonical

UNITS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "millivolt": 1.0, "microvolt": 1e-3, "volt": 1e3}


@dataclass(frozen=True)
class Given:
    """What the caller says of a file that does not say it, or says it wrongly.

    units: "mV", "uV" or "V". rate: Hz. leads: a name for each channel, in the order of the file.
    """

    units: str | None = None
    rate: float | None = None
    leads: tuple[str, ...] | None = None


def missing(path: Path) -> str:
    """A message for a file that does not exist, with the nearest names beside it."""
    if not path.parent.is_dir():
        return f"no record {path}: the folder {path.parent} does not exist"
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3, cutoff=0.5)
    return f"no record {path}" + (f"; near names there: {', '.join(near)}" if near else "")


def factor(units: str, where: str) -> float:
    """mV per unit."""
    found = UNITS.get(units.strip().lower())
    if found is None:
        raise ValueError(f"{where}: unit {units!r}: expected mV, uV or V")
    return found


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
    if not found:
        raise ValueError(f"{where}: channels {', '.join(others) or 'without names'}: none is one of {', '.join(LEADS)}")
    return tuple(found), kept, (f"channels left out: {', '.join(others)}",) if others else ()


def refuse_microvolts(signal: np.ndarray, where: str) -> None:
    """No heart makes |x| > 20 mV off its median; an artefact does, but not for 5 % of the samples of a lead."""
    for row in signal:
        row = row[np.isfinite(row)]
        off = np.abs(row - np.median(row)) if len(row) else np.zeros(1)
        if np.percentile(off, 95) <= 20:
            continue
        raise ValueError(f"{where}: values up to {off.max():.0f} mV: looks like microvolts: pass units='uV'")
