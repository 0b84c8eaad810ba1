"""The output layer that reads extractor and median beat, and the denoiser's layer that then reads its base vectors:
both in closed form, on the training ECGs of a whole model. Nothing else of the model changes.

Base vectors are whitened within people (directions in which one person's ECGs differ count less; within-class
covariance normalisation, Hatch et al. 2006) and weighed by what people differ in (the posterior mean of a
two-covariance model, PLDA: Ioffe 2006), so that their cosine tells people apart. The denoiser's layer is set so that it
answers for the new base what it answered for the old one, as well as a linear layer can.
"""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..ecg.leads import INDEPENDENT
from ..ecg.store.recordings import Recordings
from ..metrics.identity import identity, repeated
from ..train.batch import stream
from ..twin.condition import Condition
from ..twin.model import Parts, build_base
from ..twin.person_layer import PersonLayer, beats_of, compressed
from ..twin.twin import ECGTwin
from .augment import Electrodes
from .output_layer import deviations, whitener

COMPONENTS = 128
RIDGE = 1e-6
"""Of the denoiser's layer, of the mean variance of what it reads."""


@dataclass(frozen=True)
class Read:
    """Of N recordings: the extractor's means (N, D) told their conditions and not, median beats (N, P)."""

    told: Tensor
    untold: Tensor
    beats: Tensor

    def at(self, rows: np.ndarray) -> "Read":
        return Read(self.told[rows], self.untold[rows], self.beats[rows])

    def of(self, layer: nn.Module) -> list[Tensor]:
        """What an output layer, or its first part, makes of the two means."""
        return [layer(h, self.beats) for h in (self.told, self.untold)]


@torch.inference_mode()
def with_person_layer(
    model: ECGTwin, recordings: Recordings, components: int = COMPONENTS, seed: int = 0
) -> tuple[Parts, dict[str, float]]:
    """The model's parts with such an output layer, and figures on validation ECGs before ("old_") and after.

    recordings: of all splits; the layers are fitted on "train". ValueError for a model that has such a
    layer, sees beats alone, or has a student, which would have to be distilled again.
    """
    parts, config = model.parts, model.config
    if parts.base.reads_beats or config.base.sees == "beat":
        raise ValueError("the base extractor of this model reads beats already: expected one that does not")
    if parts.student is not None:
        raise ValueError("this model has a student, which reads its base vectors: take it away, and distil it again")
    if config.base.width + components < config.base.base:
        raise ValueError(
            f"{components} components beside {config.base.width} of the extractor: expected {config.base.base} "
            "or more together"
        )
    read = read_all(model, recordings)
    train, held = (recordings.places(split) for split in ("train", "validation"))
    known = read.at(train)
    layer = fitted(known, recordings.owner[train], components, config.base.base, seed)
    old, new = ([parts.base.out(h) for h in (read.told, read.untold)], read.of(layer))
    figures = recognised("old_", old, recordings, held) | recognised("", new, recordings, held)
    answers = [parts.denoiser.base(direction(v)).double() for v in old]
    denoiser = deepcopy(parts.denoiser)
    refit(denoiser.base, [direction(v[train]) for v in new], [a[train] for a in answers])
    if len(held):
        explained = [share(denoiser.base(direction(v[held])), a[held]) for v, a in zip(new, answers, strict=True)]
        figures |= {"explained": explained[0], "explained_free": explained[1]}
    config = config.model_copy(update={"base": config.base.model_copy(update={"beat": components})})
    base = build_base(config)
    base.load_state_dict({k: v for k, v in parts.base.state_dict().items() if not k.startswith("out.")}, strict=False)
    base.out = layer
    validation = parts.facts.get("validation", {})
    facts = parts.facts | {"validation": validation | {"base": in_fold(new, recordings, held)}}
    return replace(parts, config=config, base=base.eval(), denoiser=denoiser, facts=facts, weights_hash=""), figures


def read_all(model: ECGTwin, recordings: Recordings, size: int = 64) -> Read:
    base, statements = model.parts.base, set(model.statements)
    told, untold, beats = [], [], []
    for k in range(0, len(recordings), size):
        places = range(k, min(k + size, len(recordings)))
        x = recordings.millivolts(slice(places.start, places.stop))
        beats.append(beats_of(x, recordings.rate))
        z = model.seen(torch.from_numpy((x - np.median(x, -1, keepdims=True)).astype(np.float32)))
        own = [
            Condition(
                tuple(s for s in recordings.statements(p) if s in statements), recordings.sexes(p), recordings.years(p)
            )
            for p in places
        ]
        for found, conditions in ((told, own), (untold, [Condition()] * len(own))):
            found.append(base.mean(z, model.conditions(conditions)).float().cpu())
    return Read(torch.cat(told), torch.cat(untold), torch.cat(beats))


