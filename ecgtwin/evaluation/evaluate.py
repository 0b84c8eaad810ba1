"""Figures of a model on real recordings of patients that it was not trained on, and on simulated people.

Every figure names its n. Real means raw recordings, never reconstructions of the auto-encoder.
"""

import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..ecg.datasets import ptbxl
from ..ecg.datasets.source import Statements
from ..ecg.rhythm import heart_rate
from ..ecg.store import SPLITS
from ..ecg.store.prepare import prepare
from ..ecg.store.recordings import Recordings, fitting
from ..metrics.identity import identity, median_beats, repeated, whitening
from ..metrics.judge import load_judge
from ..text.statements import STATEMENTS, from_scp
from ..twin.condition import Condition
from ..twin.twin import ECGTwin
from .requested_state import followed
from .simulated_truth import counterfactuals

Report = Callable[[str], None]


def own_conditions(recordings: Recordings, known: tuple[str, ...]) -> list[Condition]:
    """What is known of each recording: its statements (those in `known`), sex, age and measured heart rate."""
    found = []
    for k in range(len(recordings)):
        beats = heart_rate(recordings.millivolts([k])[0], recordings.rate)
        found.append(
            Condition(
                tuple(s for s in recordings.statements(k) if s in known),
                sex=recordings.sexes(k),
                age=recordings.years(k),
                heart_rate=beats if beats is not None and 20 <= beats <= 300 else None,
            )
        )
    return found


@torch.inference_mode()
def reconstruction(model: ECGTwin, recordings: Recordings) -> dict[str, Any]:
    """Correlation per lead and RMS error in uV of the auto-encoder: what the latent space can show at best."""
    x = torch.from_numpy(recordings.millivolts())
    y = torch.cat([model.parts.vae.decode(model.parts.vae.encode(part.to(model.device))).cpu() for part in x.split(64)])
    a, b = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    correlation = (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-9)  # (N, 8)
    error = (x - y).square().mean(-1).sqrt() * 1000
    return {
        "n": len(x),
        "correlation_median": correlation.median().item(),
        "correlation_by_lead": dict(zip(recordings.leads, correlation.median(0).values.tolist(), strict=True)),
        "rms_uv_median": error.median().item(),
        "rms_uv_overall": error.square().mean().sqrt().item(),
    }


def identity_rows(model: ECGTwin, train: Recordings, held: Recordings) -> dict[str, Any]:
    """Rank-1 and equal error rate of base vectors beside the median-beat baselines, all in the gallery `held`.

    Baselines that are fitted on `train` are left out where it holds nothing to fit them on. ValueError where no
    patient in `held` has two ECGs.
    """
    patients = held.patient
    if not repeated(patients):
        raise ValueError("no patient in this split has two ECGs, so that nobody can be recognised")
    beats = median_beats(held.millivolts(), held.rate)
    rows = {
        "base, own condition": bases(model, held, own_conditions(held, model.statements)),
        "base, condition-free": bases(model, held, [Condition()] * len(held)),
        "median beat": beats,
    }
    if len(train) > 1:
        fitted = median_beats(train.millivolts(), train.rate)
        rows |= {
            "median beat, centred": beats - fitted.mean(0),
            "median beat, PCA(100) whitened": whitening(fitted)(beats),
        }
        if repeated(train.patient):
            rows["median beat, PCA(100) whitened within patients"] = whitening(fitted, train.patient)(beats)
    return {name: asdict(identity(features, patients)) for name, features in rows.items()}


def bases(model: ECGTwin, held: Recordings, conditions: list[Condition], size: int = 64) -> np.ndarray:
    """Base vectors (N, E) of recordings, each under its condition."""
    starts = range(0, len(held), size)
    rows = [
        model.base_of(torch.from_numpy(held.millivolts(slice(k, k + size))), conditions[k : k + size]) for k in starts
    ]
    return torch.cat(rows).cpu().numpy()


