"""The training of a comparator: real ECGs of training patients, each told its own condition; no pair, no reference.

Shapes: B batch · C leads or latent channels · L samples of them.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ...ecg.rhythm import heart_rate
from ...ecg.store.recordings import Recordings
from ...nets.dit import Block
from ...nets.unet import ConditionedResidual
from ...nets.vae import parameters
from ...text.table import StatementTable
from ...train.batch import Drawn, cut, stream, to
from ...train.loop import Training, by_sample
from ...train.plan import FREE
from ...train.stage import Backward, Figures
from ...twin.codec import Codec
from ...twin.condition import Conditions
from ...twin.model import LEADS
from ..condition_table import ConditionTable, Drop
from ..held_out import thinned
from ..latents import Bank, kept
from ..weights import digest
from .config import ComparatorConfig, ComparatorPlan, Kind
from .cvae import CVAE
from .ddpm import DDPM
from .flow import Flow
from .gan import GAN

if TYPE_CHECKING:
    from accelerate import Accelerator

HELD = 256
"""Validation ECGs at most."""


class Comparator(Protocol):
    """What each kind of network does. sees: "signals" (mV / scale) or "latents" of the auto-encoder. noise_shape: of
    the noise that one ECG is made of."""

    sees: str
    noise_shape: tuple[int, ...]

    def __call__(self, x: Tensor, c: Conditions, noise: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses (B,) of ECGs x (B, C, L), and figures; noise (B, *noise_shape) and place (B,) in [0, 1) are drawn."""
        ...

    def draw(self, c: Conditions, noise: Tensor) -> Tensor:
        """New ECGs (B, C, L) of noise."""
        ...


