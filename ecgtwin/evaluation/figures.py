"""A figure: what is measured, which way is better, and its value in every row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..metrics.bootstrap import Estimate, mean

Better = Literal["less", "more", "real"]


@dataclass(frozen=True)
class Figure:
    """better: "real" where the aim is the value of the row `real`. rows: name -> estimate, the interval NaN where
    none is known. n: ECGs. samples: row -> value of each ECG, for paired comparisons; groups: whose each is. values:
    row -> values whose distribution is drawn. note: what a reader must be warned of."""

    name: str
    unit: str
    better: Better
    meaning: str
    rows: Mapping[str, Estimate]
    n: int
    samples: Mapping[str, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """For JSON: numbers that are not finite become None."""
        out: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "better": self.better,
            "meaning": self.meaning,
            "n": self.n,
            "rows": {k: [rounded(v) for v in e] for k, e in self.rows.items()},
        }
        if self.samples and self.groups is not None:
            out["groups"] = [int(g) for g in self.groups]
            out["samples"] = {k: [rounded(v) for v in x] for k, x in self.samples.items()}
        if self.values:
            out["histogram"] = histogram(self.values)
        if self.note:
            out["note"] = self.note
        return out


@dataclass(frozen=True)
class Table:
    """Numbers that are no figures with rows to be measured against: lines of `columns`, None where there is none."""

    title: str
    note: str
    columns: Sequence[str]
    lines: Mapping[str, Sequence[float | None]]

    def plain(self) -> dict[str, Any]:
        lines = {
            name: [None if v is None else v if isinstance(v, int) else rounded(v) for v in values]
            for name, values in self.lines.items()
        }
        return {"title": self.title, "note": self.note, "columns": list(self.columns), "lines": lines}


@dataclass(frozen=True)
class Section:
    """One question of the report, and what answers it."""

    title: str
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()

    def plain(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "figures": [f.plain() for f in self.figures],
            "tables": [t.plain() for t in self.tables],
        }


def histogram(values: Mapping[str, np.ndarray], bins: int = 30) -> dict[str, Any]:
    """Shares of each row's values in bins that all rows have in common; what is beyond the middle 98 % of them all
    counts in the outermost bins."""
    finite = {k: x[np.isfinite(x)] for k, x in ((k, np.asarray(v, float)) for k, v in values.items())}
    every = np.concatenate([np.empty(0), *finite.values()])
    if not len(every):
        return {"edges": [], "shares": {}}
    low, high = np.quantile(every, [0.01, 0.99])
    edges = np.linspace(low, max(high, low + 1e-6), bins + 1)
    shares = {k: np.histogram(x.clip(edges[0], edges[-1]), edges)[0] / max(1, len(x)) for k, x in finite.items()}
    return {
        "edges": [rounded(e) for e in edges],
        "shares": {k: [round(float(v), 4) for v in x] for k, x in shares.items()},
    }


def rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def averaged(
    name: str,
    unit: str,
    better: Better,
    meaning: str,
    values: Mapping[str, np.ndarray],
    patients: np.ndarray,
    *,
    drawn: bool = False,
) -> Figure:
    """A mean over ECGs of each row's values (n,), with intervals over patients. drawn: with their distribution."""
    rows = {k: mean(v, patients) for k, v in values.items()}
    return Figure(name, unit, better, meaning, rows, len(patients), values, patients, values if drawn else {})


def bare(value: float) -> Estimate:
    """An estimate without an interval."""
    return Estimate(float(value), float("nan"), float("nan"))
