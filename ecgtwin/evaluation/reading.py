"""A set of ECGs read once by everything that judges it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..ecg.intervals import Measurements, measure
from ..ecg.leads import INDEPENDENT
from ..metrics.beat_to_beat import beats_to_beats
from ..metrics.evaluators import WEIGHTS, ECGText, Identity, Statements
from ..metrics.features import band_power
from ..metrics.identity import median_beats
from ..metrics.two_sample import with_missing
from .simulated_truth import aligned, centred

MEASURED = (
    "PR ms",
    "QRS ms",
    "QT ms",
    "QTc ms",
    "QRS axis deg",
    "T axis deg",
    "R in V5 mV",
    "S in V1 mV",
    "T in V5 mV",
    "ST in V2 mV",
)

ALONE = ("beats", "rhythm", "spectrum", "probabilities", "learned", "who", "text", "measured")
"""What `Reading` measures of each ECG alone, whatever others are beside it."""


@dataclass(frozen=True)
class Judges:
    """The independent readers; text None: its figures are left out."""

    statements: Statements
    identity: Identity
    text: ECGText | None

    @staticmethod
    def load() -> "Judges":
        text = ECGText.load() if (WEIGHTS / "text.safetensors").is_file() else None
        return Judges(Statements.load(), Identity.load(), text)


@dataclass(frozen=True, eq=False)
class Reading:
    """signals (n, 8, L) in mV at `rate` Hz; patients (n,): whose they are, or, of generated ones, whose reference.
    Everything else is measured when it is first asked for."""

    signals: np.ndarray
    rate: float
    patients: np.ndarray
    judges: Judges

    def __len__(self) -> int:
        return len(self.signals)

    def some(self, rows: np.ndarray | slice) -> "Reading":
        """Those at `rows`; what was measured of them is kept."""
        part = Reading(self.signals[rows], self.rate, self.patients[rows], self.judges)
        part.__dict__.update({name: self.__dict__[name][rows] for name in ALONE if name in self.__dict__})
        return part

    def first(self, n: int) -> "Reading":
        return self.some(slice(n))

    @cached_property
    def beats(self) -> np.ndarray:
        """Median beats (n, 8 * POINTS) in mV, zeros where none can be measured."""
        return median_beats(self.signals, self.rate)

    @cached_property
    def rhythm(self) -> np.ndarray:
        """(n, 4): heart rate, variation, jump, odd; NaN where not measurable."""
        return beats_to_beats(self.signals, self.rate)

    @cached_property
    def spectrum(self) -> np.ndarray:
        """(n, 8 * 16): log10 power by lead and band."""
        return band_power(self.signals, self.rate)

    @cached_property
    def probabilities(self) -> np.ndarray:
        return self.judges.statements(self.signals)

    @cached_property
    def learned(self) -> np.ndarray:
        """(n, W): what the statement classifier reads its findings from."""
        return self.judges.statements.features(self.signals)

    @cached_property
    def who(self) -> np.ndarray:
        """(n, D): identity vectors."""
        return self.judges.identity.of_beats(self.beats)

    @cached_property
    def text(self) -> np.ndarray:
        return self.judges.text(self.signals)

    @cached_property
    def measured(self) -> np.ndarray:
        """(n, len(MEASURED)): NaN where not measurable."""
        return np.array([row(measure(x, self.rate, INDEPENDENT)) for x in self.signals], float).reshape(
            -1, len(MEASURED)
        )

    @cached_property
    def hand_made(self) -> np.ndarray:
        """(n, F): beat, spectrum and rhythm, each group weighing the same; no network has a part in them."""
        rhythm = with_missing(np.r_[self.rhythm, [[np.nan] * 4]])[:-1]
        parts = (self.beats, self.spectrum, rhythm)
        return np.concatenate([p / np.sqrt(p.shape[1]) for p in parts], 1)


def row(m: Measurements) -> list[float]:
    lead = m.amplitudes or {}

    def mv(name: str, part: str) -> float:
        value = getattr(lead[name], part) if name in lead else None
        return np.nan if value is None else value

    numbers = [np.nan if v is None else v for v in (m.pr, m.qrs, m.qt, m.qtc_fridericia, m.qrs_axis, m.t_axis)]
    return [*numbers, mv("V5", "r"), mv("V1", "s"), mv("V5", "t"), mv("V2", "st")]


def beat_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) root mean square difference in uV of median beats (n, D), a moved by at most 95 ms onto b; NaN where
    either has no beat."""
    there = a.any(1) & b.any(1)
    target = centred(b)
    out = 1000 * np.sqrt(np.mean((aligned(a, target) - target) ** 2, axis=1)) if len(a) else np.empty(0)
    return np.where(there, out, np.nan)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) of rows of unit vectors; NaN where either is zero (no beat)."""
    return np.where(a.any(1) & b.any(1), (a * b).sum(1), np.nan)
