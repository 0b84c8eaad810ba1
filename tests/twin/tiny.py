"""A tiny untrained model and a simulated reference for tests of everything around the weights."""

import numpy as np
import torch

from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.text.table import StatementTable
from ecgtwin.train.strict import parse
from ecgtwin.twin import model as models
from ecgtwin.twin.config import ModelConfig
from ecgtwin.twin.twin import ECGTwin

STATEMENTS = (
    "atrial fibrillation",
    "sinus rhythm",
    "complete left bundle branch block",
    "complete right bundle branch block",
)

CONFIG = {
    "signal": {"rate": 102.4, "samples": 1024, "scale": 0.25},
    "vae": {"latent": 4, "widths": [8], "blocks": 1, "middle": 1, "stem": 4, "groups": 4},
    "base": {"width": 16, "depth": 1, "heads": 2, "patch": 2, "hidden": 16, "base": 8},
    "denoiser": {"width": 32, "depth": 1, "heads": 4, "patch": 4},
    "diffusion": {"schedule": "cosine", "steps": 50, "prediction": "v"},
    "text": {"width": 12, "statements": 4},
}


class Letters:
    """A stand-in text encoder: fixed random vectors of the statements' letters."""

    name, fingerprint, width = "letters", "0" * 64, 12

    def encode(self, statements):
        table = np.random.default_rng(0).standard_normal((128, self.width))
        return np.stack([sum(table[ord(c) % 128] * (i + 1) for i, c in enumerate(s)) for s in statements]).astype(
            np.float32
        )


def model(config: dict = CONFIG) -> ECGTwin:
    torch.manual_seed(0)
    parts = models.build(parse(ModelConfig, config, "tiny"), StatementTable.build(STATEMENTS, Letters()))
    for p in parts.denoiser.parameters():
        if not p.abs().sum():
            torch.nn.init.normal_(p, std=0.3)
    return ECGTwin(parts)


def reference(seed: int = 1) -> ECG:
    return simulate(Person.draw(seed), "sinus rhythm", 70.0, seed=seed)
