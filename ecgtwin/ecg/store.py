"""A data set as one folder: signals of one shape and rate in one file, and a column for everything known about them.

    store.json      rate, leads, gain, source, versions, statements, counts, digests; written last
    signals.npy     (N, 8, samples) int16, 1 uV per step
    columns/        one .npy per number; for text one .bin (UTF-8, end to end) and one .npy of N + 1 offsets

Nothing is loaded when a store is opened. Signals are read by position (`Store.read`), not through a memory map, so that
memory stays flat however many rows there are; `Store.signals` is the map for those who want one.
"""

import hashlib
import json
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .leads import INDEPENDENT
from .record import ECG

FORMAT = 1
GAIN = 1000.0
"""Steps per mV."""
SPLITS = ("train", "validation", "test")
SEXES = (None, "female", "male")

FLAGS = {
    "unreadable": "the file is damaged, or lacks leads that cannot be derived",
    "short": "shorter than the window",
    "missing_samples": "samples are missing (NaN) in gaps too long to bridge",
    "zero_lead": "a stored lead is zero throughout",
    "flat_lead": "a stored lead hardly moves (less than 20 uV between its 1st and 99th percentile)",
    "microvolts": "values over 20 mV throughout: the unit is probably not mV",
    "duplicate": "the same stored signal as an earlier row",
    "ptbxl_copy": "a PTB-XL record inside the Challenge collection, whose patient and fold are not known here",
    "bridged": "missing samples in gaps of at most 0.2 s, bridged by straight lines",
    "tail_cropped": "all leads constant at the end: cropped, and the window completed by mirroring",
    "end_mirrored": "up to 5 % shorter than the window: completed by mirroring",
    "offset": "a lead was more than 1 mV off zero; every lead's median is removed",
    "clipped": "values beyond +-32.767 mV were clipped",
    "spike": "values beyond 8 mV: pacing or artefact",
    "limb_mismatch": "limb leads in the file disagree by more than 0.03 mV (RMS) with I and II",
    "checksum": "samples do not add up to the checksum in the header",
    "age_over_89": "written as over 89 in the source, or 90 and more; stored as 90",
    "broken_text": "report text with characters that were lost in an earlier conversion",
    "sentinel": "a measurement of the machine was a code for 'not measured'",
    "rate_disagrees": "measured and given heart rate differ by more than 10 beats/min",
    "patient_unknown": "no patient id: makes no pairs",
    "pacemaker": "the source notes a pacemaker",
    "noise_noted": "the source notes drift, noise, or electrode problems",
    "synthetic": "made by a simulator or a model",
}
"""What can be said about a row -> meaning. The position is the bit in column `flags`."""
BAD = ("unreadable", "short", "missing_samples", "zero_lead", "flat_lead", "microvolts", "duplicate", "ptbxl_copy")
"""Flags that make a row unusable."""


def bits(*names: str) -> int:
    """The number that has these flags set."""
    order = list(FLAGS)
    return sum(1 << order.index(name) for name in names)


class Texts(Sequence[str]):
    """A text for each row, read when asked for."""

    def __init__(self, folder: Path, name: str):
        self._offsets = np.load(folder / f"{name}.npy", mmap_mode="r")
        self._bytes = np.memmap(folder / f"{name}.bin", np.uint8, "r") if self._offsets[-1] else np.empty(0, np.uint8)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> str:
        row = range(len(self))[row]
        return bytes(self._bytes[self._offsets[row] : self._offsets[row + 1]]).decode()

    @staticmethod
    def write(folder: Path, name: str, texts: Sequence[str]) -> None:
        lengths = np.zeros(len(texts) + 1, np.int64)
        with (folder / f"{name}.bin").open("wb") as file:
            for i, text in enumerate(texts):
                lengths[i + 1] = file.write(text.encode(errors="replace"))
        np.save(folder / f"{name}.npy", np.cumsum(lengths))


