"""The last step of making a store: what was found in the signals and what the tables say, as columns and store.json."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ...atomic import write_text
from ..datasets.source import COLUMNS, Source
from ..leads import INDEPENDENT
from ..quality import BAD, FLAGS, bits
from . import split
from .columns import FORMAT, GAIN, SPLITS, Texts, fingerprint
from .duplicates import BITS
from .facts import TEXTS
from .store import Store

DISAGREE = 10.0
"""beats/min between the measured and the given heart rate."""


def empty_numbers(n: int) -> dict[str, np.ndarray]:
    """Columns for what is found in n signals: nothing yet."""
    return {
        "flags": np.zeros(n, np.uint32),
        "heart_rate": np.full(n, np.nan, np.float32),
        "valid": np.zeros(n, np.int32),
        "hash": np.zeros(n, np.uint64),
        "print": np.zeros((n, BITS // 8), np.uint8),
    }


def assemble(
    part: Path,
    source: Source,
    numbers: dict[str, np.ndarray],
    reasons: Mapping[str, str],
    *,
    plan: str,
    rate: float,
    seconds: float,
    shares: Sequence[float],
) -> None:
    """Write the columns beside `part/signals.npy`, and store.json last.

    numbers: what was found in the signals, filled `empty_numbers`. reasons: record that could not be read -> why.
    """
    table, columns = source.table, part / "columns"
    shutil.rmtree(columns, ignore_errors=True)
    columns.mkdir()
    n = len(table)
    patients, place = np.unique(table["patient"].to_numpy(object).astype(str), return_inverse=True)
    splits, contradicting = split.assign(table["patient"], table["fold"], shares)
    flags = numbers["flags"] | table["flags"].to_numpy(np.uint32)
    flags |= np.where(repeated(numbers["hash"], flags), np.uint32(bits("duplicate")), np.uint32(0))
    given = table["heart_rate_given"].to_numpy(np.float32)
    with np.errstate(invalid="ignore"):
        flags |= np.where(
            np.abs(numbers["heart_rate"] - given) > DISAGREE, np.uint32(bits("rate_disagrees")), np.uint32(0)
        )
    statements = table["statements"].tolist()
    texts = [report if not ids else "\0".join(source.vocabulary[k] for k in ids) for ids, report in
             zip(statements, table["report"], strict=True)]  # fmt: skip
    numbers = numbers | {
        "flags": flags,
        "split": splits,
        "patient": place.astype(np.int32),
        "time": table["time"].to_numpy("datetime64[s]"),
        "sex": table["sex"].to_numpy(np.int8),
        "age": table["age"].to_numpy(np.float32),
        "fold": table["fold"].to_numpy(np.int8),
        "start": table["start"].to_numpy(np.float32),
        "heart_rate_given": given,
        "text_key": np.array(
            [fingerprint(np.frombuffer(t.encode(errors="replace"), np.uint8)) for t in texts], np.uint64
        ),
        "statements": np.array([k for ids in statements for k in ids], np.int16),
        "statement_offsets": np.cumsum([0, *map(len, statements)]),
    }
    numbers |= {
        name: table[name].to_numpy(np.float32) for name in table.columns if name not in {*COLUMNS, "statements"}
    }
    for name, values in numbers.items():
        np.save(columns / f"{name}.npy", values)
    for name in TEXTS:
        Texts.write(columns, name, patients.tolist() if name == "patients" else table[name].tolist())
    usable = (flags & np.uint32(bits(*BAD))) == 0
    problems = dict(source.problems) | (
        {"patients whose folds contradict each other": contradicting} if contradicting else {}
    )
    facts = {
        "format": FORMAT,
        "source": source.name,
        "ecgs": n,
        "usable": int(usable.sum()),
        "patients": len(np.unique(place[(flags & np.uint32(bits("patient_unknown"))) == 0])),
        "rate": rate,
        "seconds": seconds,
        "samples": round(rate * seconds),
        "leads": list(INDEPENDENT),
        "gain_per_mv": GAIN,
        "shares": list(shares),
        "splits": {name: int(np.sum(usable & (splits == k))) for k, name in enumerate(SPLITS)},
        "split_digest": split.digest(table["patient"], (SPLITS[k] for k in splits)),
        "flags": {name: c for k, name in enumerate(FLAGS) if (c := int(np.sum(flags >> np.uint32(k) & np.uint32(1))))},
        "problems": problems,
        "unmapped": dict(Counter(source.unmapped).most_common(50)),
        "unmapped_kinds": len(source.unmapped),
        "unreadable": dict(sorted(reasons.items())[:50]),
        "statements": list(source.vocabulary),
        "columns": sorted(set(numbers) - {"statements", "statement_offsets"}),
        "texts": list(TEXTS),
        "versions": {name: version(name) for name in ("ecgtwin", "numpy", "scipy", "wfdb")},
        "plan": plan,
        "digest": digest(columns),
    }
    write_text(part / "store.json", json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def repeated(hashes: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Which rows hold the same signal as an earlier usable row."""
    rows = np.flatnonzero((flags & np.uint32(bits(*BAD))) == 0)
    _, first = np.unique(hashes[rows], return_index=True)
    again = np.zeros(len(hashes), bool)
    again[np.delete(rows, first)] = True
    return again


def digest(columns: Path) -> str:
    """A fingerprint of all columns, and through column `hash` of all signals."""
    sha = hashlib.sha256()
    for path in sorted(columns.iterdir()):
        sha.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(2**20):
                sha.update(block)
    return sha.hexdigest()[:16]


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def summary(store: Store) -> dict[str, Any]:
    """What a preparation is told about: store.json without its lists."""
    left_out = {"columns", "texts", "statements", "leads"}
    facts = {key: value for key, value in store.facts.items() if key not in left_out}
    measured = np.asarray(store.column("heart_rate"))
    facts["heart_rate_measured"] = int(np.sum(~np.isnan(measured)))
    facts["without_statement"] = int(np.sum(np.diff(store.column("statement_offsets")) == 0))
    facts["hours"] = round(len(store) * store.facts["seconds"] / 3600, 2)
    return facts


def empty_signals(path: Path, rows: int, samples: int) -> int:
    """Make a signals file of zeros that takes no room on disk yet. Returns where its first row begins, in bytes."""
    array = np.lib.format.open_memmap(path, "w+", np.int16, (rows, len(INDEPENDENT), samples))
    return array.offset


def number_rows(path: Path, rows: int, samples: int, first: int) -> None:
    """Write how many rows there are into a signals file that was begun without any."""
    with path.open("r+b") as file:
        description = {"descr": "<i2", "fortran_order": False, "shape": (rows, len(INDEPENDENT), samples)}
        np.lib.format.write_array_header_1_0(file, description)
        if file.tell() != first:
            raise ValueError(f"{path}: a header for {rows} rows does not fit in {first} bytes")
        file.flush()
        os.fsync(file.fileno())