def heart_rates(model: ECGTwin, held: Recordings, *, references: int = 50, seed: int = 0, **options) -> dict[str, Any]:
    """Requested against measured heart rate: each reference in sinus rhythm, requests spread over 50-120/min."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(held))[:references]
    wanted = np.linspace(50, 120, len(rows))[rng.permutation(len(rows))]
    conditions = []
    for row, rate in zip(rows, wanted, strict=True):
        name = "sinus bradycardia" if rate < 60 else "sinus tachycardia" if rate > 100 else "sinus rhythm"
        said = tuple(s for s in (name, "sinus rhythm") if s in model.statements)[:1]
        conditions.append(Condition(said, held.sexes(row), held.years(row), float(rate)))
    requests = model.requests_for(held.millivolts(rows), conditions, seed)
    measured = [
        heart_rate(x.numpy(), model.config.signal.rate) for x in model.sample_in_parts(requests, **options).cpu()
    ]
    found = np.array([np.nan if m is None else m for m in measured])
    there = ~np.isnan(found)
    if there.sum() < 2:
        raise ValueError(f"a heart rate could be measured in {there.sum()} of {len(rows)} twins: expected 2 or more")
    errors = np.abs(found - wanted)
    return {
        "n": len(rows),
        "not_measurable": int(np.isnan(found).sum()),
        "mean_absolute_error": float(np.nanmean(errors)),
        "median_absolute_error": float(np.nanmedian(errors)),
        "correlation": float(np.corrcoef(wanted[there], found[there])[0, 1]),
        "requested": [round(float(w), 1) for w in wanted],
        "measured": [None if np.isnan(f) else round(float(f), 1) for f in found],
    }


def seconds(model: ECGTwin, held: Recordings, *, n: int = 8, steps: int = 20) -> dict[str, Any]:
    """Wall time of one twin of n samples, after one warm-up step."""
    requests = model.requests_of(held.millivolts(slice(0, 1))[0], Condition(heart_rate=70.0), range(n))
    model.sample(requests, steps=1)
    start = time.perf_counter()
    model.sample(requests, steps=steps)
    return {"samples": n, "steps": steps, "seconds": time.perf_counter() - start, "threads": torch.get_num_threads()}


@contextmanager
def opened(folder: Path, rate: float, samples: int) -> Iterator[Recordings]:
    """The recordings of a store, or of a PTB-XL folder, of which a store is made for the time being."""
    folder = Path(folder)
    if (folder / "store.json").is_file():
        yield Recordings.of([fitting(folder, rate, samples)])
        return
    names = [statement.name for statement in STATEMENTS]
    source = ptbxl.scan(folder, Statements(lambda code: from_scp([code]), names))
    with tempfile.TemporaryDirectory() as place:
        yield Recordings.of([prepare(source, Path(place) / "store", rate=rate, seconds=samples / rate, progress=True)])


def evaluate(
    model: ECGTwin,
    folder: Path,
    *,
    split: str = "validation",
    people: int = 16,
    seed: int = 0,
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """All figures on the patients of one split of a store, or of a PTB-XL folder (validation: fold 9, test: fold 10).

    people: simulated ones, whose counterfactuals are known; 0 leaves them out. What cannot be measured on this data is
    skipped: `skipped` in the result says what and why, and so does `report`. ValueError where the split is empty, or
    shares patients with training.
    """
    c = model.config.signal
    with opened(folder, c.rate, c.samples) as recordings:
        train, held = recordings.only("train"), recordings.only(split)
        if not len(held):
            there = ", ".join(f"{name} {len(recordings.places(name))}" for name in SPLITS)
            raise ValueError(
                f"{folder} holds no usable ECG of split {split} ({there}): choose another one with --split"
            )
        shared = set(train.patient.tolist()) & set(held.patient.tolist()) - {-1}
        if shared and split != "train":
            raise ValueError(f"{len(shared)} patients are in both training and {split}: {sorted(shared)[:3]} …")
        figures: dict[str, Any] = {
            "model": {"weights_sha256": model.weights_hash, "facts": model.parts.facts},
            "data": {"split": split, "train": len(train), split: len(held), "digest": held.digest},
            "software": {"python": platform.python_version(), "torch": torch.__version__},
            "seed": seed,
            "skipped": {},
        }
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            "reconstruction": lambda: reconstruction(model, held),
            "identity": lambda: identity_rows(model, train, held),
            "heart_rate": lambda: heart_rates(model, held, seed=seed),
            "speed": lambda: seconds(model, held),
            "counterfactuals": lambda: counterfactuals(model, people=people, seed=seed),
            "judgement": lambda: followed(model, held, load_judge(), seed=seed),
        }
        if not people:
            del measures["counterfactuals"]
        for name, measure in measures.items():
            report(name)
            try:
                figures[name] = measure()
            except (ValueError, ImportError) as why:
                figures["skipped"][name] = str(why)
                report(f"{name} is not measured: {why}")
    return figures
