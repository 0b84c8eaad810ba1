"""Independent readers of ECGs, trained on real recordings of training patients alone: they share no weight, no code and
no seed with the generator that they judge.

`Statements` says which findings an ECG shows, `Identity` who it is of, `ECGText` how well an ECG and statements fit
together. All take signals (N, 8, 1024) in mV at 102.4 Hz, leads I, II, V1-V6. Weights lie beside this file, with a
model card; `scripts/train_evaluators.py` makes them.

Shapes: B batch · C channels · L samples · W width of the features.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from .identity import POINTS, median_beats

WEIGHTS = Path(__file__).parent / "weights"
RATE, LEADS = 102.4, 8


class Block(nn.Module):
    """Two convolutions and a way around them, as in a ResNet-D (He et al. 2018, arXiv 1812.01187): halving
    by mean, not by skipping."""

    def __init__(self, now: int, width: int, stride: int):
        super().__init__()
        self.inside = nn.Sequential(
            nn.Conv1d(now, width, 5, stride, 2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, 1, 2, bias=False),
            nn.BatchNorm1d(width),
        )
        around: list[nn.Module] = [nn.AvgPool1d(2, ceil_mode=True)] if stride == 2 else []
        if now != width:
            around += [nn.Conv1d(now, width, 1, bias=False), nn.BatchNorm1d(width)]
        self.around = nn.Sequential(*around)
        nn.init.zeros_(self.inside[-1].weight)  # each block starts as the way around it

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.inside(x) + self.around(x))


class XResNet(nn.Module):
    """(B, 8, L) -> scores (B, out); `features` gives what they are read from, (B, W). L: any, 256 or more.

    After xresnet1d of the PTB-XL benchmark (Strodthoff et al. 2021, doi:10.1109/JBHI.2020.3022989), smaller.
    """

    def __init__(self, out: int, widths: Sequence[int] = (48, 64, 96, 128), dropout: float = 0.3):
        super().__init__()
        first = widths[0]
        layers: list[nn.Module] = []
        for now, width, stride in ((LEADS, 32, 2), (32, 32, 1), (32, first, 1)):
            layers += [nn.Conv1d(now, width, 5, stride, 2, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        layers.append(nn.MaxPool1d(3, 2, 1))
        now = first
        for k, width in enumerate(widths):
            layers += [Block(now, width, 1 if k == 0 else 2), Block(width, width, 1)]
            now = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.BatchNorm1d(2 * now), nn.Dropout(dropout), nn.Linear(2 * now, out))

    def features(self, x: Tensor) -> Tensor:
        h = self.body(x).float()
        return torch.cat([h.mean(-1), h.amax(-1)], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class BeatEncoder(nn.Module):
    """Median beats (B, 8, POINTS) in mV -> (B, out), unit length, learned by contrast. All 12 leads are seen, four of
    them derived. Small sizes count: each beat is divided by its own size, which is given beside it."""

    def __init__(self, out: int = 96, width: int = 48, hidden: int = 192):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(12, width, 7, 1, 3, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
            Block(width, width, 2), Block(width, width, 1), Block(width, width, 2),
        )  # fmt: skip
        flat = width * (-(-POINTS // 4)) + 12
        self.head = nn.Sequential(
            nn.BatchNorm1d(flat), nn.Dropout(0.2), nn.Linear(flat, hidden, bias=False), nn.BatchNorm1d(hidden),
            nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, out),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        one, two = x[:, 0], x[:, 1]
        derived = torch.stack([two - one, -(one + two) / 2, one - two / 2, two - one / 2], 1)  # III, aVR, aVL, aVF
        x = torch.cat([x[:, :2], derived, x[:, 2:]], 1)
        size = x.square().mean((1, 2), keepdim=True).sqrt().clamp(min=0.01)
        h = self.body(x / size).flatten(1).float()
        lead = x.square().mean(-1).sqrt().clamp(min=0.003).log().float()  # (B, 12)
        return F.normalize(self.head(torch.cat([h, lead], 1)), dim=-1)


class BeatMap(nn.Module):
    """Median beats (B, 8, POINTS) -> (B, out), unit length, in closed form: each beat divided by its size,
    principal components whitened by the covariance within patients, then the directions in which patients differ
    most (linear discriminants)."""

    def __init__(self, out: int = 80):
        super().__init__()
        self.register_buffer("mean", torch.zeros(LEADS * POINTS))
        self.register_buffer("axes", torch.zeros(LEADS * POINTS, out))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return F.normalize((x / x.norm(dim=1, keepdim=True).clamp(min=1e-6) - self.mean) @ self.axes, dim=-1)


class Recogniser(nn.Module):
    """Both side by side: the cosine is the mean of theirs, the learned one's weighing `SHARE` (chosen on training
    patients who were left out). The learned one hardly ever takes two people for one, the linear one finds more of
    them at the first place."""

    SHARE = 0.7

    def __init__(self):
        super().__init__()
        self.learned, self.linear = BeatEncoder(), BeatMap()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.SHARE**0.5 * self.learned(x), (1 - self.SHARE) ** 0.5 * self.linear(x)], 1)


class StatementTower(nn.Module):
    """Statements (B, S), 1 = said -> (B, out), unit length. Its vectors of statements are its own, learned with
    the ECG's encoder: no text encoder has a part in them."""

    def __init__(self, statements: int, out: int, hidden: int = 128):
        super().__init__()
        self.each, self.together = nn.Linear(statements, hidden, bias=False), nn.Linear(hidden, out)
        nn.init.normal_(self.each.weight)

    def forward(self, given: Tensor) -> Tensor:
        h = self.each(given) / given.sum(1, keepdim=True).clamp(min=1).sqrt()
        return F.normalize(self.together(F.gelu(h)), dim=-1)


