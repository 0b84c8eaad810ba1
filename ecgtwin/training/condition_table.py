"""Conditions of a whole data set as arrays, so that a training batch is a gather."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..ecg.store.recordings import Recordings
from ..text.table import StatementTable
from ..twin.condition import HEART_RATE, Conditions
from ..twin.config import ConditionConfig, Standard

SINUS = ("sinus bradycardia", "sinus rhythm", "sinus tachycardia")
NORMAL = "normal ECG"
LIMITS, NORMAL_LIMITS = (60.0, 100.0), (50.0, 110.0)
"""Beats/min between which a sinus rhythm is called that and no more, and outside which an ECG is not called normal."""


@dataclass(frozen=True)
class ConditionTable:
    """What is known of N ECGs in V variants, which differ in heart rate.

    statements (N, M): rows of `embeddings` (S, W), -1 = none. heart_rate (N, V) beats/min and age (N,) years, NaN = not
    known. sex (N,): 1 female, -1 male, 0 not known. names: of the embeddings.
    """

    statements: Tensor
    heart_rate: Tensor
    age: Tensor
    sex: Tensor
    names: tuple[str, ...]
    embeddings: Tensor
    config: ConditionConfig = ConditionConfig()

    @staticmethod
    def of(
        recordings: Recordings, heart_rate: Tensor, statements: StatementTable, config: ConditionConfig
    ) -> "ConditionTable":
        """heart_rate: (N, V). Statements that are not in the table are left out."""
        place = {name: k for k, name in enumerate(statements.statements)}
        found = [[place[s] for s in recordings.statements(k) if s in place] for k in range(len(recordings))]
        ids = torch.full((len(found), max([1, *map(len, found)])), -1, dtype=torch.int16)
        for row, known in zip(ids, found, strict=True):
            row[: len(known)] = torch.tensor(known, dtype=torch.int16)
        sex = torch.tensor([0.0, 1.0, -1.0])[torch.from_numpy(recordings.sex.astype(np.int64))]
        age = torch.from_numpy(recordings.age.astype(np.float32))
        vectors = torch.from_numpy(np.array(statements.vectors, np.float32))
        return ConditionTable(ids, heart_rate, age, sex, tuple(statements.statements), vectors, config)

    def conditions(self, rows: Tensor, kinds: Tensor, base: Tensor | None = None) -> Conditions:
        """The batch of ECGs `rows` in variants `kinds`, everything kept."""
        rate = self.heart_rate[rows, kinds]
        ids = self.at(self.statements[rows].long(), rate)
        mask = ids >= 0
        text = self.embeddings[ids.clamp(min=0)] * mask[..., None]
        measured = (rate >= HEART_RATE[0]) & (rate <= HEART_RATE[1])
        known = torch.stack([measured, self.age[rows].isfinite(), self.sex[rows] != 0], -1)
        c = self.config
        values = torch.stack([standard(c.heart_rate, rate), standard(c.age, self.age[rows]), self.sex[rows]], -1)
        values = torch.where(known, values, torch.zeros(()))
        tokens = torch.cat([values[:, None].expand(-1, ids.shape[1], -1), text], -1)
        mask = mask.clone()
        mask[:, 0] = True  # an ECG without statements still has one token, for its numbers
        keep = torch.ones(len(rows), dtype=torch.bool)
        return Conditions(tokens, mask, known, torch.zeros(len(rows), 1) if base is None else base, keep, keep.clone())

    def at(self, ids: Tensor, rate: Tensor) -> Tensor:
        """Statements (B, M) that are true at a heart rate (B,): sinus rhythm is renamed by its rate (60 and 100
        beats/min), and an ECG outside 50-110 beats/min is no longer called normal. Sorted, none (-1) last."""
        place = {name: k for k, name in enumerate(self.names)}
        sinus = torch.tensor([place.get(name, -1) for name in SINUS])
        kind = (rate >= LIMITS[0]).long() + (rate > LIMITS[1]).long()
        measured = rate.isfinite()[:, None]
        is_sinus = (ids >= 0) & torch.isin(ids, sinus)
        ids = torch.where(is_sinus & measured, sinus[kind][:, None], ids)
        # Two sinus statements of one ECG have become the same one.
        ids = torch.where(is_sinus & (is_sinus.cumsum(1) > 1) & measured, -1, ids)
        odd = ((rate < NORMAL_LIMITS[0]) | (rate > NORMAL_LIMITS[1]))[:, None]
        ids = torch.where((ids == place.get(NORMAL, -2)) & odd, -1, ids)
        last = len(self.names)
        ids = torch.where(ids < 0, last, ids).sort(1).values
        return torch.where(ids == last, -1, ids)


def standard(by: Standard, value: Tensor) -> Tensor:
    return (value - by.mean) / by.std


class Drop(NamedTuple):
    """What is hidden of each condition: `draw` it, then `apply` it. True = kept."""

    fields: Tensor
    """(B, 3) heart rate, age, sex."""
    reports: Tensor
    """(B, 1) all statements."""
    condition: Tensor
    """(B,) the whole condition."""
    base: Tensor
    """(B,) the base."""

    @staticmethod
    def draw(n: int, generator: torch.Generator, *, condition: float, base: float = 0.0, field: float) -> "Drop":
        """Probabilities, each drawn apart; `field` of each single field, for users who do not know
        an age or have no report."""

        def kept(probability: float, *shape: int) -> Tensor:
            return torch.rand(n, *shape, generator=generator) >= probability

        return Drop(kept(field, 3), kept(field, 1), kept(condition), kept(base))

    def apply(self, c: Conditions) -> Conditions:
        known = c.known & self.fields
        tokens = c.tokens.clone()
        tokens[..., :3] *= known[:, None].to(tokens.dtype)
        tokens[..., 3:] *= self.reports[..., None].to(tokens.dtype)
        first = torch.zeros_like(c.mask)
        first[:, 0] = True
        mask = torch.where(self.reports, c.mask, first)
        return Conditions(tokens, mask, known, c.base, c.keep_condition & self.condition, c.keep_base & self.base)


def rarity(statements: Tensor, names: int, floor: int) -> Tensor:
    """How often to draw each ECG (N,), mean 1: by its rarest statement, 1 / sqrt(count),
    counts below `floor` as `floor`.

    statements (N, M): numbers below `names`, -1 = none.
    """
    ids = statements.long()
    counts = torch.bincount(ids[ids >= 0], minlength=names).clamp(min=floor)
    each = torch.cat([counts.max().rsqrt()[None], counts.rsqrt()])  # place 0: none
    weight = each[ids + 1].amax(1)
    return weight / weight.mean()
