"""Which two ECGs are a training pair: reference and target."""

import numpy as np
import torch
from torch import Tensor

from ..ecg.store.recordings import Recordings
from .config import Pairing


class Pairer:
    """Draws pairs of places in stated fractions.

    Real pairs come from patients with two ECGs that differ; simulated ones are two states of one simulated person; the
    others are one recording twice. weight (N,): how often to draw a recording for those, None for all alike.
    """

    def __init__(self, recordings: Recordings, split: str, fractions: Pairing, weight: Tensor | None = None):
        real = recordings.places(split, simulated=False)
        self.alone = torch.from_numpy(real if len(real) else recordings.places(split))
        if not len(self.alone):
            raise ValueError(f"no usable ECG in split {split}: prepare a store with such patients")
        self.weight = torch.ones(len(self.alone)) if weight is None else weight[self.alone]
        self.fractions = torch.tensor([fractions.real, fractions.same, fractions.simulated])
        self.pairs = [recordings.pairs(split, simulated=False), None, recordings.pairs(split, simulated=True)]
        for name, fraction, pairs in (
            ("real", fractions.real, self.pairs[0]),
            ("simulated", fractions.simulated, self.pairs[2]),
        ):
            if fraction > 0 and pairs.total == 0:
                raise ValueError(
                    f"pairs.{name} is {fraction:g}, but no {name} patient in split {split} has two ECGs that differ: "
                    f"set it to 0, or add a store with {name} patients"
                )

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """References and targets (n,), (n,)."""
        kinds = torch.multinomial(self.fractions, n, replacement=True, generator=generator)
        place = self.alone[torch.multinomial(self.weight, n, replacement=True, generator=generator)]
        chosen = torch.stack([place, place], 1)
        seed = int(torch.randint(2**62, (), generator=generator))
        for kind, pairs in enumerate(self.pairs):
            here = torch.nonzero(kinds == kind).flatten()
            if pairs is not None and len(here):
                chosen[here] = torch.from_numpy(pairs.draw(len(here), np.random.default_rng([seed, kind])))
        return chosen[:, 0], chosen[:, 1]

    @staticmethod
    def available(recordings: Recordings, split: str) -> Pairing:
        """Half real pairs, or half simulated where there are no real ones, or none: for validation."""
        for name, simulated in (("real", False), ("simulated", True)):
            if recordings.pairs(split, simulated=simulated).total:
                return Pairing(**{"real": 0.0, "simulated": 0.0, "same": 0.5} | {name: 0.5})
        return Pairing(real=0.0, same=1.0)