@dataclass(frozen=True, eq=False)
class Store:
    """A prepared data set; `Store.open(folder)`. facts: the content of store.json."""

    folder: Path
    facts: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """FileNotFoundError where there is no finished store, ValueError where it is damaged or of another format."""
        folder = Path(folder)
        path = folder / "store.json"
        if not path.is_file():
            begun = folder.with_name(folder.name + ".part").is_dir()
            advice = "its preparation was not finished: run the same `ecgtwin data prepare` again" if begun else (
                "a store is made by `ecgtwin data prepare`"
            )  # fmt: skip
            raise FileNotFoundError(f"no store at {folder}: {advice}")
        try:
            facts = json.loads(path.read_text())
            if facts["format"] != FORMAT:
                raise ValueError(f"{path} has format {facts['format']}: this version reads format {FORMAT}; prepare it again")
            expected = facts["ecgs"] * len(facts["leads"]) * facts["samples"] * 2
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}): prepare the store again") from None
        signals = folder / "signals.npy"
        size = signals.stat().st_size if signals.is_file() else -1
        if size < expected:
            raise ValueError(f"{signals} has {size} bytes, {expected} and a header are expected: copy or prepare it again")
        return cls(folder, facts)

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
        return np.load(self.folder / "signals.npy", mmap_mode="r")

    @cached_property
    def _file(self) -> tuple[int, int]:
        """File descriptor and where the first row begins."""
        with (self.folder / "signals.npy").open("rb") as file:
            np.lib.format.read_magic(file)
            shape, order, kind = np.lib.format.read_array_header_1_0(file)
            if shape != (len(self), len(self.leads), self.samples) or order or kind != np.int16:
                raise ValueError(f"{file.name} holds {kind} {shape}: it does not belong to this store")
            number = os.open(file.name, os.O_RDONLY)
            weakref.finalize(self, os.close, number)
            return number, file.tell()

    def __reduce__(self):
        return Store.open, (self.folder,)  # an open file does not travel to another process

    def read(self, rows: Sequence[int] | np.ndarray | slice, out: np.ndarray | None = None) -> np.ndarray:
        """Signals (k, 8, samples) int16 in steps of 1 uV, in the order asked for. out: an array to fill, to save allocation."""
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
                raise ValueError(f"{self.folder / 'signals.npy'} ends before row {row}: the store is damaged, prepare it again")
        return out

    def millivolts(self, rows: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Signals (k, 8, samples) float32 in mV."""
        return self.read(rows) * np.float32(1 / GAIN)

    def column(self, name: str) -> np.ndarray:
        """One number per row, memory-mapped: patient (place in `patients`), time, sex (place in SEXES), age (years), heart_rate and
        heart_rate_given (beats/min), flags, split (place in SPLITS), fold, start (s), valid (samples that are recorded), hash, ..."""
        path = self.folder / "columns" / f"{name}.npy"
        if name not in self._columns:
            if name in self.facts["texts"] or not path.is_file():
                raise KeyError(f"no column {name!r}: this store has {', '.join(self.facts['columns'])}")
            self._columns[name] = np.load(path, mmap_mode="r")
        return self._columns[name]

    def texts(self, name: str) -> Texts:
        """One text per row: name, report (lines joined with "|"), codes. Or one per patient: patients."""
        if name not in self.facts["texts"]:
            raise KeyError(f"no text column {name!r}: this store has {', '.join(self.facts['texts'])}")
        if name not in self._texts:
            self._texts[name] = Texts(self.folder / "columns", name)
        return self._texts[name]

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _texts(self) -> dict[str, Texts]:
        return {}

    @cached_property
    def _statements(self) -> tuple[np.ndarray, np.ndarray]:
        return self.column("statements"), self.column("statement_offsets")

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

    def table(self, rows: Sequence[int] | np.ndarray | None = None) -> pd.DataFrame:
        """What is known about rows (None: all) in plain types, indexed by row; for looking at, a few hundred thousand at most.

        Columns: name, patient, time, split, sex, age, heart_rate, heart_rate_given, statements (tuple), codes, report, flags (tuple).
        """
        rows = np.arange(len(self)) if rows is None else np.asarray(rows)
        numbers = {name: np.asarray(self.column(name))[rows] for name in ("time", "age", "heart_rate", "heart_rate_given")}
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

    def batches(self, size: int, generator: np.random.Generator, split: str | None = "train") -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """One epoch in random order: (rows, signals (size, 8, samples) int16). A last, smaller batch is left out."""
        order = generator.permutation(self.rows(split))
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            yield rows, self.read(rows)

    def verify(self) -> list[int]:
        """Rows whose signals are not those that were written; reads everything."""
        expected, bad = self.column("hash"), []
        for start in range(0, len(self), 1024):
            rows = np.arange(start, min(start + 1024, len(self)))
            bad += [int(r) for r, x in zip(rows, self.read(rows), strict=True) if fingerprint(x) != expected[r]]
        return bad


def fingerprint(signal: np.ndarray) -> np.uint64:
    """64 bits that are equal for bit-identical signals."""
    return np.frombuffer(hashlib.blake2b(np.ascontiguousarray(signal), digest_size=8).digest(), "<u8")[0]


def empty_signals(path: Path, rows: int, samples: int) -> int:
    """Make a signals file of zeros that takes no room on disk yet. Returns where its first row begins, in bytes."""
    array = np.lib.format.open_memmap(path, "w+", np.int16, (rows, len(INDEPENDENT), samples))
    return array.offset
