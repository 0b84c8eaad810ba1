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

from ..ecg.store.recordings import Recordings
from ..metrics.identity import identity, repeated
from ..twin.base import BaseExtractor
from ..twin.condition import Condition
from ..twin.config import ModelConfig
from ..twin.model import Parts, build_base
from ..twin.person_layer import PersonLayer, compressed, curves
from ..twin.twin import ECGTwin
from .output_layer import deviations, whitener
from .people import half_of

COMPONENTS = (64, 64)
"""Of the median beat, and of the curvature of its QRS."""
AMOUNT = 0.3
"""Length of the extractor's part of a base vector beside the beat's. On the ECGs that it was trained on the extractor
knows everybody, so they cannot say how far to trust it: it adds little to a cosine, and holds what the denoiser reads.
"""
RIDGE = 1e-6
"""Of the denoiser's layer, of the mean variance of what it reads."""


@dataclass(frozen=True)
class Read:
    """Of N recordings: the extractor's means (N, D) told their conditions and not, median beats (3, N, P) of all of it,
    its first half and its second (of all where a half has too few)."""

    told: Tensor
    untold: Tensor
    beats: Tensor

    def at(self, rows: np.ndarray) -> "Read":
        return Read(self.told[rows], self.untold[rows], self.beats[:, rows])

    def of(self, layer: nn.Module) -> list[Tensor]:
        """What an output layer, or its first part, makes of the two means."""
        return [layer(h, self.beats[0]) for h in (self.told, self.untold)]


@torch.inference_mode()
def with_person_layer(
    model: ECGTwin, recordings: Recordings, components: tuple[int, int] = COMPONENTS
) -> tuple[Parts, dict[str, float]]:
    """The model's parts with such an output layer, and figures on validation ECGs before ("old_") and after.

    recordings: of all splits; the layers are fitted on "train". components: of the median beat, and of its curvature.
    ValueError for a model that has such a layer, sees beats alone, or has a student, which would have to be distilled
    again.
    """
    parts, config = model.parts, model.config
    if config.base.curvature or config.base.sees == "beat":
        raise ValueError("the base extractor of this model reads beats already: expected one that does not")
    if parts.student is not None:
        raise ValueError("this model has a student, which reads its base vectors: take it away, and distil it again")
    width, wanted = config.base.width, config.base.base
    if not wanted - width <= sum(components) <= wanted:
        raise ValueError(
            f"{components[0]} and {components[1]} components in base vectors of {wanted}: expected {wanted - width} "
            f"to {wanted} together, since the extractor's {width} fill the rest"
        )
    base = build_base(with_layer(config, components))
    read, old = read_all(model, recordings, base)
    train, held = (recordings.places(split) for split in ("train", "validation"))
    known = read.at(train)
    layer = fitted(known, recordings.owner[train], components, wanted)
    new = read.of(layer)
    figures = recognised("old_", old, recordings, held) | recognised("", new, recordings, held)
    answers = [parts.denoiser.base(direction(v)).double() for v in old]
    denoiser = deepcopy(parts.denoiser)
    refit(denoiser.base, [direction(v[train]) for v in new], [a[train] for a in answers])
    if len(held):
        explained = [share(denoiser.base(direction(v[held])), a[held]) for v, a in zip(new, answers, strict=True)]
        figures |= {"explained": explained[0], "explained_free": explained[1]}
    base.load_state_dict({k: v for k, v in parts.base.state_dict().items() if not k.startswith("out.")}, strict=False)
    base.out = layer
    validation = parts.facts.get("validation", {})
    facts = parts.facts | {"validation": validation | {"base": in_fold(new, recordings, held)}}
    config = with_layer(config, components)
    return replace(parts, config=config, base=base.eval(), denoiser=denoiser, facts=facts, weights_hash=""), figures


def with_layer(config: ModelConfig, components: tuple[int, int]) -> ModelConfig:
    beat, curvature = components
    return config.model_copy(update={"base": config.base.model_copy(update={"beat": beat, "curvature": curvature})})


