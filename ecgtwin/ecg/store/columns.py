"""How a store keeps numbers and texts: one file for each column, and what its numbers mean."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FORMAT = 1
GAIN = 1000.0
"""Steps per mV."""
SPLITS = ("train", "validation", "test")


def load(path: Path) -> np.ndarray:
    """An array, memory-mapped. ValueError where the file is missing or damaged."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: the store is damaged; copy or prepare it again")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header makes numpy raise nearly anything
        why = f"{type(error).__name__}: {error}"[:120]
        raise ValueError(f"{path} is damaged ({why}): copy or prepare the store again") from None


class Texts(Sequence[str]):
    """A text for each row, read when asked for."""

    def __init__(self, folder: Path, name: str):
        path = folder / f"{name}.bin"
        self._offsets = load(folder / f"{name}.npy")
        size = path.stat().st_size if path.is_file() else -1
        if self._offsets.ndim != 1 or self._offsets.dtype.kind not in "iu" or not rising(self._offsets, size):
            raise ValueError(
                f"{path} and its offsets do not belong together: the store is damaged; copy or prepare it again"
            )
        self._bytes = np.memmap(path, np.uint8, "r") if self._offsets[-1] else np.empty(0, np.uint8)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> str:
        row = range(len(self))[row]
        return bytes(self._bytes[self._offsets[row] : self._offsets[row + 1]]).decode(errors="replace")

    @staticmethod
    def write(folder: Path, name: str, texts: Sequence[str]) -> None:
        lengths = np.zeros(len(texts) + 1, np.int64)
        with (folder / f"{name}.bin").open("wb") as file:
            for i, text in enumerate(texts):
                lengths[i + 1] = file.write(text.encode(errors="replace"))
        np.save(folder / f"{name}.npy", np.cumsum(lengths))


def rising(offsets: np.ndarray, end: int) -> bool:
    """Whether offsets begin at 0, never fall, and end where what they point into does."""
    return len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == end and bool(np.all(np.diff(offsets) >= 0))


def fingerprint(signal: np.ndarray) -> np.uint64:
    """64 bits that are equal for bit-identical signals."""
    return np.frombuffer(hashlib.blake2b(np.ascontiguousarray(signal), digest_size=8).digest(), "<u8")[0]