def build(kind: Kind, config: ComparatorConfig, codec: Codec) -> nn.Module:
    """An untrained comparator."""
    signal, text = config.signal, config.text.width
    signals, latents = (LEADS, signal.samples), (codec.channels, signal.samples // codec.factor)
    match kind:
        case "gan":
            return GAN(signals, text, config.gan)
        case "cvae":
            return CVAE(signals, text, config.cvae)
        case "flow":
            return Flow(latents, text, config.flow)
        case "ddpm":
            return DDPM(latents, text, config.ddpm)
    raise ValueError(f"comparator {kind!r}: expected gan, cvae, flow or ddpm")


class Seen(NamedTuple):
    """B ECGs: their places (B,), the noise and places in [0, 1) that their losses are drawn with, and what is hidden
    of each condition; x and conditions once they are loaded."""

    rows: Tensor
    noise: Tensor
    place: Tensor
    drop: Drop
    x: Tensor | None = None
    conditions: Conditions | None = None


class ComparatorStage:
    blocks = (Block, ConditionedResidual)

    def __init__(
        self, kind: Kind, settings: ComparatorConfig, recordings: Recordings, bank: Bank, codec: Codec, key: str,
        table: StatementTable, device: torch.device,
    ):  # fmt: skip
        """bank: of `recorded`. codec: of the shipped model or another, by its fingerprint `key`."""
        self.name, self.recordings, self.bank = kind, recordings, bank
        self.plan: ComparatorPlan = getattr(settings.train, kind)
        self.scale, self.device = settings.signal.scale, device
        self.conditions = ConditionTable.of(recordings, bank.target_rates, table, settings.condition)
        self.train = torch.from_numpy(recordings.places("train"))
        if not len(self.train):
            raise ValueError("no usable ECG in split train: prepare a store with training patients")
        if table.width != settings.text.width:
            raise ValueError(f"statement vectors are {table.width} wide, the configuration says {settings.text.width}")
        torch.manual_seed(self.plan.seed)
        self.network = build(kind, settings, codec)
        self.config = settings.model_dump() | {"kind": kind}
        self.inputs = {
            "kind": kind,
            "model": getattr(settings, kind).model_dump_json() + settings.signal.model_dump_json(),
            "train": self.plan.model_dump_json(exclude=FREE),
            "data": recordings.digest,
            "encoder": table.fingerprint,
            "vae": key,
        }
        self.held = self.held_out()
        self.epoch = len(self.train)
        self.facts = {"parameters": parameters(self.network), "train": self.epoch, "held": len(self.held.rows)}

    def draw(self, generator: torch.Generator) -> Seen:
        n, plan = self.plan.batch, self.plan
        rows = self.train[torch.randint(len(self.train), (n,), generator=generator)]
        drop = Drop.draw(n, generator, condition=plan.drop_condition, field=plan.drop_field)
        noise = torch.randn(n, *self.network.noise_shape, generator=generator)
        return Seen(rows, noise, torch.rand(n, generator=generator), drop)

    def held_out(self) -> Seen:
        """Validation patients, everything told, evenly over the places."""
        places = thinned(self.recordings.places("validation"), HELD)
        if not len(places):
            raise ValueError("no usable ECG in split validation: prepare a store with such patients")
        n, generator = len(places), stream(1, 2, 3)
        drop = Drop.draw(n, generator, condition=0.0, field=0.0)
        noise = torch.randn(n, *self.network.noise_shape, generator=generator)
        return self.load(Seen(torch.from_numpy(places), noise, torch.linspace(0, 0.999, n), drop))

    def load(self, batch: Seen) -> Seen:
        first = torch.zeros_like(batch.rows)
        if self.network.sees == "latents":
            x = self.bank.target(batch.rows, first).float()
        else:
            x = torch.from_numpy(self.recordings.millivolts(batch.rows.numpy())) / self.scale
        return batch._replace(x=x, conditions=batch.drop.apply(self.conditions.conditions(batch.rows, first)))

    def backward(self, training: Training, batch: Drawn) -> Backward:
        return by_sample(training, self.losses, batch)

    def losses(self, network: Comparator, batch: Seen) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.x is not None and batch.conditions is not None
        return network(batch.x, batch.conditions, batch.noise, batch.place)

    def names(self, batch: Seen) -> list[str]:
        return [self.recordings.name(row) for row in batch.rows.tolist()]

    def validate(self, network: nn.Module) -> Figures:
        """The loss on held-out patients, with fixed noise: with their conditions, and with nothing told."""
        figures: Figures = {}
        for name, told in (("held", True), ("held_no_condition", False)):
            held = to(self.held, self.device)
            keep = torch.full_like(held.conditions.keep_condition, told)
            held = held._replace(conditions=held.conditions._replace(keep_condition=keep))
            parts = max(k for k in range(1, 5) if len(held.rows) % k == 0)
            found = [self.losses(network, cut(held, k, parts))[0] for k in range(parts)]
            figures[name] = float(torch.cat(found).mean())
        return figures

    def score(self, figures: Figures) -> float | None:
        """The weights with the lowest loss are kept; a GAN's, which says nothing of quality, are the last."""
        return None if self.name == "gan" else -figures["held"]

    def result(self, network: nn.Module) -> dict[str, Tensor]:
        """Of the GAN the generator alone."""
        return {k: v for k, v in network.state_dict().items() if not k.startswith("critic.")}

    def figure(self, network: nn.Module) -> None:
        return None


def recorded(recordings: Recordings, place: int, *, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """The recording as it is, (1, 8, samples) int16 in uV, and its heart rate (1,)."""
    x = recordings.read(slice(place, place + 1))
    beats = heart_rate(x[0] / np.float32(1000), rate)
    return x, np.array([np.nan if beats is None else beats], np.float32)


def latents_of(
    config: ComparatorConfig, recordings: Recordings, codec: Codec, key: str, folder: Path, accelerator: "Accelerator"
) -> Bank:
    """Each recording's latent and heart rate, kept in a folder that all comparators share."""
    shape = (1, codec.channels, config.signal.samples // codec.factor)
    make = partial(recorded, rate=config.signal.rate)
    return kept(
        folder, digest(key, recordings.digest, "recorded"), recordings, codec, codec.encode, make, shape, 1, accelerator
    )
