"""Train the independent readers of `ecgtwin.metrics.evaluators` on the training patients of a store: nothing
of the generator takes part.

python scripts/train_evaluators.py --store STORE --which statements|identity|identity-linear|text
    [--output ecgtwin/metrics/weights] [--steps N] [--seed N]

Minutes on one thread: statements 8, identity 2 (linear: a quarter), text 1 (it reads statements.safetensors beside it).
Validation patients are looked at once, at the end.
"""

import json
import math
import os
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from ecgtwin.atomic import write_file
from ecgtwin.cli.options import Json, tell
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.store import Store
from ecgtwin.metrics.evaluators import BeatEncoder, BeatMap, ECGText, Identity, Statements, TextTower, XResNet, restore
from ecgtwin.metrics.identity import GRID, POINTS, identity, median_beats

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
CROP, FEWEST, BEATS = 512, 5, 24


def electrodes(x: Tensor, turn: float, move: float, gain: float) -> Tensor:
    """ECGs (B, 8, L) as another day's electrodes would see them. turn: degrees (sd) of the frontal plane; move:
    spacings (sd) along the chest; gain: relative (sd)."""
    b = len(x)
    angle = torch.randn(b, 1) * math.radians(turn)
    across, down = x[:, 0], (2 * x[:, 1] - x[:, 0]) / 3**0.5  # of Einthoven's triangle: I at 0, II at 60 degrees
    across, down = angle.cos() * across - angle.sin() * down, angle.sin() * across + angle.cos() * down
    place = (torch.arange(6.0) + move * torch.randn(b, 1) + move / 2 * torch.randn(b, 6)).clamp(0, 4.999)
    low = place.long()
    part = (place - low)[..., None]
    rows = torch.arange(b)[:, None]
    chest = x[:, 2:]
    chest = chest[rows, low] * (1 - part) + chest[rows, low + 1] * part
    x = torch.cat([across[:, None], ((across + 3**0.5 * down) / 2)[:, None], chest], 1)
    return x * (gain * torch.randn(b, 1, 1) + gain / 2 * torch.randn(b, 8, 1)).exp()


def disturbed(x: Tensor, rate: float) -> Tensor:
    """With baseline wander and noise of a random size."""
    b, leads, n = x.shape
    t = torch.arange(n) / rate
    wander = torch.sin(2 * math.pi * ((0.05 + 0.6 * torch.rand(b, leads, 1)) * t + torch.rand(b, leads, 1)))
    return x + 0.15 * torch.rand(b, 1, 1) ** 2 * wander + 0.03 * torch.rand(b, 1, 1) ** 2 * torch.randn(b, leads, n)


def trained(networks: list[nn.Module], steps: int, lr: float, decay: float, loss_of, name: str) -> None:
    """AdamW with a one-cycle rate, bfloat16; ends with the weights' running average."""
    weights = [p for net in networks for p in net.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=lr, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, steps, pct_start=0.15)
    average = [{k: v.detach().clone() for k, v in net.state_dict().items()} for net in networks]
    for net in networks:
        net.train()
    start, total = time.time(), 0.0
    for step in range(1, steps + 1):
        loss = loss_of()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        keep = min(0.998, step / (step + 10))
        for net, mean in zip(networks, average, strict=True):
            for k, v in net.state_dict().items():
                mean[k].lerp_(v, 1 - keep) if v.is_floating_point() else mean[k].copy_(v)
        total += loss.item()
        if step % 50 == 0:
            typer.echo(f"{name} {step}/{steps} loss {total / 50:.4f} {time.time() - start:.0f} s", err=True)
            total = 0.0
    for net, mean in zip(networks, average, strict=True):
        restore(net, mean)


