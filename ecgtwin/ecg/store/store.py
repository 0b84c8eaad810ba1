"""A data set as one folder: signals of one shape and rate in one file, and a column for everything known about them.

    store.json      rate, leads, gain, source, versions, statements, counts, digests; written last
    signals.npy     (N, 8, samples) int16, 1 uV per step
    columns/        one .npy per number; for text one .bin (UTF-8, end to end) and one .npy of N + 1 offsets

Nothing is loaded when a store is opened. Signals are read by position (`Store.read`), not through a memory map, so that
memory stays flat however many rows there are; `Store.signals` is the map for those who want one.
"""

import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.fields import SEXES
from ..quality import BAD, FLAGS, bits
from ..record import ECG
from .columns import GAIN, SPLITS, Texts, fingerprint, load, rising
from .facts import KINDS, read_facts

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Store:
    """A prepared data set; `Store.open(folder)`. facts: the content of store.json."""

    folder: Path
    facts: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """FileNotFoundError where there is no finished store, ValueError where it is damaged or of another format."""
        folder = Path(folder)
        return cls(folder, read_facts(folder))

    def __len__(self) -> int:
        return self.facts["ecgs"]

    @property
    def rate(self) -> float:
        """Hz."""
        return self.facts["rate"]

    @property
    def leads(self) -> tuple[str, ...]:
        return tuple(self.facts["leads"])

    @property
    def samples(self) -> int:
        return self.facts["samples"]

    @property
    def source(self) -> str:
        return self.facts["source"]

    @property
    def digest(self) -> str:
        """A fingerprint of all signals and columns."""
        return self.facts["digest"]

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All statements that occur."""
        return tuple(self.facts["statements"])

    @cached_property
    def signals(self) -> np.ndarray:
        """(N, 8, samples) int16 steps of 1 uV, memory-mapped."""
        return load(self.folder / "signals.npy")

    @cached_property
    def _file(self) -> tuple[int, int]:
        """File descriptor and where the first row begins."""
        signals = self.signals
        if (
            signals.shape != (len(self), len(self.leads), self.samples)
            or signals.dtype != np.int16
            or not signals.flags.c_contiguous
        ):
            raise ValueError(
                f"{signals.filename} holds {signals.dtype} {signals.shape}: it does not belong to this store"
            )
        number = os.open(signals.filename, os.O_RDONLY)
        weakref.finalize(self, os.close, number)
        return number, signals.offset

    def __reduce__(self):
        return Store.open, (self.folder,)  # an open file does not travel to another process

    def read(self, rows: Sequence[int] | np.ndarray | slice, out: np.ndarray | None = None) -> np.ndarray:
        """Signals (k, 8, samples) int16 in steps of 1 uV, in the order asked for. out: an array
        to fill, to save allocation."""
        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, np.int64)
        if len(rows) and not (0 <= rows.min() and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()}: the store has rows 0 to {len(self) - 1}")
        if out is None:
            out = np.empty((len(rows), len(self.leads), self.samples), np.int16)
        if not hasattr(os, "preadv"):  # Windows
            return np.take(self.signals, rows, 0, out=out)
        number, first = self._file
        size = out[0].nbytes if len(rows) else 0
        place = memoryview(out.reshape(len(rows), -1)).cast("B") if len(rows) else b""
        for k, row in enumerate(rows.tolist()):
            if os.preadv(number, [place[k * size : (k + 1) * size]], first + row * size) != size:
                raise ValueError(
                    f"{self.folder / 'signals.npy'} ends before row {row}: the store is damaged, prepare it again"
                )
        return out

    def millivolts(self, rows: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Signals (k, 8, samples) float32 in mV."""
        return self.read(rows) * np.float32(1 / GAIN)

    def column(self, name: str) -> np.ndarray:
        """One number per row, memory-mapped: patient (place in `patients`), time, sex (place in SEXES), age (years),
        heart_rate and heart_rate_given (beats/min), flags, split (place in SPLITS), fold, start (s), valid (samples
        that are recorded), hash, ..."""
        if name not in self._columns:
            if name not in {*self.facts["columns"], "statements", "statement_offsets"}:
                raise KeyError(f"no column {name!r:.60}: this store has {', '.join(self.facts['columns'])}")
            path = self.folder / "columns" / f"{name}.npy"
            values = load(path)
            limits = {"sex": len(SEXES), "split": len(SPLITS), "statements": len(self.vocabulary)}
            limits["patient"] = len(self.texts("patients")) if name == "patient" else 0
            rows = {"statements": len(values) if values.ndim else 0, "statement_offsets": len(self) + 1}.get(
                name, len(self)
            )
            fits = (
                values.ndim == (2 if name == "print" else 1)
                and len(values) == rows
                and values.dtype.kind in KINDS.get(name, "f")
            )
            if fits and name in limits and len(values):
                fits = 0 <= values.min() and values.max() < limits[name]
            if not fits:
                raise ValueError(f"{path} does not belong to this store: copy or prepare it again")
            self._columns[name] = values
        return self._columns[name]

    def texts(self, name: str) -> Texts:
        """One text per row: name, report (lines joined with "|"), codes. Or one per patient: patients."""
        if name not in self.facts["texts"]:
            raise KeyError(f"no text column {name!r}: this store has {', '.join(self.facts['texts'])}")
        if name not in self._texts:
            texts = Texts(self.folder / "columns", name)
            if name != "patients" and len(texts) != len(self):
                raise ValueError(
                    f"{self.folder / 'columns' / name}.npy has {len(texts)} texts for {len(self)} ECGs: "
                    "prepare the store again"
                )
            self._texts[name] = texts
        return self._texts[name]

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _texts(self) -> dict[str, Texts]:
        return {}

    @cached_property
    def _statements(self) -> tuple[np.ndarray, np.ndarray]:
        ids, offsets = self.column("statements"), self.column("statement_offsets")
        if not rising(offsets, len(ids)):
            raise ValueError(
                f"{self.folder / 'columns'}: statements and their offsets do not belong together: "
                "prepare the store again"
            )
        return ids, offsets

    def statement_ids(self, row: int) -> np.ndarray:
        """Places in `vocabulary` of one row's statements."""
        ids, offsets = self._statements
        return np.asarray(ids[offsets[row] : offsets[row + 1]])

    def statements(self, row: int) -> tuple[str, ...]:
        return tuple(self.facts["statements"][k] for k in self.statement_ids(row))

    def flags(self, row: int) -> tuple[str, ...]:
        value = int(self.column("flags")[row])
        return tuple(name for k, name in enumerate(FLAGS) if value >> k & 1)

    def flagged(self, *names: str) -> np.ndarray:
        """(N,) whether a row has any of these flags."""
        return (np.asarray(self.column("flags")) & np.uint32(bits(*names))) != 0

    @cached_property
    def usable(self) -> np.ndarray:
        """(N,) whether a row has none of the flags in BAD."""
        return ~self.flagged(*BAD)

    def rows(self, split: str | None = None) -> np.ndarray:
        """Usable rows, of one split or of all."""
        if split is None:
            return np.flatnonzero(self.usable)
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.usable & (np.asarray(self.column("split")) == SPLITS.index(split)))

    @cached_property
    def people(self) -> np.ndarray:
        """(N,) each row's patient as a place in texts `patients`, -1 where the patient is not known."""
        return np.where(self.flagged("patient_unknown"), -1, np.asarray(self.column("patient"), np.int64))

    def patient(self, row: int) -> str:
        return self.texts("patients")[int(self.column("patient")[row])]

    def ecg(self, row: int) -> ECG:
        """One row as an ECG of the 8 independent leads; its notes are the row's flags."""
        age = float(self.column("age")[row])
        flags = self.flags(row)
        return ECG(
            self.millivolts([row])[0],
            self.rate,
            self.leads,
            patient=self.patient(row),
            sex=SEXES[int(self.column("sex")[row])],
            age=None if np.isnan(age) else age,
            reports=self.statements(row),
            name=self.texts("name")[row],
            synthetic="synthetic" in flags,
            notes=flags,
        )

    def table(self, rows: Sequence[int] | np.ndarray | None = None) -> "DataFrame":
        """What is known about rows (None: all) in plain types, indexed by row; for looking at,
        a few hundred thousand at most.

        Columns: name, patient, time, split, sex, age, heart_rate, heart_rate_given, statements
        (tuple), codes, report, flags (tuple).
        """
        import pandas as pd

        rows = np.arange(len(self)) if rows is None else np.asarray(rows)
        numbers = {
            name: np.asarray(self.column(name))[rows] for name in ("time", "age", "heart_rate", "heart_rate_given")
        }
        split, sex = (np.asarray(self.column(name))[rows] for name in ("split", "sex"))
        return pd.DataFrame(
            {
                "name": [self.texts("name")[r] for r in rows.tolist()],
                "patient": [self.patient(r) for r in rows.tolist()],
                "split": [SPLITS[k] for k in split],
                "sex": pd.Series([SEXES[k] for k in sex], index=rows, dtype=object),
                **numbers,
                "statements": [self.statements(r) for r in rows.tolist()],
                "codes": [self.texts("codes")[r] for r in rows.tolist()],
                "report": [self.texts("report")[r] for r in rows.tolist()],
                "flags": [self.flags(r) for r in rows.tolist()],
            },
            index=rows,
        )

    def verify(self) -> list[int]:
        """Rows whose signals are not those that were written; reads everything."""
        expected, bad = self.column("hash"), []
        for start in range(0, len(self), 1024):
            rows = np.arange(start, min(start + 1024, len(self)))
            bad += [int(r) for r, x in zip(rows, self.read(rows), strict=True) if fingerprint(x) != expected[r]]
        return bad
