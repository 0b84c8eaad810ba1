"""Conditions of a whole data set as arrays, so that a training batch is a gather."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .condition import Condition, Conditions, numbers


@dataclass(frozen=True)
class Labels:
    """statements (N, V, M) rows of `embeddings`, -1 = none; values and known (N, V, 3): heart rate, age, sex."""

    statements: Tensor
    values: Tensor
    known: Tensor
    embeddings: Tensor

    @staticmethod
    def of(conditions: Sequence[Sequence[Condition]], names: Sequence[str], embeddings: np.ndarray) -> "Labels":
        """From conditions [N][V], whose statements are all among `names` with `embeddings` (len(names), width)."""
        index = {name: i for i, name in enumerate(names)}
        n, v = len(conditions), len(conditions[0])
        longest = max(1, max(len(c.reports) for row in conditions for c in row))
        statements = np.full((n, v, longest), -1)
        values, known = np.zeros((n, v, 3), np.float32), np.zeros((n, v, 3), bool)
        for i, row in enumerate(conditions):
            for j, condition in enumerate(row):
                statements[i, j, : len(condition.reports)] = [index[r] for r in condition.reports]
                values[i, j], known[i, j] = numbers(condition)
        tensors = (torch.from_numpy(a) for a in (statements, values, known, np.array(embeddings, np.float32)))
        return Labels(*tensors)

    def conditions(self, rows: Tensor, kinds: Tensor, base: Tensor | None = None) -> Conditions:
        """The batch of ECGs `rows` in variants `kinds`, everything kept."""
        ids, values, known = self.statements[rows, kinds], self.values[rows, kinds], self.known[rows, kinds]
        mask = ids >= 0
        text = self.embeddings[ids.clamp(min=0)] * mask[..., None]
        tokens = torch.cat([values[:, None].expand(-1, ids.shape[1], -1), text], -1)
        mask = mask.clone()
        mask[:, 0] = True  # an ECG without statements still has one token, for its numbers
        keep = torch.ones(len(rows), dtype=torch.bool)
        return Conditions(tokens, mask, known, torch.zeros(len(rows), 1) if base is None else base, keep, keep.clone())


def drop(
    c: Conditions, generator: torch.Generator, *, condition: float, base: float = 0.0, field: float = 0.1
) -> Conditions:
    """Hide things at random, each sample apart: the whole condition, the base, and single fields (for users who do not
    know an age or have no report)."""
    b = len(c.tokens)

    def kept(share: float, *shape: int) -> Tensor:
        return torch.rand(b, *shape, generator=generator) >= share

    fields, reports = kept(field, 3), kept(field, 1)
    known = c.known & fields
    tokens = c.tokens.clone()
    tokens[..., :3] *= known[:, None].to(tokens.dtype)
    tokens[..., 3:] *= reports[..., None].to(tokens.dtype)
    first = torch.zeros_like(c.mask)
    first[:, 0] = True
    mask = torch.where(reports, c.mask, first)
    return Conditions(
        tokens, mask, known, c.base, c.keep_condition & kept(condition), c.keep_base & kept(base)
    )


def rarity(labels: Labels, train: Tensor, floor: int = 30) -> Tensor:
    """How often to draw each ECG (N,): by its rarest statement, 1 / sqrt(count among the training ECGs), counts below
    `floor` as `floor`. The mean over the training ECGs is 1."""
    ids = labels.statements[:, 0]
    present = torch.zeros(len(ids), len(labels.embeddings) + 1).scatter_(1, ids + 1, 1.0)[:, 1:]
    counts = present[train].sum(0).clamp(min=floor)
    weight = (present / counts.sqrt()).amax(1)
    weight = torch.where(weight > 0, weight, counts.max().rsqrt())
    return weight / weight[train].mean()
