"""A subject, such as a patient or a hospital, as a statement of its own (Textual Inversion, Gal et al. 2022, arXiv
2208.01618): a learned row of the statement table, in a file beside an unchanged model.

Shapes: B batch · M statements · S subjects · W text width.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..text.table import StatementTable
from ..train.checkpoint import load_tensors, save_tensors
from .condition import Conditions
from .network import TwinNetwork

FORMAT = 1
NUMBERS = 3
"""Heart rate, age and sex stand in front of a statement's vector."""


class Taught(nn.Module):
    """A network, and the vectors of subjects while they are learned.

    markers (S, W): what stands in conditions where a subject is meant; `learned` (S, W) takes its place.
    """

    def __init__(self, network: TwinNetwork, markers: Tensor, start: Tensor):
        super().__init__()
        self.network, self.learned = network, nn.Parameter(start.clone())
        self.register_buffer("markers", markers.clone())

    def forward(self, x: Tensor, t: Tensor, c: Conditions) -> Tensor:
        numbers, text = c.tokens[..., :NUMBERS], c.tokens[..., NUMBERS:]
        meant = (text[..., None, :] == self.markers).all(-1)  # (B, M, S)
        vectors = meant.to(self.learned.dtype) @ self.learned  # (B, M, W)
        text = torch.where(meant.any(-1, keepdim=True), vectors, text)
        return self.network(x, t, c._replace(tokens=torch.cat([numbers, text], -1)))


def save(path: str | Path, name: str, vector: Tensor, base: str) -> Path:
    """Write one learned statement: its vector (W,), its name, and which denoiser it belongs to."""
    facts = {"format": FORMAT, "name": name, "base": base}
    return save_tensors(Path(path), {"vector": vector.float()}, {"statement": facts})


def load(path: str | Path, table: StatementTable, base: str) -> StatementTable:
    """A table with the statement that `save` wrote. FileNotFoundError; ValueError: it is none, of another model, or its
    name is taken."""
    tensors, meta = load_tensors(Path(path))
    said = meta.get("statement")
    if not isinstance(said, dict) or said.get("format") != FORMAT or set(tensors) != {"vector"}:
        raise ValueError(f"{path} is not a learned statement of format {FORMAT}: see scripts/train_subject.py")
    if said.get("base") != base:
        raise ValueError(f"{path} was learned on another model than this one, where its vector means nothing")
    return table.taught(str(said["name"]), tensors["vector"].numpy())


def fingerprint_with(table: StatementTable, base: str) -> str:
    """A digest of a model's own and of learned statements; the model's own where there are none."""
    if not table.learned:
        return base
    digest = hashlib.sha256(base.encode())
    for name, vector in table.learned:
        digest.update(name.encode() + np.ascontiguousarray(vector).tobytes())
    return digest.hexdigest()
