"""Pairs of canonical beats: one person on two days or in two states of the heart, among others in the same state.

Shapes: B batch · Z latent channels · T latent samples · D pairs of ECGs of one patient.
"""

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..ecg.simulate import STATES
from ..ecg.store.recordings import Recordings
from .beat_views import OWN, usable
from .config import BaseTraining
from .latents import Bank


class Item(NamedTuple):
    """A beat to draw: of ECG `row`, its own (constructed < 0) or kind `constructed` of the bank."""

    row: int
    constructed: int


class BeatPair(NamedTuple):
    """rows, kinds (B, 2); shifts (B, 2, D): how much of each real difference is added to a latent; patient
    (B,); latents (B, 2, Z, T)."""

    rows: Tensor
    kinds: Tensor
    shifts: Tensor
    patient: Tensor
    latents: Tensor | None = None


class BeatPairs:
    """Draws beats of one person, of two ECGs, two states or two views, and other people's in the same state."""

    def __init__(self, recordings: Recordings, bank: Bank, views: int, stage: BaseTraining):
        """bank: of `beat_views`, with so many views of a recording's own beat."""
        self.recordings, self.bank, self.views, self.stage = recordings, bank, views, stage
        rows = recordings.places("train")
        rows = rows[usable(bank)[rows].numpy()]
        known = recordings.owner
        self.patient = torch.from_numpy(known)
        about = bank.about.numpy()
        made = {int(r): np.flatnonzero(about[r, 1 + views :] > OWN) + 1 + views for r in rows}
        self.items = [Item(int(r), -1) for r in rows] + [Item(r, int(k)) for r, kinds in made.items() for k in kinds]
        self.own, self.states = defaultdict(list), defaultdict(list)
        for item in self.items:
            (self.own if item.constructed < 0 else self.states)[int(known[item.row])].append(item)
        self.several = [item for items in self.own.values() if len(items) > 1 for item in items]
        self.alone, self.constructed = self.items[: len(rows)], self.items[len(rows) :]
        shares = stage.pairs
        for name, share, there in (
            ("real", shares.real, self.several),
            ("constructed", shares.constructed, self.constructed),
        ):
            if share > 0 and not there:
                raise ValueError(f"pairs.{name} is {share:g}, but the training ECGs have no such pairs: set it to 0")
        self.shares = np.array([shares.real, shares.same, shares.constructed])  # of `several`, `alone`, `constructed`
        self.key = {item: key for item, key in zip(self.items, self._keys(rows, about), strict=True)}
        self.alike = defaultdict(list)
        for item, key in self.key.items():
            self.alike[key].append(item)
        pairs = [(a.row, b.row) for items in self.own.values() for i, a in enumerate(items) for b in items[:i]]
        first, second = (torch.tensor([p[side] for p in pairs], dtype=torch.long) for side in (0, 1))
        zero = torch.zeros_like(first)
        self.differences = bank.target(first, zero).float() - bank.target(second, zero).float()  # (D, Z, T)

    def _keys(self, rows: np.ndarray, about: np.ndarray) -> list[tuple[str, int, int]]:
        """What an item's person and state share with others': its rarest usual statement, sex and 15 years of age."""
        said = {int(r): self.recordings.statements(int(r)) for r in rows}
        counts = Counter(s for statements in said.values() for s in statements)
        names = list(STATES.values())

        def rarest(statements: tuple[str, ...]) -> str:
            usual = [s for s in statements if counts[s] >= 30]
            return min(usual, key=lambda s: counts[s]) if usual else ""

        age = np.nan_to_num(self.recordings.age, nan=60.0)
        return [
            (
                rarest(said[i.row]) if i.constructed < 0 else names[int(about[i.row, i.constructed])].reports[0],
                int(self.recordings.sex[i.row]),
                int(np.clip(age[i.row] // 15, 1, 6)),
            )
            for i in self.items
        ]

    def draw(self, generator: torch.Generator) -> BeatPair:
        n, stage = self.stage.batch, self.stage
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        chosen: list[tuple[Item, Item]] = []
        people: set[int] = set()

        def add(item: Item) -> bool:
            person = int(self.patient[item.row])
            if person in people:
                return False
            people.add(person)
            chosen.append((self.other(item, rng), item))
            return True

        tries = 0
        while len(chosen) < n:
            tries += 1
            first = self.one(rng)
            if (
                tries > 20 * n
            ):  # fewer people than places in the batch: they come more than once, and are no negatives of each other
                people.clear()
            if not add(first) or len(chosen) > n * stage.grouped:
                continue
            like = self.alike[self.key[first]]
            for k in rng.permutation(len(like))[: stage.group - 1]:
                add(like[k])
        rows = np.array([[item.row for item in pair] for pair in chosen[:n]])
        kinds = np.array([[self.kind(item, rng) for item in pair] for pair in chosen[:n]])
        # Two views of one recording are never the same view.
        same = (kinds[:, 0] == kinds[:, 1]) & (rows[:, 0] == rows[:, 1])
        kinds[same, 0] = (kinds[same, 0] + 1) % (1 + self.views)
        sizes = rng.uniform(0, 1.5, (n, 2, 1)) * stage.spread
        shifts = rng.standard_normal((n, 2, len(self.differences))) * sizes / np.sqrt(2 * max(1, len(self.differences)))
        return BeatPair(
            torch.from_numpy(rows), torch.from_numpy(kinds), torch.from_numpy(shifts).float(), self.patient[rows[:, 0]]
        )

    def one(self, rng: np.random.Generator) -> Item:
        """An item of a pair of a drawn kind."""
        pool = (self.several, self.alone, self.constructed)[rng.choice(3, p=self.shares)]
        return pool[rng.integers(len(pool))]

    def other(self, item: Item, rng: np.random.Generator) -> Item:
        """What an item is paired with: the same person on another day or in another state where there
        is one, else another view."""
        person = int(self.patient[item.row])
        own, states = ([i for i in items.get(person, ()) if i != item] for items in (self.own, self.states))
        chance = rng.random()
        if item.constructed >= 0:
            pool = states if states and chance < 0.35 else own
        elif own and chance < 0.7:
            pool = own
        elif states and chance < 0.7 + 0.4 * self.shares[2]:
            pool = states
        else:
            pool = [item]
        return pool[rng.integers(len(pool))]

    def kind(self, item: Item, rng: np.random.Generator) -> int:
        return int(rng.integers(1 + self.views)) if item.constructed < 0 else item.constructed

    def load(self, batch: BeatPair) -> BeatPair:
        z = self.bank.target(batch.rows.flatten(), batch.kinds.flatten()).float().unflatten(0, (-1, 2))
        return batch._replace(latents=z + (batch.shifts @ self.differences.flatten(1)).view_as(z))

    def names(self, batch: BeatPair) -> list[str]:
        return [self.recordings.name(int(r)) for r in batch.rows[:, 1]]
