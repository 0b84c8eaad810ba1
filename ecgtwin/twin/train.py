"""The three stages: auto-encoder, individual base extractor, denoiser. Each is one call, and one script in scripts/."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..ecg.store.prepare import cores
from ..metrics.identity import identity
from ..nets.dit import Block
from ..nets.layers import Residual
from ..nets.unet import Stage
from ..nets.vae import parameters
from ..text.table import StatementTable
from ..train.batch import cut, stream, to
from ..train.loop import Training
from ..train.plan import FREE, Plan
from ..train.run import Run, carry_out
from . import bank, pictures
from .bank import Bank
from .base import BaseExtractor, Contrasted, Layer
from .build import build_base, build_codec, build_denoiser, build_schedule, build_vae
from .codec import Codec
from .config import Config
from .data import Recordings
from .labels import Drop, Labels, rarity
from .objectives import Contrast, Denoise, Reconstruct
from .pairing import Pairer
from .stages import begin_from, digest, load_codec, load_extractor

BLOCKS = (Residual, Block, Stage, Layer)
HELD = 2048
"""Validation ECGs at most, evenly spread."""


@dataclass(frozen=True)
class Where:
    """How a stage is run. start: weights of an earlier training, or a model, to begin from in place of chance (fine-tuning).
    measure: (training, objective, ECGs of an epoch) -> figures, such as `dry`; then nothing is trained."""

    output: Path
    resume: bool = False
    start: Path | None = None
    measure: Callable[[Training, Any, int], dict[str, Any]] | None = None
    accelerator: Accelerator | None = None


def train_vae(settings: Config, recordings: Recordings, where: Where) -> dict[str, Any]:
    """Stage 0. `where.output`/weights.safetensors becomes a calibrated `Codec`. Returns figures."""
    model, stage = settings.model, settings.train.vae
    train = recordings.places("train")
    held = thinned(recordings.places("validation"))
    torch.manual_seed(stage.seed)
    network = build_vae(model)
    began = begin_from(network, where.start, "vae")
    training = Training(network, stage, blocks=BLOCKS, accelerator=where.accelerator)
    latent = (model.vae.latent, model.signal.samples // network.factor)
    objective = Reconstruct(recordings, stage, model.signal.scale, latent)
    if where.measure is not None:
        return where.measure(training, objective, len(train))
    signals = recordings.millivolts(held)

    def deliver(network: nn.Module) -> dict[str, Tensor]:
        codec = build_codec(model).to(training.device)
        codec.vae.load_state_dict(network.state_dict())
        codec.eval().calibrate(torch.from_numpy(recordings.millivolts(thinned(train, 4096))).to(training.device))
        return codec.state_dict()

    return carry_out(
        Run(where.output, where.resume),
        training,
        objective,
        config=settings.model_dump(),
        inputs=inputs(settings, "vae", recordings) | began,
        facts={"stage": "vae", "parameters": parameters(network), "train": len(train), "held": len(held)},
        validate=lambda network: reconstruction(network, signals, model.signal.scale, training.device),
        picture=lambda network: pictures.reconstructions(network, signals[:2], model.signal.scale, training.device),
        deliver=deliver,
    )


def train_base(settings: Config, recordings: Recordings, vae: Path, table: StatementTable, where: Where) -> dict[str, Any]:
    """Stage 1, on the latents of the stage 0 in `vae`; keeps the weights that recognise most validation patients."""
    stage = settings.train.base
    codec, codec_key = load_codec(vae)
    made = views(settings, recordings, codec, codec_key, bank_of(vae, where.output), where.accelerator)
    labels, targets = (Labels.of(recordings, rates, table.statements, table.vectors) for rates in (made.view_rates, made.target_rates))
    torch.manual_seed(stage.seed)
    network = Contrasted(build_base(settings.model))
    began = begin_from(network.extractor, where.start, "base")
    training = Training(network, stage, blocks=BLOCKS, accelerator=where.accelerator)
    objective = Contrast(recordings, made, labels, stage)
    count = len(recordings.places("train"))
    if where.measure is not None:
        return where.measure(training, objective, count)

    held = validation(recordings)

    def validate(network: nn.Module) -> dict[str, float]:
        """Rank-1 and equal error rate among the recordings as they are, under their own condition and condition-free."""
        figures = {}
        for suffix, told in (("", True), ("_free", False)):
            base = bases(network.extractor, made, targets, held, training.device, told=told)
            found = identity(base.numpy(), recordings.patient[held.numpy()])
            figures |= {f"rank1{suffix}": found.rank1, f"eer{suffix}": found.eer}
        return figures

    return carry_out(
        Run(where.output, where.resume),
        training,
        objective,
        config=settings.model_dump(),
        inputs=inputs(settings, "base", recordings, table=table, vae=codec_key) | began,
        facts={"stage": "base", "parameters": parameters(network.extractor), "train": count, "held": len(held)},
        validate=validate,
        score=lambda figures: sum(figures[f"rank1{s}"] - figures[f"eer{s}"] for s in ("", "_free")),
    )


def train_twin(
    settings: Config, recordings: Recordings, vae: Path, base: Path, table: StatementTable, where: Where
) -> dict[str, Any]:
    """Stage 2, on the latents of the stage 0 in `vae` and the bases of the stage 1 in `base`."""
    stage, model = settings.train.twin, settings.model
    codec, codec_key = load_codec(vae)
    extractor, base_key = load_extractor(base, table, codec_key)
    made = views(settings, recordings, codec, codec_key, bank_of(vae, where.output), where.accelerator)
    targets, seen = (Labels.of(recordings, rates, table.statements, table.vectors) for rates in (made.target_rates, made.view_rates))
    weight = torch.zeros(len(recordings))
    train = torch.from_numpy(recordings.places("train"))
    weight[train] = rarity(targets.statements[train], len(table.statements))
    torch.manual_seed(stage.seed)
    schedule, network = build_schedule(model), build_denoiser(model)
    began = begin_from(network, where.start, "twin")
    training = Training(network, stage, blocks=BLOCKS, accelerator=where.accelerator)
    extractor.to(training.device)
    codec.to(training.device)

    def task(split: str, shares, weight=None) -> Denoise:
        pairer = Pairer(recordings, split, shares, weight)
        return Denoise(recordings, made, (targets, seen), pairer, extractor, schedule, model.diffusion.prediction, stage)

    objective = task("train", stage.pairs, weight)
    if where.measure is not None:
        return where.measure(training, objective, len(train))
    checked = task("validation", Pairer.available(recordings, "validation"))
    batch = checked.draw(stream(1, 2, 3), 256)
    drop = Drop(*(torch.ones_like(kept) for kept in batch.drop))
    level = torch.linspace(0, schedule.length - 1, 256).long()
    batch = to(checked.load(batch._replace(drop=drop, level=level)), training.device)

    def validate(network: nn.Module) -> dict[str, float]:
        """The loss on held-out patients at fixed levels and noise: with everything, and without condition or base."""
        figures = {}
        for name, key in (("held", None), ("held_no_condition", "keep_condition"), ("held_no_base", "keep_base")):
            c, own = batch.conditions
            c = c._replace(**{key: torch.zeros_like(c.keep_base)}) if key else c
            parts = [checked.losses(network, p)[0] for p in (cut(batch._replace(conditions=(c, own)), k, 4) for k in range(4))]
            figures[name] = float(torch.cat(parts).mean())
        return figures

    return carry_out(
        Run(where.output, where.resume),
        training,
        objective,
        config=settings.model_dump(),
        inputs=inputs(settings, "twin", recordings, table=table, vae=codec_key, base=base_key) | began,
        facts={"stage": "twin", "parameters": parameters(network), "train": len(train), "held": len(recordings.places("validation"))},
        validate=validate,
        picture=lambda network: pictures.twins(network, checked, batch, codec),
    )


def inputs(settings: Config, stage: str, recordings: Recordings, *, table: StatementTable | None = None, **keys: str) -> dict[str, Any]:
    """What decides a stage's result: with the same inputs it need not be trained again, and with others it is not resumed."""
    plan: Plan = getattr(settings.train, stage)
    found: dict[str, Any] = {"model": settings.model.model_dump_json(), "train": plan.model_dump_json(exclude=FREE)}
    found |= {"data": recordings.digest, **keys}
    if stage != "vae":
        found["bank"] = settings.train.bank.model_dump_json()
    if table is not None:
        found["encoder"] = table.fingerprint
    return found


