"""What an extractor's output layer becomes once its network is trained: closed forms, on the bases of training ECGs.

Whitening within patients: directions in which one person's ECGs differ count less. Erasure: no straight line tells
statements, sex or age of the training ECGs. Both are linear, so they go into the layer and cost nothing afterwards.
"""

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..ecg.store.recordings import Recordings
from ..twin.base import BaseExtractor
from .latents import Bank

if TYPE_CHECKING:
    from .beat_pairs import BeatPairs

LEAST, SHARE = 30, 0.01
"""Training ECGs, and share of them, that a statement needs to be erased: of rarer ones there is too
little to know their direction."""
SHRINKAGE = 0.3


def finished(extractor: BaseExtractor, pairs: "BeatPairs", device: torch.device) -> BaseExtractor:
    """A copy of an extractor whose output layer whitens and erases as the stage's configuration says."""
    stage, bank = pairs.stage, pairs.bank
    extractor = deepcopy(extractor)
    if not (stage.whiten or stage.erase):
        return extractor
    rows = torch.tensor([item.row for item in pairs.alone])
    own = beat_bases(extractor, bank, rows, device).double().numpy()
    mean = own.mean(0)
    turn = np.eye(own.shape[1])
    if stage.whiten:
        parts = [deviations(own, pairs.patient[rows].numpy())]
        views = [
            beat_bases(extractor, bank, rows, device, kind=1 + k * pairs.views // 3).double().numpy() for k in range(3)
        ]
        parts.append(deviations(np.concatenate([own, *views]), np.tile(rows.numpy(), 4)))
        if pairs.constructed:
            made = torch.tensor(pairs.constructed)
            others = beat_bases(extractor, bank, made[:, 0], device, kind=made[:, 1]).double().numpy()
            people = np.concatenate([pairs.patient[rows].numpy(), pairs.patient[made[:, 0]].numpy()])
            parts.append(deviations(np.concatenate([own, others]), people))
        turn = whitener(parts)
    shift = -turn @ mean
    if stage.erase:
        erased, offset = eraser(own @ turn.T + shift, concepts(pairs.recordings, rows.numpy()))
        turn, shift = erased @ turn, erased @ shift + offset
    with torch.no_grad():
        weight, bias = (p.double().cpu() for p in (extractor.out.weight, extractor.out.bias))
        extractor.out.weight.copy_(torch.from_numpy(turn) @ weight)
        extractor.out.bias.copy_(torch.from_numpy(turn) @ bias + torch.from_numpy(shift))
    return extractor


@torch.no_grad()
def beat_bases(
    extractor: BaseExtractor, bank: Bank, rows: Tensor, device: torch.device, kind: int | Tensor = 0
) -> Tensor:
    """Base vectors (k, E) of recordings' beats of a kind, or of one kind each."""
    extractor = extractor.to(device)
    kinds = torch.as_tensor(kind).expand(len(rows))
    parts = zip(rows.split(512), kinds.split(512), strict=True)
    return torch.cat([extractor(bank.target(r, k).float().to(device), None).float().cpu() for r, k in parts])


def deviations(vectors: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Vectors (N, E) of owners with several, less their owner's mean, scaled so that their mean square is
    the variance within owners."""
    _, group, counts = np.unique(owners, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(sums, group, vectors)
    size = counts[group]
    apart = (vectors - (sums / counts[:, None])[group]) * np.sqrt(size / np.maximum(size - 1, 1))[:, None]
    return apart[size > 1]


def whitener(parts: list[np.ndarray], shrinkage: float = SHRINKAGE) -> np.ndarray:
    """Inverse square root (E, E) of the mean covariance of kinds of deviations, shrunk towards its mean variance."""
    found = [d.T @ d / len(d) for d in parts if len(d)]
    if not found:
        raise ValueError("train.base.whiten: no training patient has two beats")
    covariance = sum(found) / len(found)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / len(covariance) * np.eye(
        len(covariance)
    )
    values, axes = np.linalg.eigh(covariance)
    return axes / np.sqrt(values) @ axes.T


def concepts(recordings: Recordings, rows: np.ndarray) -> np.ndarray:
    """What must not be told, (N, C): sex, age, and each statement of enough recordings."""
    said = [set(recordings.statements(k)) for k in rows.tolist()]
    names = sorted(set().union(*said))
    columns = [[name in s for s in said] for name in names]
    least = max(LEAST, SHARE * len(said))
    columns = [c for c in columns if least <= np.sum(c) <= len(said) - least]
    age = recordings.age[rows]
    columns += [[recordings.sexes(k) == sex for k in rows.tolist()] for sex in ("female", "male")]
    columns.append(np.where(np.isfinite(age), age, np.nanmean(age) if np.isfinite(age).any() else 0.0) / 20)
    return np.stack([np.asarray(c, np.float64) for c in columns], 1)


def eraser(vectors: np.ndarray, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(A, b): of A x + b no linear probe of any loss tells `told` (N, C) better than a
    constant, and x is changed least.

    Least-squares concept erasure (LEACE, Belrose et al. 2023, arXiv 2306.03819, theorem 4.3).
    """
    mean = vectors.mean(0)
    x, z = vectors - mean, told - told.mean(0)
    values, axes = np.linalg.eigh(x.T @ x / len(x))
    keep = values > 1e-8 * values.max()
    values, axes = values[keep], axes[:, keep]
    white, back = axes / np.sqrt(values) @ axes.T, axes * np.sqrt(values) @ axes.T
    directions, strength, _ = np.linalg.svd(white @ (x.T @ z / len(x)), full_matrices=False)
    directions = directions[:, strength > 1e-6 * max(strength.max(), 1e-12)]
    project = np.eye(len(mean)) - back @ directions @ directions.T @ white
    return project, mean - project @ mean
