"""The identity encoder of `train_evaluators.py`: median beats seen by other electrodes, and by contrast."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluator_parts import electrodes, trained, written
from torch import Tensor, nn
from torch.nn import functional as F

from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.store import Store
from ecgtwin.metrics.evaluators import BeatEncoder, BeatMap, Identity, Recogniser
from ecgtwin.metrics.identity import GRID, POINTS, identity, median_beats

BEATS = 24


def single_beats(signals: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Up to BEATS beats of each ECG (N, BEATS, 8, POINTS) float16, each around its own median,
    and how many there are (N,)."""
    out, counts = np.zeros((len(signals), BEATS, signals.shape[1], POINTS), np.float16), np.zeros(len(signals), int)
    seconds = np.arange(signals.shape[-1]) / rate
    for k, x in enumerate(signals):
        peaks = [p / rate for p in r_peaks(x, rate) if -GRID[0] <= p / rate <= seconds[-1] - GRID[-1]][:BEATS]
        for j, p in enumerate(peaks):
            beat = np.stack([np.interp(p + GRID, seconds, lead) for lead in x])
            out[k, j] = beat - np.median(beat, -1, keepdims=True)
        counts[k] = len(peaks)
    return out, counts


def stretched(x: Tensor, t: Tensor) -> Tensor:
    """Beats (B, 8, POINTS) with what follows the QRS complex, and what precedes it, nearer or farther, as at
    another heart rate; t: s."""
    b = len(x)
    after, before = (0.12 * torch.randn(2, b, 1)).exp()
    jitter = 0.008 * torch.randn(b, 1)
    edge = 0.06
    t = t + jitter
    late = torch.where(t > edge, edge + (t - edge) * after, t)
    both = torch.where(late < -edge, -edge + (late + edge) * before, late)
    place = ((both - GRID[0]) / (GRID[1] - GRID[0])).clamp(0, POINTS - 1.001)
    low = place.long()
    part = (place - low)[:, None]
    index = low[:, None].expand(-1, x.shape[1], -1)
    return x.gather(-1, index) * (1 - part) + x.gather(-1, index + 1) * part


def beat_views(beats: Tensor, counts: Tensor, rows: Tensor, half: int) -> Tensor:
    """Median of a few of the first or second half of an ECG's beats, seen with other
    electrodes at another heart rate."""
    n = counts[rows].clamp(min=2)
    middle = n // 2
    start, size = (torch.zeros_like(n), middle) if half == 0 else (middle, n - middle)
    chosen = start[:, None] + (torch.rand(len(rows), 3) * size[:, None]).long()
    x = beats[rows[:, None], chosen].float().median(1).values
    x = electrodes(stretched(x, torch.from_numpy(GRID).float()), 10.0, 0.35, 0.15)
    t = torch.linspace(-1, 1, POINTS)
    drift = 0.04 * torch.rand(len(x), 1, 1) * (torch.randn(len(x), 8, 1) * t + torch.randn(len(x), 8, 1) * t**2)
    x = x + drift + 0.012 * torch.rand(len(x), 1, 1) * torch.randn_like(x)
    x = x * (torch.rand(len(x), 8, 1) > 0.04)  # now and then a lead is lost
    return x - x.median(-1, keepdim=True).values


def train_identity(store: Store, output: Path, steps: int, seed: int) -> dict[str, Any]:
    """Both parts, on the training patients; judged on the validation patients, and written."""
    rows = store.rows("train")
    signals, patients = store.millivolts(rows), np.asarray(store.column("patient"))[rows]
    network = Recogniser()
    network.learned = learned(signals, patients, store.rate, steps, seed)
    network.linear = linear(median_beats(signals, store.rate), patients)
    network.eval()
    held = store.rows("validation")
    who, beats = np.asarray(store.column("patient"))[held], median_beats(store.millivolts(held), store.rate)
    figures = {}
    for name, part in (("", network), ("learned_", network.learned), ("linear_", network.linear)):
        found = identity(Identity(part, {}, "").of_beats(beats), who)
        keys = ("rank1", "eer", "within", "between", "queries", "gallery") if not name else ("rank1", "eer")
        figures |= {name + k: getattr(found, k) for k in keys}
    facts = {"steps": steps, "seed": seed, "train": len(rows), "figures": figures, "store": store.digest}
    written(output / "identity.safetensors", network.state_dict(), facts)
    return figures


def learned(signals: np.ndarray, patient: np.ndarray, rate: float, steps: int, seed: int) -> BeatEncoder:
    """By contrast (InfoNCE) of two halves of an ECG, or of two ECGs of a patient, each seen by other electrodes at
    another heart rate."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    beats, counts = single_beats(signals, rate)
    usable = np.flatnonzero(counts >= 4)
    others = [np.flatnonzero((patient == p) & (counts >= 4)) for p in patient]
    several = np.array([k for k in usable if len(others[k]) > 1])
    beats, counts, patients = torch.from_numpy(beats), torch.from_numpy(counts), torch.from_numpy(patient)
    network, temperature = BeatEncoder(), nn.Parameter(torch.tensor(math.log(1 / 0.1)))
    network.register_parameter("temperature", temperature)

    def loss() -> Tensor:
        a = np.concatenate([generator.choice(usable, 200, replace=False), generator.choice(several, 56, replace=False)])
        b = np.array([generator.choice(others[k]) for k in a])
        a, b = torch.from_numpy(a), torch.from_numpy(b)
        with torch.autocast("cpu", torch.bfloat16):
            u = network(torch.cat([beat_views(beats, counts, a, 0), beat_views(beats, counts, b, 1)]))
        u, v = u.float().chunk(2)
        scores = u @ v.T * temperature.exp().clamp(max=50)
        same = patients[a][:, None] == patients[b][None]
        same.fill_diagonal_(False)
        scores = scores.masked_fill(same, -1e4)  # another ECG of the same patient is no stranger
        target = torch.arange(len(a))
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2

    trained([network], steps, 2e-3, 0.05, loss, "identity")
    del network.temperature
    return network


def linear(beats: np.ndarray, patient: np.ndarray, components: int = 120, out: int = 80) -> BeatMap:
    """In closed form: within-patient covariance of the training patients with several ECGs, shrunk by a twentieth."""
    there = beats.any(1)
    beats, patient = beats[there], patient[there]
    beats = beats / np.linalg.norm(beats, axis=1, keepdims=True)
    mean = beats.mean(0)
    _, _, axes = np.linalg.svd(beats - mean, full_matrices=False)
    axes = axes[:components]
    scores = (beats - mean) @ axes.T
    names, group, counts = np.unique(patient, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), components))
    np.add.at(sums, group, scores)
    several = counts[group] > 1
    apart = (scores - (sums / counts[:, None])[group])[several]
    within = apart.T @ apart / (several.sum() - (counts > 1).sum())
    values, vectors = np.linalg.eigh(within + 0.05 * np.trace(within) / components * np.eye(components))
    white = vectors / np.sqrt(values)
    between, turns = np.linalg.eigh(np.cov(scores @ white, rowvar=False))
    ratio = np.maximum(between[::-1][:out] - 1, 1e-3)
    found = BeatMap(out)
    found.mean.copy_(torch.from_numpy(mean))
    found.axes.copy_(torch.from_numpy(axes.T @ white @ turns[:, ::-1][:, :out] * np.sqrt(ratio / (ratio + 1))))
    return found
