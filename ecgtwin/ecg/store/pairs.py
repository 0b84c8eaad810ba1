"""Two ECGs of one patient, as reference and target, drawn or listed without ever holding the list.

A patient with n ECGs has n (n - 1) ordered pairs: 260 ECGs make 67,340, more than a thousand patients with eight. So
each patient is drawn with weight min(pairs, cap) ** power, and listing stops at `cap` pairs of a patient. Pairs in
which nothing changed, neither the text nor the heart rate, are left out. Memory is a few numbers per ECG.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..quality import bits
from .store import Store

CAP, POWER = 200, 0.5


class Ordered(NamedTuple):
    """Rows sorted by patient and time, where each patient begins and ends in them, and each one's state."""

    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    state: np.ndarray


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of some ECGs. `Pairs.of(store, "train")`, or from arrays of equal length:

    rows: numbers of ECGs. patient: a number for each, below 0 where it is not known: strangers make no pairs. time: for
    the order (NaT last; ties by row). state: ECGs of a patient with
    equal state make no pair. reverse: also from the later to the earlier. cap: pairs of one patient in `stream`, and in
    the weight of `draw`. power: of the weight; 1 weighs pairs equally, 0 patients.
    """

    rows: np.ndarray
    patient: np.ndarray
    time: np.ndarray
    state: np.ndarray
    reverse: bool = True
    cap: int = CAP
    power: float = POWER

    def __post_init__(self):
        if len({len(a) for a in (self.rows, self.patient, self.time, self.state)}) != 1:
            raise ValueError("rows, patient, time and state differ in length: expected one entry for each ECG")
        if self.cap < 1 or not 0 <= self.power <= 1:
            raise ValueError(f"cap {self.cap}, power {self.power}: expected at least 1, and 0 to 1")

    @staticmethod
    def of(store: Store, split: str | None = "train", **options) -> "Pairs":
        """Pairs of the usable ECGs of a split (None: of all) whose patients are known."""
        rows = store.rows(split)
        rows = rows[(np.asarray(store.column("flags"))[rows] & np.uint32(bits("patient_unknown"))) == 0]
        patient, time = (np.asarray(store.column(name))[rows] for name in ("patient", "time"))
        return Pairs(rows, patient, time, states(store, rows), **options)

    @cached_property
    def _ordered(self) -> Ordered:
        time = np.asarray(self.time)
        late = np.isnat(time) if time.dtype.kind == "M" else np.isnan(time.astype(float))
        order = np.lexsort((self.rows, np.where(late, 0, time.astype(np.int64)), late, self.patient))
        order = order[np.asarray(self.patient)[order] >= 0]
        _, who, sizes = np.unique(np.asarray(self.patient)[order], return_inverse=True, return_counts=True)
        order = order[sizes[who] > 1]
        sizes = sizes[sizes > 1]
        ends = np.cumsum(sizes)
        return Ordered(np.asarray(self.rows)[order], ends - sizes, ends, np.asarray(self.state)[order])

    @cached_property
    def counts(self) -> np.ndarray:
        """Allowed pairs of each patient who has two or more ECGs, whatever the cap."""
        _, starts, ends, state = self._ordered
        n = ends - starts
        who = np.repeat(np.arange(len(starts)), n)
        order = np.lexsort((state, who))
        new = np.append(True, (np.diff(who[order]) != 0) | (state[order][1:] != state[order][:-1]))[: len(order)]
        sizes = np.diff(np.append(np.flatnonzero(new), len(order)))
        equal = np.bincount(who[order][new], sizes * (sizes - 1), minlength=len(starts)).astype(np.int64)
        ordered = n * (n - 1) - equal
        return ordered if self.reverse else ordered // 2

    @property
    def total(self) -> int:
        """All allowed pairs."""
        return int(self.counts.sum())

    def __len__(self) -> int:
        """Pairs that `stream` gives."""
        return int(np.minimum(self.counts, self.cap).sum())

    @cached_property
    def _weights(self) -> np.ndarray:
        return np.cumsum(np.minimum(self.counts, self.cap).astype(np.float64) ** self.power * (self.counts > 0))

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """n pairs (n, 2) of reference and target: a patient by weight, then one of the patient's pairs, all alike."""
        if self.total == 0:
            raise ValueError("no patient has two ECGs that differ in text or heart rate: there are no pairs to draw")
        rows, starts, ends, state = self._ordered
        who = np.searchsorted(self._weights, generator.uniform(0, self._weights[-1], n), side="right")
        found = np.empty((n, 2), np.int64)
        left = np.arange(n)
        for _ in range(100):
            a, size = starts[who[left]], (ends - starts)[who[left]]
            i = generator.integers(0, size)
            j = (i + generator.integers(1, size)) % size
            if not self.reverse:
                i, j = np.minimum(i, j), np.maximum(i, j)
            found[left] = np.stack([a + i, a + j], 1)
            left = left[state[a + i] == state[a + j]]
            if len(left) == 0:
                return rows[found]
        for k in left:  # nearly all ECGs of this patient are alike: chance does not find the pairs that differ
            pairs = self._listed(who[k])
            found[k] = pairs[generator.integers(len(pairs))]
        return rows[found]

    def stream(self, size: int = 65_536, seed: int = 0) -> Iterator[np.ndarray]:
        """Every allowed pair once, at most `cap` of a patient (chosen by seed), in chunks
        (up to size, 2), by patient."""
        rows = self._ordered.rows
        waiting, ready = [np.empty((0, 2), np.int64)], 0
        for who in np.flatnonzero(self.counts):
            pairs = self._listed(who)
            if len(pairs) > self.cap:
                pairs = pairs[
                    np.sort(np.random.default_rng([seed, int(who)]).choice(len(pairs), self.cap, replace=False))
                ]
            waiting.append(pairs)
            ready += len(pairs)
            if ready >= size:
                joined = np.concatenate(waiting)
                for k in range(0, ready - size + 1, size):
                    yield rows[joined[k : k + size]]
                waiting, ready = [joined[ready - ready % size :]], ready % size
        if ready:
            yield rows[np.concatenate(waiting)]

    def _listed(self, who: int) -> np.ndarray:
        """All allowed pairs of one patient, as places in the order."""
        _, starts, ends, state = self._ordered
        a = int(starts[who])
        i, j = np.triu_indices(int(ends[who]) - a, 1)
        different = state[a + i] != state[a + j]
        forward = a + np.stack([i[different], j[different]], 1)
        return np.concatenate([forward, forward[:, ::-1]]) if self.reverse else forward


def states(store: Store, rows: np.ndarray) -> np.ndarray:
    """A number (k,) for each row that is equal where both the text and the heart rate, to the beat, are."""
    text = np.asarray(store.column("text_key"))[rows]
    rate = np.asarray(store.column("heart_rate"))[rows]
    whole = np.where(np.isnan(rate), 0, np.rint(np.nan_to_num(rate))).astype(np.uint64)
    return text * np.uint64(0x9E3779B97F4A7C15) + whole * np.uint64(0xC2B2AE3D27D4EB4F)
