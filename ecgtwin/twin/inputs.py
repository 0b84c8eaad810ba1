"""What a model's networks read of ECGs, conditions and requests. Each function is a method of `ECGTwin`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..ecg.beats import lay
from ..ecg.canonical_beat import canonical_beat, period
from ..ecg.leads import INDEPENDENT
from ..ecg.quality import prepare
from ..ecg.record import ECG
from .condition import Condition, Conditions, expect_condition, stack
from .request import Request, expect_ecg
from .rhythm import beat_track

if TYPE_CHECKING:
    from .twin import ECGTwin


def signals(model: "ECGTwin", references: Sequence[ECG]) -> Tensor:
    """Checked, resampled signals (B, 8, L) in mV of references; ValueError where one cannot be used."""
    c = model.config.signal
    rows = []
    if not len(references):
        raise ValueError("no references: give one ECG or more")
    for ecg in references:
        expect_ecg(ecg)
        ecg = prepare(ecg, seconds=c.samples / c.rate, leads=INDEPENDENT)
        x = ecg.resample(c.rate).signal[:, : c.samples]
        x = np.pad(x, ((0, 0), (0, c.samples - x.shape[1])), mode="edge")
        rows.append(x - np.median(x, axis=-1, keepdims=True))
    return torch.from_numpy(np.stack(rows)).to(model.device)


def conditions(model: "ECGTwin", conditions: Sequence[Condition], base: Tensor | None = None) -> Conditions:
    """Conditions as tensors; statements outside the vocabulary raise ValueError with the nearest known ones."""
    for one in conditions:
        expect_condition(one)
    clean = [Condition(model.normalise(c.reports), c.sex, c.age, c.heart_rate) for c in conditions]
    embed = model.table.lookup
    return stack(clean, embed, model.config, base).to(model.device)


def normalise(model: "ECGTwin", reports: Sequence[str]) -> tuple[str, ...]:
    """Statements as the model knows them, in the order in which it learned them."""
    order = {name: i for i, name in enumerate(model.table.names)}
    return tuple(sorted({model.vocabulary.normalise(r) for r in reports}, key=order.__getitem__))


@torch.inference_mode()
def base_of(model: "ECGTwin", signals: Tensor, conditions: Sequence[Condition] | None = None) -> Tensor:
    """As `base`, of signals (B, 8, L) in mV as `signals` makes them. conditions: one for
    each; None: unknown of all."""
    own = [Condition()] * len(signals) if conditions is None else conditions
    base = model.parts.base
    beats = base.beats_of(signals.cpu().numpy(), model.config.signal.rate)
    return base(model.seen(signals), model.conditions(own), beats)


@torch.inference_mode()
def seen(model: "ECGTwin", signals: Tensor) -> Tensor:
    """What the extractor reads of signals (B, 8, L) in mV: latents (B, Z, T) of these, or of their canonical beats.

    ValueError for a recording with fewer than three beats, where beats are read.
    """
    if model.config.base.sees == "recording":
        return model.parts.vae.encode(signals.to(model.device))
    rate = model.config.signal.rate
    samples = period(rate, model.parts.vae.vae.factor)
    beats = np.stack([canonical_beat(x, rate, samples) for x in signals.cpu().numpy()])
    return model.parts.vae.encode_beat(torch.from_numpy(beats).to(model.device))


def asked(model: "ECGTwin", requests: Sequence[Request]) -> Conditions:
    """What the network is told of requests: base, condition, beat tracks and drafts."""
    width = model.config.base.base
    base = torch.stack([torch.zeros(width) if r.base is None else r.base.cpu() for r in requests]).to(model.device)
    given = torch.tensor([r.base is not None for r in requests], device=model.device)
    c = model.conditions([r.condition for r in requests], base)
    return model.with_beats(c._replace(keep_base=given), requests)


def with_beats(model: "ECGTwin", c: Conditions, requests: Sequence[Request]) -> Conditions:
    """The conditions of requests with their beat tracks and drafts, where this model reads them."""
    if not model.config.denoiser.draft:
        return c
    rate, samples = model.config.signal.rate, model.config.signal.samples
    told = [r.beats is not None for r in requests]
    shown = [r.beats is not None and r.heartbeat is not None for r in requests]
    blank = np.zeros((len(INDEPENDENT), samples), np.float32)
    drafts = [lay(r.heartbeat, r.beats, rate, samples) if s else blank for r, s in zip(requests, shown, strict=True)]
    draft = model.parts.vae.encode(torch.from_numpy(np.stack(drafts)).to(model.device))
    track = torch.stack([beat_track(r.beats, rate, samples) for r in requests]).to(model.device)
    keep = [torch.tensor(flags, device=model.device) for flags in (told, shown)]
    return c._replace(track=track, draft=draft, keep_track=keep[0], keep_draft=keep[1])