def written(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
    content = save(half, metadata={"json": json.dumps(facts, sort_keys=True)})
    write_file(path, lambda p: p.write_bytes(content))
    typer.echo(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")


def labels(store: Store, rows: np.ndarray, names: list[str]) -> np.ndarray:
    place = {n: k for k, n in enumerate(names)}
    out = np.zeros((len(rows), len(names)), np.float32)
    for k, row in enumerate(rows.tolist()):
        out[k, [place[s] for s in store.statements(row) if s in place]] = 1
    return out


def crops(signals: Tensor, rate: float, batch: int) -> tuple[Tensor, Tensor]:
    """Random pieces (batch, 8, CROP) and the rows that they are of."""
    rows = torch.randint(len(signals), (batch,))
    starts = torch.randint(signals.shape[-1] - CROP + 1, (batch, 1, 1))
    x = signals[rows].gather(-1, (starts + torch.arange(CROP)).expand(-1, signals.shape[1], -1))
    return disturbed(electrodes(x, 4.0, 0.12, 0.08), rate), rows


def train_statements(store: Store, output: Path, steps: int, seed: int) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    torch.manual_seed(seed)
    rows, held = store.rows("train"), store.rows("validation")
    counts = {n: 0 for n in store.vocabulary}
    for row in rows.tolist():
        for s in store.statements(row):
            counts[s] += 1
    names = [n for n in store.vocabulary if counts[n] >= FEWEST]
    signals, targets = torch.from_numpy(store.millivolts(rows)), torch.from_numpy(labels(store, rows, names))
    network = XResNet(len(names))
    rare = (1 / targets.mean(0)).sqrt().clamp(1, 8)  # a statement of one in a hundred is not drowned
    with torch.no_grad():
        network.head[-1].bias.copy_(torch.logit(targets.mean(0)))

    def loss() -> Tensor:
        x, which = crops(signals, store.rate, 64)
        with torch.autocast("cpu", torch.bfloat16):
            scores = network(x)
        return F.binary_cross_entropy_with_logits(scores.float(), targets[which], pos_weight=rare)

    trained([network], steps, 4e-3, 0.05, loss, "statements")
    truth = labels(store, held, names)
    found = Statements(network, tuple(names), {}, {}, "")(store.millivolts(held))
    positives = {n: int(truth[:, k].sum()) for k, n in enumerate(names)}
    auroc = {
        n: float(roc_auc_score(truth[:, k], found[:, k])) if positives[n] >= 3 else None for k, n in enumerate(names)
    }
    facts = {"names": names, "auroc": auroc, "positives": positives, "counts": {n: counts[n] for n in names}}
    facts |= {"steps": steps, "seed": seed, "store": store.digest, "train": len(rows), "validation": len(held)}
    written(output / "statements.safetensors", network.state_dict(), facts)
    known = [v for v in auroc.values() if v is not None]
    typer.echo(f"macro AUROC of {len(known)} statements: {np.mean(known):.3f}")
    return {n: (round(a, 3), positives[n]) for n, a in auroc.items() if a is not None}


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
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    rows = store.rows("train")
    beats, counts = single_beats(store.millivolts(rows), store.rate)
    patient = np.asarray(store.column("patient"))[rows]
    usable = np.flatnonzero(counts >= 4)
    others = [np.flatnonzero((patient == patient[k]) & (counts >= 4)) for k in range(len(rows))]
    several = np.array([k for k in usable if len(others[k]) > 1])
    beats, counts, patients = torch.from_numpy(beats), torch.from_numpy(counts), torch.from_numpy(patient)
    network, temperature = BeatEncoder(), nn.Parameter(torch.tensor(math.log(1 / 0.1)))
    network.register_parameter("temperature", temperature)

    def loss() -> Tensor:
        a = np.concatenate([generator.choice(usable, 208, replace=False), generator.choice(several, 48, replace=False)])
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
    return kept_identity(store, network, output, {"kind": "network", "steps": steps, "seed": seed, "train": len(rows)})


def kept_identity(store: Store, network: nn.Module, output: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Judge an identity encoder on the validation patients, and write it."""
    network.eval()
    held = store.rows("validation")
    who = np.asarray(store.column("patient"))[held]
    measured = median_beats(store.millivolts(held), store.rate)
    result = identity(Identity(network, {}, "").of_beats(measured), who)
    figures = {k: getattr(result, k) for k in ("rank1", "eer", "within", "between", "queries", "gallery")}
    written(output / "identity.safetensors", network.state_dict(), {**facts, "figures": figures, "store": store.digest})
    return figures


def solve_identity(store: Store, output: Path, components: int = 120, out: int = 80) -> dict[str, Any]:
    """The linear encoder, in closed form: within-patient covariance of the training patients with several
    ECGs, shrunk by a twentieth."""
    rows = store.rows("train")
    beats = median_beats(store.millivolts(rows), store.rate)
    there = beats.any(1)
    beats, patient = beats[there], np.asarray(store.column("patient"))[rows][there]
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
    network = BeatMap(out)
    network.mean.copy_(torch.from_numpy(mean))
    network.axes.copy_(torch.from_numpy(axes.T @ white @ turns[:, ::-1][:, :out] * np.sqrt(ratio / (ratio + 1))))
    facts = {"kind": "linear", "train": int(there.sum()), "several": int(several.sum())}
    return kept_identity(store, network, output, facts)


def train_text(store: Store, output: Path, steps: int, seed: int, table: Path) -> dict[str, Any]:
    from ecgtwin.text.table import StatementTable

    torch.manual_seed(seed)
    rows, held = store.rows("train"), store.rows("validation")
    known = StatementTable.load(table)
    names, vectors = list(known.statements), torch.from_numpy(known.vectors.copy())
    vectors = vectors / vectors.norm(dim=1, keepdim=True) * vectors.shape[1] ** 0.25
    given = torch.from_numpy(labels(store, rows, names))
    kept = given.any(1)
    reader = Statements.load(output / "statements.safetensors")
    features, given = torch.from_numpy(reader.features(store.millivolts(rows)))[kept], given[kept]
    out = 64
    head, text = ECGText.new_head(out), TextTower(vectors.shape[1], out)
    temperature = nn.Parameter(torch.tensor(math.log(1 / 0.1)))
    text.register_parameter("temperature", temperature)
    most = int(given.sum(1).max())
    order = torch.argsort(given, dim=1, descending=True, stable=True)[:, :most]
    mask = given.gather(1, order) > 0

    def loss() -> Tensor:
        which = torch.randint(len(features), (256,))
        u, v = F.normalize(head(features[which]), dim=-1), text(vectors[order[which]], mask[which])
        logits = u @ v.T * temperature.exp().clamp(max=50)
        alike = (given[which][:, None] == given[which][None]).all(-1).float()  # equal statements are all right answers
        alike = alike / alike.sum(1, keepdim=True)
        return -((alike * logits.log_softmax(1)).sum(1).mean() + (alike * logits.log_softmax(0).T).sum(1).mean()) / 2

    trained([head, text], steps, 3e-3, 0.05, loss, "text")
    tensors = {f"head.{k}": v for k, v in head.state_dict().items()} | {"vectors": vectors}
    tensors |= {f"text.{k}": v for k, v in text.state_dict().items() if k != "temperature"}
    del text.temperature
    pair = ECGText(reader, head, text, tuple(names), vectors, {}, "")
    said = [[s for s in store.statements(int(r)) if s in names] for r in held]
    there = [k for k, s in enumerate(said) if s]
    x, y = pair(store.millivolts(held[there])), pair.texts([said[k] for k in there])
    distinct = {tuple(said[k]): None for k in there}
    answers = pair.texts([list(s) for s in distinct])
    place = {s: k for k, s in enumerate(distinct)}
    scores = x @ answers.T
    right = scores[np.arange(len(x)), [place[tuple(said[k])] for k in there]]
    rank = (scores > right[:, None]).sum(1)
    strangers = y[np.random.default_rng(0).permutation(len(y))]
    figures = {
        "clip_score": float(100 * (x * y).sum(1).mean()),
        "clip_score_shuffled": float(100 * (x * strangers).sum(1).mean()),
        **{f"top{k}": float((rank < k).mean()) for k in (1, 5, 10)},
        "queries": len(x),
        "texts": len(distinct),
    }
    facts = {"names": names, "out": out, "figures": figures, "steps": steps, "seed": seed, "store": store.digest}
    facts |= {"encoder": known.encoder, "reader": reader.sha256}
    written(output / "text.safetensors", tensors, facts)
    return figures


@app.command(help=__doc__)
def main(
    store: Annotated[Path, typer.Option(help="made by `ecgtwin data prepare ptbxl`, 1024 samples at 102.4 Hz")],
    which: Annotated[Literal["statements", "identity", "identity-linear", "text"], typer.Option(help="what to train")],
    output: Annotated[Path, typer.Option(help="folder for the weights")] = Path("ecgtwin/metrics/weights"),
    steps: Annotated[int | None, typer.Option(help="4500, 400 and 800 if left out")] = None,
    seed: Annotated[int, typer.Option(help="another seed, other noise")] = 7_310_224,
    as_json: Json = False,
    table: Annotated[Path, typer.Option(help="statement vectors, for text")] = Path("ecgtwin/default/statements"),
) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    opened = Store.open(store)
    if which == "statements":
        found = train_statements(opened, output, steps or 4500, seed)
    elif which == "identity-linear":
        found = solve_identity(opened, output)
    elif which == "identity":
        found = train_identity(opened, output, steps or 400, seed + 1)
    else:
        found = train_text(opened, output, steps or 800, seed + 2, table)
    tell(found, "\n".join(f"{name}: {value}" for name, value in found.items()), as_json)


if __name__ == "__main__":
    app()
