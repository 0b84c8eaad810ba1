"""Finding the same recording twice, also when it was copied at another rate, gain or with other edges.

Each signal gets a print of 384 bits: the signs of 192 random projections of its slopes (Charikar, "Similarity
estimation techniques from rounding algorithms", STOC 2002). Two signals whose slopes make an angle a differ in a share
a / pi of the bits. Prints that agree in one of 16 groups of 24 bits are compared as signals. All arithmetic is on whole
numbers, so that a print is the same on every machine.
"""

import hashlib
from collections.abc import Callable

import numpy as np

BINS = 160
BITS = 384
GROUPS = 16
LIKE = 0.92
"""Correlation of slopes from which two recordings count as near-identical."""
FAR = 110
"""Bits in which prints may differ before their signals are compared: likeness 0.92 is 49 of 384 on
average, unrelated ECGs are 192."""
CROWD = 64
"""In a group of prints larger than this only neighbours are compared."""


def slopes(signals: np.ndarray) -> np.ndarray:
    """Differences of 160 bin means (N, 8 * 159) int64 of signals (N, leads, samples) int16, whatever their rate."""
    edges = np.arange(BINS) * signals.shape[-1] // BINS
    sizes = np.diff(np.append(edges, signals.shape[-1]))
    means = np.add.reduceat(signals.astype(np.int64), edges, axis=-1) * 16 // sizes
    return np.diff(means, axis=-1).reshape(len(signals), -1)


def projections(width: int) -> np.ndarray:
    """(width, BITS) of +-1, from SHAKE-256 so that they never change."""
    stream = hashlib.shake_256(b"ecgtwin print 1").digest(width * BITS // 8)
    return np.unpackbits(np.frombuffer(stream, np.uint8)).reshape(width, BITS) * 2.0 - 1.0


def prints(signals: np.ndarray) -> np.ndarray:
    """(N, BITS / 8) uint8 of signals (N, leads, samples) int16."""
    x = slopes(signals)
    # Sums of whole numbers below 2**53 are exact in float64 whatever their order.
    return np.packbits(x.astype(np.float64) @ projections(x.shape[1]) > 0, axis=1)


def likeness(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Correlation (N,) of the slopes of two sets of signals (N, leads, samples)."""
    a, b = slopes(one).astype(np.float64), slopes(two).astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1) / np.maximum(norms, 1e-12)


def candidates(marks: np.ndarray) -> np.ndarray:
    """Pairs (K, 2), first < second, of rows of prints (N, BITS / 8) that agree in a whole group of bits."""
    found = []
    width = marks.shape[1] // GROUPS
    for group in range(GROUPS):
        part = marks[:, group * width : (group + 1) * width].astype(np.int64)
        keys = part @ (256 ** np.arange(width))
        order = np.argsort(keys, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(keys[order])) + 1, len(order))
        starts = np.append(0, ends[:-1])
        for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
            rows = order[start:end]
            if len(rows) > CROWD:
                found.append(np.sort(np.stack([rows[:-1], rows[1:]], 1), axis=1))
            else:
                i, j = np.triu_indices(len(rows), 1)
                found.append(np.sort(np.stack([rows[i], rows[j]], 1), axis=1))
    return np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), np.int64)


def near_identical(
    marks: np.ndarray, read: Callable[[np.ndarray], np.ndarray], chunk: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (K, 2) of rows whose signals are near-identical, and their likeness (K,). read(rows) -> signals int16."""
    pairs = candidates(marks)
    close = [_differing(marks, part) <= FAR for part in np.array_split(pairs, len(pairs) // 65_536 + 1)]
    pairs = pairs[np.concatenate(close)]
    values = [
        likeness(read(pairs[k : k + chunk, 0]), read(pairs[k : k + chunk, 1])) for k in range(0, len(pairs), chunk)
    ]
    value = np.concatenate(values) if values else np.empty(0)
    return pairs[value >= LIKE], value[value >= LIKE]


def _differing(marks: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.unpackbits(marks[pairs[:, 0]] ^ marks[pairs[:, 1]], axis=1).sum(1, dtype=np.int64)