def read_all(model: ECGTwin, recordings: Recordings, new: BaseExtractor, size: int = 64) -> tuple[Read, list[Tensor]]:
    """What the new extractor's output layer will read, and the model's own base vectors (N, E), told and not."""
    base, statements = model.parts.base, set(model.statements)
    told, untold, beats, old = [], [], [], ([], [])
    for k in range(0, len(recordings), size):
        places = range(k, min(k + size, len(recordings)))
        x = recordings.millivolts(slice(places.start, places.stop))
        beats.append(views(x, recordings.rate, new))
        z = model.seen(torch.from_numpy((x - np.median(x, -1, keepdims=True)).astype(np.float32)))
        own = [
            Condition(
                tuple(s for s in recordings.statements(p) if s in statements), recordings.sexes(p), recordings.years(p)
            )
            for p in places
        ]
        for found, was, conditions in ((told, old[0], own), (untold, old[1], [Condition()] * len(own))):
            found.append(base.mean(z, model.conditions(conditions)))
            was.append(base.out(found[-1]).float().cpu())
            found[-1] = found[-1].float().cpu()
    return Read(torch.cat(told), torch.cat(untold), torch.cat(beats, 1)), [torch.cat(v) for v in old]


def views(x: np.ndarray, rate: float, base: BaseExtractor) -> Tensor:
    """Median beats (3, B, P) of signals (B, 8, L) and of their halves."""
    whole, *halves = (base.beats_of(part, rate) for part in (x, half_of(x, 0), half_of(x, 1)))
    return torch.stack([whole, *(torch.where(h.any(1, keepdim=True), h, whole) for h in halves)])


def fitted(read: Read, owners: np.ndarray, components: tuple[int, int], width: int) -> PersonLayer:
    """The layer of training ECGs of these owners (N,): base vectors of `width`, of which the beat has as many as it has
    components (beat, curvature) and the extractor's mean the rest."""
    layer = PersonLayer(read.told.shape[1], width, *components)
    measured = read.beats[0][read.beats[0].abs().sum(1) > 0]
    principal(layer.beat, compressed(measured).double().numpy())
    principal(layer.curvature, compressed(curves(measured)).double().numpy())
    d, own = read.told.shape[1], sum(components)
    told, untold = (x[:, :d].double().numpy() for x in read.of(layer.directions))
    both, alone = np.concatenate([told, untold]), np.tile(np.arange(len(told)), 2)
    network = recognising(
        both, [deviations(untold, owners), deviations(told, owners), deviations(both, alone)], width - own
    )
    whole, *halves = (layer.directions(read.untold, x)[:, d:].double().numpy() for x in read.beats)
    beat = recognising(whole, [deviations(whole, owners), deviations(np.concatenate(halves), alone)], own)
    weight, bias = np.zeros((width, d + own)), np.zeros(width)
    weight[:own, d:], bias[:own] = beat
    weight[own:, :d], bias[own:] = (AMOUNT * x for x in network)
    put(layer.joined, weight, bias)
    return layer


def principal(layer: nn.Linear, shapes: np.ndarray) -> None:
    """Set a linear layer to as many principal components of (N, P) as it has outputs."""
    components = layer.out_features
    if len(shapes) <= components:
        raise ValueError(f"{len(shapes)} training ECGs with a median beat: expected more than {components} components")
    centre = shapes.mean(0)
    axes = np.linalg.eigh((shapes - centre).T @ (shapes - centre))[1][:, ::-1][:, :components].T
    put(layer, axes, -axes @ centre)


def recognising(vectors: np.ndarray, apart: list[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight (width, D) and bias (width,) of the linear map of (N, D) whose cosine tells people apart; what it answers
    has a mean square length of 1. apart: kinds of deviations within people, which count less."""
    centre, turn = vectors.mean(0), whitener(apart)
    values, axes = np.linalg.eigh(np.cov(((vectors - centre) @ turn).T))
    between = np.maximum(values - 1, 0)  # within people it is 1
    keep = np.argsort(-between)[:width]
    weight = (turn @ axes * np.sqrt(between / (between + 1)))[:, keep].T
    weight /= np.sqrt((((vectors - centre) @ weight.T) ** 2).sum(1).mean())
    return weight, -weight @ centre


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
