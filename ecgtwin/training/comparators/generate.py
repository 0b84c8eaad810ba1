"""A trained comparator: conditions in, ECGs out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...diffusion.sample import seeded_noise
from ...ecg.leads import INDEPENDENT, LEADS, complete
from ...text.table import StatementTable
from ...train.checkpoint import load_tensors
from ...train.strict import parse
from ...twin.codec import Codec
from ...twin.condition import Condition, stack
from .config import ComparatorConfig
from .stage import build


@dataclass(frozen=True, eq=False)
class Trained:
    """network: with its averaged weights. codec, table: those that it was trained with."""

    kind: str
    config: ComparatorConfig
    network: nn.Module
    codec: Codec
    table: StatementTable

    @classmethod
    def load(cls, path: Path, codec: Codec, key: str, table: StatementTable) -> "Trained":
        """weights.safetensors of `scripts/train_comparator.py`. key: the codec's fingerprint. ValueError where it was
        trained with another codec or statement table."""
        tensors, meta = load_tensors(path)
        tree, inputs = dict(meta.get("config") or {}), meta.get("inputs", {})
        if "kind" not in tree:
            raise ValueError(f"{path} holds no comparator: expected weights.safetensors of scripts/train_comparator.py")
        for name, now in (("vae", key), ("encoder", table.fingerprint)):
            if inputs.get(name) != now:
                raise ValueError(f"{path} was trained with another {name}: give the model (--model) that it was given")
        kind = tree.pop("kind")
        config = parse(ComparatorConfig, tree, str(path))
        network = build(kind, config, codec)
        missing, unknown = network.load_state_dict(tensors, strict=False)
        if unknown or any(not name.startswith("critic.") for name in missing):
            raise ValueError(f"{path} does not fit its own configuration: {[*missing, *unknown][:3]}")
        return cls(kind, config, network.eval(), codec.eval(), table)

    def known(self, condition: Condition) -> Condition:
        """Without the statements that are not in the table."""
        reports = tuple(r for r in condition.reports if r in self.table.statements)
        return Condition(reports, condition.sex, condition.age, condition.heart_rate)

    @torch.inference_mode()
    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int], *, batch: int = 32) -> np.ndarray:
        """(N, 12, T) float32 in mV at `config.signal.rate`, leads in the order of `LEADS`, the limb leads by
        Einthoven's law. The noise of each ECG is of its own seed alone. ValueError for another number of seeds."""
        if len(seeds) != len(conditions):
            raise ValueError(f"{len(seeds)} seeds for {len(conditions)} conditions: expected one for each")
        out = []
        for k in range(0, len(conditions), batch):
            told = [self.known(c) for c in conditions[k : k + batch]]
            c = stack(told, self.table.lookup, self.config)
            noise = seeded_noise(seeds[k : k + batch])(torch.empty(len(told), *self.network.noise_shape))
            x = self.network.draw(c, noise)
            x = self.codec.decode(x) if self.network.sees == "latents" else x * self.config.signal.scale
            out += [complete(dict(zip(INDEPENDENT, one, strict=True)), LEADS) for one in x.float().numpy()]
        return np.stack(out) if out else np.empty((0, len(LEADS), self.config.signal.samples), np.float32)
