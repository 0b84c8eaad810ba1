"""A store of ECGs that come one after the other: simulated people, twins, or recordings that a program holds."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..datasets.source import COLUMNS, Source, Statements
from ..files.fields import SEXES, age_of, joined, patient_of
from ..quality import bits
from ..record import ECG
from . import split
from .columns import fingerprint
from .duplicates import prints
from .prepare import RATE, SECONDS, locked, planned
from .store import Store
from .window import cut
from .writer import assemble, empty_numbers, empty_signals, number_rows

TOGETHER = 256
"""ECGs that are in memory at a time."""


def collect(
    ecgs: Iterable[ECG | tuple[ECG, Mapping[str, float]]],
    folder: str | Path,
    *,
    statements: Statements | None = None,
    name: str = "collected",
    rate: float = RATE,
    seconds: float = SECONDS,
    shares: Sequence[float] = split.SHARES,
) -> Store:
    """Write ECGs to a new store; it is there whole or not at all.

    Each is an ECG, or an ECG with numbers of its own, such as {"heart_rate_given": 72.0, "qt_ms_given": 390.0}, which
    become columns. Patient, sex, age and reports are the ECG's; those without a patient make no pairs. Signals pass
    through: memory grows by a few hundred bytes for each ECG. FileExistsError where `folder` exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists: give a folder that does not exist yet")
    part = folder.with_name(folder.name + ".part")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(part):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        samples = round(rate * seconds)
        columns: dict[str, list] = {key: [] for key in COLUMNS}
        lines, found, extras = [], [], []
        first = empty_signals(part / "signals.npy", 0, samples)
        with (part / "signals.npy").open("r+b") as file:
            file.seek(first)
            waiting: list[np.ndarray] = []
            for item in ecgs:
                ecg, numbers = item if isinstance(item, tuple) else (item, {})
                window = cut(ecg, [0.0], rate=rate, seconds=seconds)[0]
                waiting.append(window.signal)
                found.append((window.flags, window.heart_rate, window.valid))
                add(columns, ecg, len(lines), name)
                lines.append(list(ecg.reports))
                extras.append(numbers)
                if len(waiting) == TOGETHER:
                    save(file, waiting, found)
                    waiting = []
            if waiting:
                save(file, waiting, found)
        number_rows(part / "signals.npy", len(lines), samples, first)
        for key in dict.fromkeys(k for numbers in extras for k in numbers):
            columns[key] = [numbers.get(key, np.nan) for numbers in extras]
        source = Source.of(name, folder, columns, _never, codes=lines, statements=statements, problems={})
        numbers = empty_numbers(len(lines))
        for k, row in enumerate(found):
            for key, value in zip(("flags", "heart_rate", "valid", "hash", "print"), row, strict=True):
                numbers[key][k] = value
        plan = planned(source, rate, seconds, shares)
        assemble(part, source, numbers, {}, plan=plan, rate=rate, seconds=seconds, shares=shares)
        os.rename(part, folder)
    return Store.open(folder)


def add(columns: dict[str, list], ecg: ECG, place: int, name: str) -> None:
    """What the ECG says about itself, as one row."""
    (age, over, _), patient = age_of(ecg.age), patient_of(ecg.patient)
    row = COLUMNS | {
        "name": ecg.name or f"{name}-{place}",
        "patient": patient or f"{name}_record_{place}",
        "sex": SEXES.index(ecg.sex),
        "age": age,
        "report": joined(ecg.reports),
        "flags": bits(*(["age_over_89"] if over else []), *([] if patient else ["patient_unknown"])),
    }
    for key in COLUMNS:
        columns[key].append(row[key])


def save(file, signals: list[np.ndarray], found: list[tuple]) -> None:
    """Append signals, and complete the last entries of `found` by their fingerprints."""
    together = np.stack(signals)
    file.write(together.tobytes())
    start = len(found) - len(signals)
    for k, (signal, mark) in enumerate(zip(together, prints(together), strict=True)):
        found[start + k] += (fingerprint(signal), mark)


def _never(folder: Path, name: str) -> ECG:
    raise FileNotFoundError(f"{name} was collected from memory: there is no file to read again")
