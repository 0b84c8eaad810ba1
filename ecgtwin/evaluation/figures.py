"""A figure: what is measured, which way is better, and its value in every row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..metrics.bootstrap import Estimate, mean

Better = Literal["less", "more", "real"]


@dataclass(frozen=True)
class Figure:
    """better: "real" where the aim is the value of the row `real`. rows: name -> estimate, the interval NaN where
    none is known. n: ECGs. samples: row -> value of each ECG, for paired comparisons; groups: whose each is."""

    name: str
    unit: str
    better: Better
    meaning: str
    rows: Mapping[str, Estimate]
    n: int
    samples: Mapping[str, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None

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
        return out


def rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def averaged(
    name: str, unit: str, better: Better, meaning: str, values: Mapping[str, np.ndarray], patients: np.ndarray
) -> Figure:
    """A mean over ECGs of each row's values (n,), with intervals over patients."""
    rows = {k: mean(v, patients) for k, v in values.items()}
    return Figure(name, unit, better, meaning, rows, len(patients), values, patients)


def bare(value: float) -> Estimate:
    """An estimate without an interval."""
    return Estimate(float(value), float("nan"), float("nan"))