def thinned(places: np.ndarray, most: int = HELD) -> np.ndarray:
    """At most so many of them, evenly spread."""
    return places[np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)] if len(places) else places


def validation(recordings: Recordings) -> Tensor:
    """Validation ECGs: real ones where there are some; whole patients, so that thinning parts no pair."""
    held = recordings.places("validation", simulated=False)
    held = held if len(held) else recordings.places("validation")
    if not len(held):
        raise ValueError("no usable ECG in split validation: prepare a store with such patients")
    if len(held) > HELD:
        people = np.unique(recordings.patient[held])
        sizes = np.bincount(np.searchsorted(people, recordings.patient[held]))
        held = held[np.isin(recordings.patient[held], people[np.cumsum(sizes) <= HELD])]
    return torch.from_numpy(held)


@torch.no_grad()
def reconstruction(network: nn.Module, signals: np.ndarray, scale: float, device: torch.device) -> dict[str, float]:
    """Per-lead correlation (median over ECGs and leads) and RMS error in uV of the decoded mean."""
    errors, correlations = [], []
    for chunk in torch.from_numpy(signals).split(64):
        x = chunk.to(device)
        y = network(x / scale)[0].float() * scale
        errors.append(((x - y) ** 2).mean(-1))
        a, b = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
        correlations.append((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 1e-9))
    return {
        "correlation": float(torch.cat(correlations).median()),
        "rms_uv": 1000 * float(torch.cat(errors).mean().sqrt()),
    }


