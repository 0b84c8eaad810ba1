"""Training, validation and test patients: by patient only, and stable, so that adding data moves nobody."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from .columns import SPLITS

SHARES = (0.8, 0.1, 0.1)
"""Of training, validation and test patients where the data set has no folds of its own."""


def split_of(patient: str, shares: Sequence[float] = SHARES) -> str:
    """The split of one patient: where BLAKE2b of the id falls in [0, 1). Nothing but the id and the shares matters."""
    if len(shares) != len(SPLITS) or min(shares) < 0 or not np.isclose(sum(shares), 1):
        raise ValueError(f"shares {tuple(shares)}: expected three (train, validation, test) that add up to 1")
    place = int.from_bytes(hashlib.blake2b(patient.encode(), digest_size=8, person=b"ecgtwin").digest(), "big") / 2**64
    edges = np.cumsum(shares)
    return SPLITS[min(int(np.searchsorted(edges, place, side="right")), 2)]


def split_of_fold(fold: int) -> str:
    """PTB-XL's recommendation: folds 1-8 train, 9 validation, 10 test (Wagner et al. 2020, "Usage notes")."""
    if not 1 <= fold <= 10:
        raise ValueError(f"fold {fold}: expected 1 to 10")
    return "train" if fold < 9 else SPLITS[fold - 8]


def assign(
    patients: Sequence[str], folds: Sequence[int] | None = None, shares: Sequence[float] = SHARES
) -> tuple[np.ndarray, int]:
    """The split of each row as a place in SPLITS (N,) int8, and how many patients had folds that contradict each other.

    patients: an id for each row; recordings of unknown people need ids of their own, a number below 0 is refused.
    folds: 1-10, 0 where the row has none. A patient whose rows lie in several splits goes
    as a whole to the one that is kept furthest from training: test before validation before training.
    """
    nobody = [k for k, p in enumerate(patients) if not isinstance(p, str) and not p >= 0]
    if nobody:
        raise ValueError(
            f"row {nobody[0]}: patient {patients[nobody[0]]} stands for nobody: "
            "give each such recording an id of its own"
        )
    # As objects: numpy's own texts lose NULs at their end, and with them who is who.
    names, place = np.unique(np.array([str(p) for p in patients], dtype=object), return_inverse=True)
    folds = np.zeros(len(place), int) if folds is None else np.asarray(folds, int)
    known = {fold: SPLITS.index(split_of_fold(fold)) for fold in np.unique(folds[folds > 0]).tolist()}
    own = np.array([known.get(f, -1) for f in folds.tolist()], np.int8)
    last = np.full(len(names), -1, np.int8)
    np.maximum.at(last, place, own)
    first = np.full(len(names), len(SPLITS), np.int8)
    np.minimum.at(first, place[own >= 0], own[own >= 0])
    contradicting = int(np.sum((last >= 0) & (first < last)))
    for k in np.flatnonzero(last < 0):
        last[k] = SPLITS.index(split_of(names[k], shares))
    return last[place], contradicting


def digest(patients: Iterable[str], splits: Iterable[str]) -> str:
    """A fingerprint of who is in which split, whatever the order of the rows."""
    lines = sorted({f"{patient}\t{split}" for patient, split in zip(patients, splits, strict=True)})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def across(patients: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Patients (places) that have rows in more than one split; a place below 0 stands for nobody."""
    pairs = np.stack([np.asarray(patients, np.int64), np.asarray(splits, np.int64)], 1)
    pairs = np.unique(pairs[pairs[:, 0] >= 0], axis=0)
    names, counts = np.unique(pairs[:, 0], return_counts=True)
    return names[counts > 1]
