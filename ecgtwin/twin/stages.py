"""What the training scripts of the later stages share: the frozen codec, the bank of views and their labels."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from ..text.statements import from_scp
from ..train.checkpoint import load_tensors, part, save_tensors
from . import bank
from .bank import Bank, codes_at
from .base import BaseExtractor
from .build import build_base, build_codec
from .codec import Codec
from .condition import Condition
from .config import ModelConfig, parse
from .data import Recordings
from .labels import Labels


def load_codec(path: Path) -> tuple[Codec, ModelConfig]:
    """The auto-encoder that stage 0 left, with the configuration it was trained under."""
    tensors, meta = load_tensors(path)
    config = parse(ModelConfig, meta["config"]["model"], str(path))
    codec = build_codec(config)
    codec.load_state_dict(tensors)
    return codec.eval().requires_grad_(False), config


def digest(*arrays: np.ndarray | torch.Tensor) -> str:
    """A short fingerprint of arrays."""
    sha = hashlib.sha256()
    for a in arrays:
        sha.update(np.ascontiguousarray(a).tobytes())
    return sha.hexdigest()[:16]


def views(recordings: Recordings, codec: Codec, rate: float, cache: Path) -> tuple[Bank, Bank]:
    """Targets and views of all recordings; read from `cache` when it was made by this codec from these signals."""
    key = digest(recordings.signals, *codec.state_dict().values())
    if cache.is_file():
        tensors, meta = load_tensors(cache)
        if meta["key"] == key:
            return Bank(tensors["targets"], tensors["target_rates"]), Bank(tensors["views"], tensors["view_rates"])

    def encode(signals: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return codec.encode(signals)

    targets, seen = bank.build(recordings, encode, rate)
    save_tensors(
        cache,
        {
            "targets": targets.latents,
            "target_rates": targets.heart_rate,
            "views": seen.latents,
            "view_rates": seen.heart_rate,
        },
        {"key": key},
    )
    return targets, seen


def label(recordings: Recordings, made: Bank, names: tuple[str, ...], embeddings: np.ndarray) -> Labels:
    """The condition of every ECG in every variant, at that variant's heart rate; statements outside `names` are left out."""
    table = recordings.table
    conditions = [
        [
            Condition(
                tuple(s for s in from_scp(codes_at(codes, rate)) if s in names),
                sex=sex,
                age=None if np.isnan(age) else age,
                heart_rate=float(rate) if 20 <= rate <= 300 else None,
            )
            for rate in rates.tolist()
        ]
        for codes, sex, age, rates in zip(table["codes"], table["sex"], table["age"], made.heart_rate, strict=True)
    ]
    return Labels.of(conditions, names, embeddings)


def numbered(recordings: Recordings) -> torch.Tensor:
    """Patients as integers (N,)."""
    return torch.from_numpy(np.unique(recordings.table["patient"], return_inverse=True)[1])


class Partners:
    """For every ECG the rows of all ECGs of the same patient, for drawing pairs."""

    def __init__(self, patients: torch.Tensor):
        self.rows = [torch.nonzero(patients == p).flatten() for p in patients.tolist()]
        self.several = torch.tensor([len(r) > 1 for r in self.rows])

    def draw(self, row: int, generator: torch.Generator) -> int:
        """Another ECG of the same patient, or the same one where there is no other."""
        others = self.rows[row][self.rows[row] != row]
        return int(others[torch.randint(len(others), (1,), generator=generator)]) if len(others) else row


def load_extractor(path: Path) -> BaseExtractor:
    """The extractor that stage 1 left, without its temperature."""
    tensors, meta = load_tensors(path)
    extractor = build_base(parse(ModelConfig, meta["config"]["model"], str(path)))
    extractor.load_state_dict(part(tensors, "extractor"))
    return extractor.eval().requires_grad_(False)