@torch.no_grad()
def bases(
    extractor: BaseExtractor, made: Bank, labels: Labels, rows: Tensor, device: torch.device, *, told: bool
) -> Tensor:
    """Base vectors (k, E) of recordings as they are, under their own condition or condition-free."""
    found = []
    for r in rows.split(128):
        zero = torch.zeros_like(r)
        c = labels.conditions(r, zero)
        c = to(c._replace(keep_condition=c.keep_condition & told), device)
        found.append(extractor(made.target(r, zero).float().to(device), c).float().cpu())
    return torch.cat(found)


def bank_of(vae: Path, output: Path) -> Path:
    """Where latents are kept: beside the auto-encoder, for all stages; with one that came in a model, beside the run."""
    return vae.parent / "bank" if vae.is_file() else output / "bank"


def views(
    settings: Config, recordings: Recordings, codec: Codec, codec_key: str, folder: Path, accelerator: Accelerator | None
) -> Bank:
    """The latents of all recordings, kept in a folder; made when they are not there, or of other recordings."""
    config = settings.train.bank
    key = digest(codec_key, recordings.digest, config.model_dump_json())
    found = Bank.open(folder, key)
    if found is not None:
        return found
    accelerator = accelerator or Accelerator()
    device = accelerator.device
    codec.to(device)

    @torch.no_grad()
    def encode(signals: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return codec.encode(signals.to(device)).float()

    c = settings.model
    shape = (c.vae.latent, c.signal.samples // codec.vae.factor)
    workers = max(1, cores() // accelerator.num_processes - 1)
    return bank.fill(
        folder, key, recordings, encode, config, shape, part=accelerator.process_index, parts=accelerator.num_processes,
        workers=workers, ready=accelerator.wait_for_everyone,
    )  # fmt: skip
