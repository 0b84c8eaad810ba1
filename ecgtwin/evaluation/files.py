"""ECGs that another program generated, scored like the model's own: a NumPy file with a table of what was asked for,
or a folder of records.

signals.npy     (N, leads, samples)
signals.csv     one line for each ECG: reports ("a|b"), sex, age, heart_rate, and reference, the name of the real ECG
that it was made of, where there is one; empty cells mean not given
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..ecg.leads import INDEPENDENT, LEADS
from ..ecg.record import ECG
from ..twin.condition import Condition
from .physics import residual
from .tasks import Held, Task

SEEDS_APART = 1_000_003
"""Between the seeds of two draws: no ECG of one has the seed of another's."""
UNITS = {"mV": 1.0, "uV": 1e-3, "V": 1e3}


@dataclass(frozen=True, eq=False)
class Made:
    """signals (N, 8, L) in mV at the store's rate; conditions: what was asked for; references: names of real ECGs,
    "" where there is none. limb_residual (N,): in uV, NaN where the file has not all limb leads."""

    signals: np.ndarray
    conditions: tuple[Condition, ...]
    references: tuple[str, ...]
    fingerprint: str
    limb_residual: np.ndarray

    def __len__(self) -> int:
        return len(self.signals)


def read_array(
    path: Path,
    *,
    rate: float | None,
    leads: Sequence[str] | None,
    unit: str | None,
    table: Path | None,
    wanted: float,
    samples: int,
) -> Made:
    """rate in Hz, leads and unit of the file, wanted and samples: of the store. ValueError says what is missing."""
    x = np.load(path, allow_pickle=False)
    if x.ndim != 3:
        raise ValueError(f"{path} holds an array {x.shape}: expected (N, leads, samples)")
    if rate is None or unit not in UNITS:
        raise ValueError(
            f"{path}: an array does not say its rate and unit: give --rate in Hz and --unit, one of {', '.join(UNITS)}"
        )
    if leads is None:
        raise ValueError(f"{path} has {x.shape[1]} unnamed leads: give --leads, such as {','.join(LEADS)}")
    table = table or path.with_suffix(".csv")
    if not table.is_file():
        raise ValueError(
            f"no table of conditions {table}: one line for each ECG with reports, sex, age, heart_rate, reference"
        )
    conditions, references = read_table(table)
    if len(conditions) != len(x):
        raise ValueError(f"{table} has {len(conditions)} lines, {path} {len(x)} ECGs: expected one line for each")
    ecgs = [ECG(one * UNITS[unit], rate, tuple(leads)) for one in x]
    signals = np.stack([fitted(e, wanted, samples) for e in ecgs])
    return Made(signals, conditions, references, fingerprint(signals), residuals(ecgs))


def read_table(table: Path) -> tuple[tuple[Condition, ...], tuple[str, ...]]:
    """What each line asks for, and the name of its reference, "" where there is none."""
    asked = pd.read_csv(table, dtype=str, keep_default_na=False)
    extra = set(asked.columns) - {"reports", "sex", "age", "heart_rate", "reference"}
    if extra:
        raise ValueError(
            f"{table}: column {sorted(extra)[0]!r} is not known; expected reports, sex, age, heart_rate, reference"
        )

    def cell(name: str, k: int) -> str:
        return asked[name][k].strip() if name in asked else ""

    conditions = []
    for k in range(len(asked)):
        age, beats = cell("age", k), cell("heart_rate", k)
        c = Condition(
            cell("reports", k), cell("sex", k) or None, float(age) if age else None, float(beats) if beats else None
        )
        conditions.append(c)
    return tuple(conditions), tuple(cell("reference", k) for k in range(len(asked)))


def read_folder(folder: Path, *, wanted: float, samples: int) -> Made:
    """Every WFDB, CSV or NPZ record of a folder, with the statements, sex and age that it carries; the heart rate
    asked for is not known."""
    paths = sorted(p for p in folder.iterdir() if p.suffix in (".hea", ".npz"))
    if not paths:
        raise ValueError(f"{folder} holds neither a model (config.json) nor records (.hea, .npz)")
    ecgs = [ECG.read(p) for p in paths]
    signals = np.stack([fitted(e, wanted, samples) for e in ecgs])
    conditions = tuple(Condition(e.reports, e.sex, e.age) for e in ecgs)
    return Made(signals, conditions, ("",) * len(ecgs), fingerprint(signals), residuals(ecgs))


def residuals(ecgs: Sequence[ECG]) -> np.ndarray:
    return np.array([residual(e) for e in ecgs])


def fitted(ecg: ECG, rate: float, samples: int) -> np.ndarray:
    """The 8 independent leads at the store's rate and length, as
    the store's recordings are: each lead's median at zero."""
    x = ecg.select(INDEPENDENT).resample(rate).signal
    if x.shape[1] < 0.95 * samples or not np.isfinite(x).all():
        raise ValueError(
            f"an ECG of {x.shape[1] / rate:.1f} s, or with missing samples: expected {samples / rate:g} s of "
            f"finite numbers"
        )
    x = np.pad(x, ((0, 0), (0, max(0, samples - x.shape[1]))), mode="edge")[:, :samples]
    return x - np.median(x, -1, keepdims=True)


def fingerprint(signals: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(signals, np.float32).tobytes()).hexdigest()[:16]


def as_task(made: Made, held: Held, names: Sequence[str]) -> Task:
    """What the file's ECGs were asked for."""
    return task_of(made.conditions, made.references, held, names)


def task_of(
    conditions: Sequence[Condition], references: Sequence[str], held: Held, names: Sequence[str], seed: int = 0
) -> Task:
    """Conditions asked of named references, "" where there is none: the row's own number then stands for its patient.
    ValueError for a name that is not among `names`, those of the ECGs of `held`."""
    place = {name: k for k, name in enumerate(names)}
    unknown = [r for r in references if r and r not in place]
    if unknown:
        raise ValueError(f"reference {unknown[0]!r} is not a held-out record of this store, such as {names[0]!r}")
    rows = np.array([place.get(r, -1) for r in references])
    alone = -2 - np.arange(len(rows))  # a patient of its own
    patients = np.where(rows >= 0, held.patients[rows], alone)
    signals = np.where((rows >= 0)[:, None, None], held.signals[rows], 0).astype(np.float32)
    own = tuple(held.conditions[k] if k >= 0 else Condition() for k in rows)
    return Task("file", signals, own, tuple(conditions), patients, seed * SEEDS_APART + np.arange(len(rows)))