@dataclass(frozen=True, eq=False)
class Statements:
    """Which findings an ECG shows: signals (N, 8, 1024) mV -> probabilities (N, S) in the order of `names`.

    auroc: of each statement on real validation ECGs (None where fewer than 3 have it), `positives` of which have it.
    """

    network: XResNet
    names: tuple[str, ...]
    auroc: dict[str, float | None]
    positives: dict[str, int]
    sha256: str

    @classmethod
    def load(cls, path: Path = WEIGHTS / "statements.safetensors") -> "Statements":
        tensors, facts, sha256 = read(path)
        network = restore(XResNet(len(facts["names"])), tensors)
        return cls(network, tuple(facts["names"]), facts["auroc"], facts["positives"], sha256)

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        return over(signals, lambda x: torch.sigmoid(self.network(x)))

    def features(self, signals: np.ndarray) -> np.ndarray:
        """(N, W): what the findings are read from, for distances between sets."""
        return over(signals, self.network.features)

    def of(self, signals: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Probabilities (N, len(names)); ValueError where one is not among `names`."""
        unknown = [n for n in names if n not in self.names]
        if unknown:
            raise ValueError(f"statement {unknown[0]!r} is not read: expected some of {', '.join(self.names)}")
        return self(signals)[:, [self.names.index(n) for n in names]]


@dataclass(frozen=True, eq=False)
class Identity:
    """Who an ECG is of: signals (N, 8, L) mV -> unit vectors (N, D), whose cosine says how alike two hearts are.

    It sees the median beat only, so that neither heart rate nor rhythm counts. Zeros (like nobody) where no beat can be
    measured. figures: rank-1 and equal error rate on the validation patients.
    """

    network: Recogniser
    figures: dict[str, Any]
    sha256: str

    @classmethod
    def load(cls, path: Path = WEIGHTS / "identity.safetensors") -> "Identity":
        tensors, facts, sha256 = read(path)
        return cls(restore(Recogniser(), tensors), facts["figures"], sha256)

    def __call__(self, signals: np.ndarray, rate: float = RATE) -> np.ndarray:
        return self.of_beats(median_beats(np.asarray(signals, np.float32), rate))

    def of_beats(self, beats: np.ndarray) -> np.ndarray:
        """Of median beats (N, 8 * POINTS), as `metrics.identity.median_beats` measures them."""
        beats = np.asarray(beats, np.float32).reshape(-1, LEADS, POINTS)
        there = beats.any((1, 2))
        return over(beats, self.network) * there[:, None]


@dataclass(frozen=True, eq=False)
class ECGText:
    """How well ECGs and statements fit: both become unit vectors; their cosine x 100 is the CLIP score (Hessel et al.
    2021, arXiv 2104.08718). Encoders of its own, trained by contrast: no part is shared with `Statements`.

    names: the statements that it can read. figures: retrieval on real validation ECGs.
    """

    encoder: XResNet
    tower: StatementTower
    names: tuple[str, ...]
    figures: dict[str, Any]
    sha256: str

    WIDTHS, OUT = (32, 48, 64, 96), 64

    @classmethod
    def load(cls, path: Path = WEIGHTS / "text.safetensors") -> "ECGText":
        tensors, facts, sha256 = read(path)
        encoder, tower = cls.new(len(facts["names"]))
        for name, network in (("encoder.", encoder), ("tower.", tower)):
            restore(network, {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)})
        return cls(encoder, tower, tuple(facts["names"]), facts["figures"], sha256)

    @classmethod
    def new(cls, statements: int) -> tuple[XResNet, StatementTower]:
        return XResNet(cls.OUT, cls.WIDTHS, dropout=0.2), StatementTower(statements, cls.OUT)

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        """(N, D) of signals (N, 8, 1024) mV."""
        return over(signals, lambda x: F.normalize(self.encoder(x), dim=-1))

    @torch.inference_mode()
    def texts(self, statements: Sequence[Sequence[str]]) -> np.ndarray:
        """(N, D) of N lists of statements; statements that it does not know are left out, and a
        list of none becomes zeros."""
        given = torch.tensor([[float(n in row) for n in self.names] for row in statements])
        given = given.reshape(-1, len(self.names))
        return (self.tower(given) * given.any(1, keepdim=True)).numpy()


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Tensors as float32, facts, and the file's hash."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no evaluator at {path}: `python scripts/train_evaluators.py` makes it")
    with safe_open(path, framework="pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}
        facts = json.loads(file.metadata()["json"])
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    return tensors, facts, hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def restore(network: Any, tensors: dict[str, Tensor]) -> Any:
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def over(x: np.ndarray, function: Any, size: int = 128) -> np.ndarray:
    """A network on many rows, part by part; ValueError for another shape than (N, 8, samples)."""
    x = np.asarray(x, np.float32)
    if x.ndim != 3 or x.shape[1] != LEADS:
        raise ValueError(f"signals of shape {x.shape}: expected (N, {LEADS}, samples), leads I, II, V1-V6 in mV")
    if not len(x):
        return function(torch.zeros(1, *x.shape[1:])).numpy()[:0]
    return torch.cat([function(part) for part in torch.from_numpy(x).split(size)]).float().numpy()
