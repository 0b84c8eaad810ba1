"""Recordings as training data: one compact array of signals with a table beside it."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..ecg.leads import INDEPENDENT
from ..ecg.ptbxl import read_table
from ..ecg.record import ECG


@dataclass(frozen=True)
class Recordings:
    """Signals (N, 8, samples) int16 in uV, leads I, II, V1-V6, and one table row for each.

    Table columns: name, patient, split ("train" | "validation" | "test"), sex, age, codes, heart_rate.
    """

    signals: np.ndarray
    table: pd.DataFrame
    rate: float = 102.4
    leads: tuple[str, ...] = INDEPENDENT

    def __len__(self) -> int:
        return len(self.table)

    def where(self, rows: np.ndarray) -> "Recordings":
        return replace(self, signals=self.signals[rows], table=self.table[rows].reset_index(drop=True))

    def split(self, name: str) -> "Recordings":
        return self.where((self.table["split"] == name).to_numpy())

    def millivolts(self, rows=slice(None)) -> np.ndarray:
        return self.signals[rows].astype(np.float32) / 1000.0

    @property
    def digest(self) -> str:
        """A fingerprint of signals and patients, for sidecars."""
        sha = hashlib.sha256(np.ascontiguousarray(self.signals).tobytes())
        sha.update("|".join(self.table["patient"]).encode())
        return sha.hexdigest()[:16]


SPLITS = {**dict.fromkeys(range(1, 9), "train"), 9: "validation", 10: "test"}


def read_ptbxl(folder: str | Path, *, rate: float = 102.4, samples: int = 1024) -> Recordings:
    """All records of a PTB-XL folder that are there, at the model's rate, each lead's median removed."""
    folder, table = Path(folder), read_table(folder)
    table = table[[(folder / f"{low}.hea").is_file() for low in table["low"]]]
    if table.empty:
        raise FileNotFoundError(f"{folder} has ptbxl_database.csv but none of the records100 files that it names")
    signals = np.empty((len(table), len(INDEPENDENT), samples), np.int16)
    for row, low in enumerate(tqdm(table["low"], desc="reading PTB-XL", mininterval=2)):
        x = ECG.read(folder / f"{low}.hea").select(INDEPENDENT).resample(rate).signal[:, :samples]
        x = np.pad(x, ((0, 0), (0, samples - x.shape[1])), mode="edge") - np.median(x, axis=-1, keepdims=True)
        signals[row] = np.clip(np.round(x * 1000), -32767, 32767)
    table = table.assign(split=table["fold"].map(SPLITS), name=table["low"])
    return Recordings(signals, table.reset_index(), rate)
