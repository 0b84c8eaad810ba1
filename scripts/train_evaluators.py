"""Train the independent readers of `ecgtwin.metrics.evaluators` on the training patients of a store: nothing
of the generator takes part.

python scripts/train_evaluators.py --store STORE --which statements|identity|text
    [--output ecgtwin/metrics/weights] [--steps N] [--seed N]

Steps and seeds that are left out are those of the weights in the package.
Minutes on one thread: statements 8, identity 6, text 6.
Validation patients are looked at once, at the end.
"""

import math
import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from evaluator_identity import train_identity
from evaluator_parts import electrodes, trained, written
from torch import Tensor, nn
from torch.nn import functional as F

from ecgtwin.cli.options import Json, tell
from ecgtwin.ecg.store import Store
from ecgtwin.metrics.evaluators import ECGText, Statements, XResNet

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
CROP, FEWEST = 512, 5
RECIPES = {"statements": (4500, 7_310_224), "identity": (1600, 11), "text": (2400, 7_310_226)}
"""Steps and seed of the weights in the package, which hold them too."""


def disturbed(x: Tensor, rate: float) -> Tensor:
    """With baseline wander and noise of a random size."""
    b, leads, n = x.shape
    t = torch.arange(n) / rate
    wander = torch.sin(2 * math.pi * ((0.05 + 0.6 * torch.rand(b, leads, 1)) * t + torch.rand(b, leads, 1)))
    return x + 0.15 * torch.rand(b, 1, 1) ** 2 * wander + 0.03 * torch.rand(b, 1, 1) ** 2 * torch.randn(b, leads, n)


def labels(store: Store, rows: np.ndarray, names: list[str]) -> np.ndarray:
    place = {n: k for k, n in enumerate(names)}
    out = np.zeros((len(rows), len(names)), np.float32)
    for k, row in enumerate(rows.tolist()):
        out[k, [place[s] for s in store.statements(row) if s in place]] = 1
    return out


def frequent(store: Store, rows: np.ndarray) -> list[str]:
    """Statements of the vocabulary that `FEWEST` or more of these records have."""
    counts = Counter(s for row in rows.tolist() for s in store.statements(row))
    return [n for n in store.vocabulary if counts[n] >= FEWEST]


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
    names = frequent(store, rows)
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
    facts = {"names": names, "auroc": auroc, "positives": positives}
    facts["counts"] = dict(zip(names, targets.sum(0).int().tolist(), strict=True))
    facts |= {"steps": steps, "seed": seed, "store": store.digest, "train": len(rows), "validation": len(held)}
    written(output / "statements.safetensors", network.state_dict(), facts)
    known = [v for v in auroc.values() if v is not None]
    typer.echo(f"macro AUROC of {len(known)} statements: {np.mean(known):.3f}")
    return {n: (round(a, 3), positives[n]) for n, a in auroc.items() if a is not None}


def train_text(store: Store, output: Path, steps: int, seed: int) -> dict[str, Any]:
    """By contrast of ECGs with all that is said of them (InfoNCE, equal texts are all right answers) and with each
    single statement (a sigmoid each, Zhai et al. 2023, arXiv 2303.15343)."""
    torch.manual_seed(seed)
    rows = store.rows("train")
    names = frequent(store, rows)
    given = torch.from_numpy(labels(store, rows, names))
    kept = given.any(1)
    signals, given = torch.from_numpy(store.millivolts(rows))[kept], given[kept]
    encoder, tower = ECGText.new(len(names))
    sharp, slope, level = (nn.Parameter(torch.tensor(v)) for v in (math.log(10.0), math.log(10.0), -3.0))
    for name, value in (("sharp", sharp), ("slope", slope), ("level", level)):
        tower.register_parameter(name, value)
    single = torch.eye(len(names))

    def loss() -> Tensor:
        x, which = crops(signals, store.rate, 128)
        said = given[which] * (torch.rand(128, len(names)) > 0.1)  # what is said is never all that could be
        said = torch.where(said.any(1, keepdim=True), said, given[which])
        with torch.autocast("cpu", torch.bfloat16):
            u = encoder(x)
        u, v = F.normalize(u.float(), dim=-1), tower(said)
        logits = u @ v.T * sharp.exp().clamp(max=50)
        alike = (said[:, None] == said[None]).all(-1).float()
        alike = alike / alike.sum(1, keepdim=True)
        whole = (alike * logits.log_softmax(1)).sum(1).mean() + (alike * logits.log_softmax(0).T).sum(1).mean()
        each = u @ tower(single).T * slope.exp().clamp(max=50) + level
        return 10 * F.binary_cross_entropy_with_logits(each, given[which]) - whole / 2

    trained([encoder, tower], steps, 4e-3, 0.05, loss, "text")
    del tower.sharp, tower.slope, tower.level
    pair = ECGText(encoder, tower, tuple(names), {}, "")
    figures = retrieval(pair, store, store.rows("validation"))
    tensors = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    tensors |= {f"tower.{k}": v for k, v in tower.state_dict().items()}
    facts = {"names": names, "figures": figures, "steps": steps, "seed": seed, "store": store.digest}
    written(output / "text.safetensors", tensors, facts)
    return figures


def retrieval(pair: ECGText, store: Store, rows: np.ndarray) -> dict[str, Any]:
    """How well real ECGs and what is said of them find each other, each distinct text being one answer. `usual{k}`:
    were the k most frequent texts always the first, without a look at the ECG."""
    said = [tuple(s for s in store.statements(int(r)) if s in pair.names) for r in rows]
    rows, said = rows[[bool(s) for s in said]], [s for s in said if s]
    texts = sorted(set(said))
    x, y = pair(store.millivolts(rows)), pair.texts(texts)
    place = np.array([texts.index(s) for s in said])
    scores = x @ y.T
    right = scores[np.arange(len(x)), place]
    to_text = (scores > right[:, None]).sum(1)
    to_ecg = np.array([(scores[place != k, k] > scores[place == k, k].max()).sum() for k in range(len(texts))])
    strangers = place[np.random.default_rng(0).permutation(len(place))]
    return {
        "clip_score": float(100 * right.mean()),
        "clip_score_shuffled": float(100 * scores[np.arange(len(x)), strangers].mean()),
        **{f"top{k}": float((to_text < k).mean()) for k in (1, 5, 10)},
        **{f"usual{k}": float(np.sort(np.bincount(place))[::-1][:k].sum() / len(x)) for k in (1, 5, 10)},
        **{f"ecg_top{k}": float((to_ecg < k).mean()) for k in (1, 5, 10)},
        "queries": len(x),
        "texts": len(texts),
    }


@app.command(help=__doc__)
def main(
    store: Annotated[Path, typer.Option(help="made by `ecgtwin data prepare ptbxl`, 1024 samples at 102.4 Hz")],
    which: Annotated[Literal["statements", "identity", "text"], typer.Option(help="what to train")],
    output: Annotated[Path, typer.Option(help="folder for the weights")] = Path("ecgtwin/metrics/weights"),
    steps: Annotated[int | None, typer.Option(help="those of the weights in the package if left out")] = None,
    seed: Annotated[int | None, typer.Option(help="that of the weights in the package if left out")] = None,
    as_json: Json = False,
) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    opened = Store.open(store)
    train = {"statements": train_statements, "identity": train_identity, "text": train_text}[which]
    usual_steps, usual_seed = RECIPES[which]
    found = train(opened, output, steps or usual_steps, usual_seed if seed is None else seed)
    tell(found, "\n".join(f"{name}: {value}" for name, value in found.items()), as_json)


if __name__ == "__main__":
    app()
