"""Training ECGs from several stores in stated shares, such as real patients with a fifth of simulated ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .store import Store


@dataclass(frozen=True, eq=False)
class Mix:
    """Stores of one rate, length and set of leads, and the share of draws that each gets (they add up to 1)."""

    stores: tuple[Store, ...]
    shares: tuple[float, ...]
    split: str | None = "train"

    def __post_init__(self):
        if not self.stores or len(self.stores) != len(self.shares):
            raise ValueError(f"{len(self.stores)} stores with {len(self.shares)} shares: expected one share for each store")
        if min(self.shares) < 0 or not np.isclose(sum(self.shares), 1):
            raise ValueError(f"shares {self.shares}: expected none below 0, and a sum of 1")
        shapes = {(s.rate, s.samples, s.leads) for s in self.stores}
        if len(shapes) > 1:
            seen = "; ".join(f"{s.source} {s.samples} samples at {s.rate:g} Hz" for s in self.stores)
            raise ValueError(f"stores differ ({seen}): prepare them at one rate and length")
        for store, share, rows in zip(self.stores, self.shares, self._rows, strict=True):
            if share > 0 and len(rows) == 0:
                raise ValueError(f"store {store.source} has no usable ECGs in split {self.split}: give it the share 0")

    @cached_property
    def _rows(self) -> list[np.ndarray]:
        return [store.rows(self.split) for store in self.stores]

    def draw(self, n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(which store (n,), row in it (n,)), with replacement."""
        which = generator.choice(len(self.stores), n, p=np.asarray(self.shares) / sum(self.shares))
        places = generator.random(n)
        rows = [self._rows[k][int(p * len(self._rows[k]))] for k, p in zip(which, places, strict=True)]
        return which, np.array(rows, np.int64)

    def read(self, which: Sequence[int] | np.ndarray, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Signals (n, 8, samples) int16 in uV of drawn rows, in their order."""
        which, rows = np.asarray(which), np.asarray(rows)
        out = np.empty((len(rows), len(self.stores[0].leads), self.stores[0].samples), np.int16)
        for k in np.unique(which):
            out[which == k] = self.stores[k].read(rows[which == k])
        return out
