"""Recordings of one or more stores as training data: numbers beside signals that stay on disk."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..files.fields import SEXES
from .columns import GAIN, SPLITS
from .pairs import Pairs, states
from .store import Store


@dataclass(frozen=True, eq=False)
class Recordings:
    """The usable ECGs of stores of one rate and length, one entry of each array for each ECG.

    which: its store. rows: its row there. patient: a number, distinct over the stores; -1 where the patient is
    not known. split: place in SPLITS. sex: place in SEXES. age: years, NaN where it is not known. simulated:
    whether a simulator made it.
    """

    stores: tuple[Store, ...]
    which: np.ndarray
    rows: np.ndarray
    patient: np.ndarray
    split: np.ndarray
    sex: np.ndarray
    age: np.ndarray
    simulated: np.ndarray

    @staticmethod
    def of(stores: Sequence[Store]) -> "Recordings":
        shapes = {(s.rate, s.samples, s.leads) for s in stores}
        if len(shapes) != 1:
            seen = "; ".join(f"{s.folder} {s.samples} samples at {s.rate:g} Hz" for s in stores) or "none"
            raise ValueError(f"stores ({seen}): expected one or more of one rate and length")
        parts: dict[str, list[np.ndarray]] = {
            name: [] for name in ("which", "rows", "patient", "split", "sex", "age", "simulated")
        }
        first = 0
        for k, store in enumerate(stores):
            rows = store.rows()
            patient = np.asarray(store.column("patient"))[rows].astype(np.int64)
            unknown = store.flagged("patient_unknown")[rows]
            found = {
                "which": np.full(len(rows), k),
                "rows": rows,
                "patient": np.where(unknown, -1, first + patient),
                "simulated": store.flagged("synthetic")[rows],
                **{name: np.asarray(store.column(name))[rows] for name in ("split", "sex", "age")},
            }
            first += int(patient.max(initial=-1)) + 1
            for name, values in found.items():
                parts[name].append(values)
        return Recordings(tuple(stores), **{name: np.concatenate(arrays) for name, arrays in parts.items()})

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def rate(self) -> float:
        return self.stores[0].rate

    @property
    def samples(self) -> int:
        return self.stores[0].samples

    @property
    def leads(self) -> tuple[str, ...]:
        return self.stores[0].leads

    @property
    def owner(self) -> np.ndarray:
        """(N,) a number for each ECG's person: the patient's, and one of its own for each ECG of an unknown patient."""
        return np.where(self.patient < 0, -1 - np.arange(len(self)), self.patient)

    def where(self, chosen: np.ndarray) -> "Recordings":
        """Those at places, or where a mask is True."""
        names = ("which", "rows", "patient", "split", "sex", "age", "simulated")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def only(self, split: str, *, simulated: bool | None = None) -> "Recordings":
        return self.where(self.places(split, simulated=simulated))

    def named(self, names: Sequence[str]) -> "Recordings":
        """Those of these names alone. ValueError: there are no names, or one that no recording has."""
        return self.where(self.are_named(names))

    def are_named(self, names: Sequence[str]) -> np.ndarray:
        """(N,) whether a recording is of these names. ValueError as `named`."""
        own = [self.stores[k].texts("name")[int(row)] for k, row in zip(self.which, self.rows, strict=True)]
        wanted = set(names)
        if missing := wanted - set(own):
            raise ValueError(
                f"{len(missing)} of {len(wanted)} names are of no usable recording, such as {min(missing)!r}: "
                f"names in these stores look like {own[0]!r}"
            )
        if not wanted:
            raise ValueError(f"no names of recordings: give one or more, such as {own[0]!r}")
        return np.array([name in wanted for name in own])

    def places(self, split: str, *, simulated: bool | None = None) -> np.ndarray:
        """Places of the ECGs of a split; simulated: only those, only others, or all (None)."""
        mask = self.split == SPLITS.index(split)
        return np.flatnonzero(mask if simulated is None else mask & (self.simulated == simulated))

    def read(self, places: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Signals (k, 8, samples) int16 in uV."""
        which, rows = self.which[places], self.rows[places]
        out = np.empty((len(rows), len(self.leads), self.samples), np.int16)
        for k in np.unique(which):
            out[which == k] = self.stores[k].read(rows[which == k])
        return out

    def millivolts(self, places: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Signals (k, 8, samples) float32 in mV."""
        return self.read(places) * np.float32(1 / GAIN)

    def name(self, place: int) -> str:
        store, row = self.stores[self.which[place]], int(self.rows[place])
        return f"{store.texts('name')[row]} ({store.source}, row {row})"

    def statements(self, place: int) -> tuple[str, ...]:
        return self.stores[self.which[place]].statements(int(self.rows[place]))

    def sexes(self, place: int) -> str | None:
        return SEXES[int(self.sex[place])]

    def years(self, place: int) -> float | None:
        """Age, None where it is not known."""
        return None if np.isnan(self.age[place]) else float(self.age[place])

    def pairs(self, split: str, *, simulated: bool) -> Pairs:
        """Ordered pairs of places: one patient, two ECGs that differ in text or heart rate."""
        places = self.places(split, simulated=simulated)
        places = places[self.patient[places] >= 0]
        time, state = np.empty(len(places), "datetime64[s]"), np.empty(len(places), np.uint64)
        for k in np.unique(self.which[places]):
            here = self.which[places] == k
            rows = self.rows[places][here]
            time[here] = np.asarray(self.stores[k].column("time"))[rows].astype("datetime64[s]")
            state[here] = states(self.stores[k], rows)
        return Pairs(places, self.patient[places], time, state)

    @property
    def digest(self) -> str:
        """A fingerprint of the stores and of which ECGs of them these are."""
        sha = hashlib.sha256("|".join(s.digest for s in self.stores).encode())
        for array in (self.which, self.rows):
            sha.update(np.ascontiguousarray(array, np.int64).tobytes())
        return sha.hexdigest()[:16]


def fitting(folder: Path, rate: float, samples: int) -> Store:
    """A store, if its windows are those that the model sees."""
    store = Store.open(folder)
    if (store.rate, store.samples) != (rate, samples):
        raise ValueError(
            f"{folder} holds {store.samples} samples at {store.rate:g} Hz, the model sees {samples} at {rate:g} Hz: "
            f"prepare it with --rate {rate:g} --seconds {samples / rate:g}"
        )
    return store