def fitted(read: Read, owners: np.ndarray, components: int, width: int, seed: int) -> PersonLayer:
    """The layer of training ECGs of these owners (N,). What one person varies in: two ECGs, told the
    condition or not, other electrodes (of the beat alone)."""
    layer = PersonLayer(read.told.shape[1], width, components)
    shapes = compressed(read.beats[read.beats.abs().sum(1) > 0]).double().numpy()
    if len(shapes) <= components:
        raise ValueError(f"{len(shapes)} training ECGs with a median beat: expected more than {components} components")
    centre = shapes.mean(0)
    axes = np.linalg.eigh((shapes - centre).T @ (shapes - centre))[1][:, ::-1][:, :components].T
    put(layer.beat, axes, -axes @ centre)
    told, untold = (x.double().numpy() for x in read.of(layer.directions))
    views = [x.double().numpy() for x in electrode_views(read, layer, seed)]
    alone = np.arange(len(told))
    parts = [
        deviations(untold, owners),
        deviations(told, owners),
        deviations(np.concatenate([told, untold]), np.tile(alone, 2)),
        deviations(np.concatenate(views), np.tile(alone, 2)),
    ]
    turn = whitener(parts)
    both = np.concatenate([told, untold])
    white = (both - both.mean(0)) @ turn
    values, axes = np.linalg.eigh(np.cov(white.T))
    between = np.maximum(values - 1, 0)  # within people it is 1
    keep = np.argsort(-between)[:width]
    weight = (turn @ axes * np.sqrt(between / (between + 1)))[:, keep].T
    put(layer.joined, weight, -weight @ both.mean(0))
    return layer


def electrode_views(read: Read, layer: PersonLayer, seed: int) -> list[Tensor]:
    """Directions of the same ECGs with two other days' electrodes; those of the extractor stay."""
    generator, n = stream(seed, 1), len(read.beats)
    beats = read.beats.unflatten(1, (len(INDEPENDENT), -1))
    drawn = [Electrodes.draw(n, generator, angle=9.0, shift=0.33, gain=0.15).apply(beats) for _ in range(2)]
    return [layer.directions(read.untold, x.flatten(1)) for x in drawn]


def direction(base: Tensor) -> Tensor:
    """What `TwinNetwork.conditioned` reads of base vectors."""
    return F.normalize(base, dim=-1) * base.shape[-1] ** 0.5


def refit(layer: nn.Linear, given: list[Tensor], wanted: list[Tensor]) -> None:
    """Set a linear layer to the least-squares map from (N, E) to (N, W), lists of which count alike."""
    x, y = (torch.cat(parts).double().numpy() for parts in (given, wanted))
    x0, y0 = x.mean(0), y.mean(0)
    gram = (x - x0).T @ (x - x0)
    ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    weight = np.linalg.solve(gram + ridge, (x - x0).T @ (y - y0)).T
    put(layer, weight, y0 - weight @ x0)


def put(layer: nn.Linear, weight: np.ndarray, bias: np.ndarray) -> None:
    for name, value in (("weight", weight), ("bias", bias)):
        setattr(
            layer, name, nn.Parameter(torch.from_numpy(np.ascontiguousarray(value, np.float32)), requires_grad=False)
        )


def share(answer: Tensor, wanted: Tensor) -> float:
    """Fraction of the variance of (N, W) that an answer explains."""
    return float(1 - (answer - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum())


def recognised(prefix: str, vectors: list[Tensor], recordings: Recordings, held: np.ndarray) -> dict[str, float]:
    """Rank-1 and equal error rate of validation ECGs among all, told their condition and ("_free") not."""
    if not repeated(recordings.patient[held]):
        return {}
    figures: dict[str, float] = {}
    for suffix, v in zip(("", "_free"), vectors, strict=True):
        found = identity(v.numpy(), recordings.patient, held)
        figures |= {f"{prefix}rank1{suffix}": found.rank1, f"{prefix}eer{suffix}": found.eer}
    return figures


def in_fold(vectors: list[Tensor], recordings: Recordings, held: np.ndarray) -> dict[str, float]:
    """The same among the validation ECGs alone, as stage 1 measures it."""
    own = recordings.only("validation")
    return recognised("", [v[held] for v in vectors], own, np.arange(len(held)))
