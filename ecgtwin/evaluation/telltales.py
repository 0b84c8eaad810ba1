"""What gives generated ECGs away: the classifier two-sample test on one group of features at a time."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ..metrics.features import band_power
from ..metrics.identity import POINTS
from ..metrics.two_sample import Kind, two_sample
from .figures import Figure
from .reading import MEASURED, Reading
from .realism import halves

AXES = next(k for k, name in enumerate(MEASURED) if name.endswith("mV"))
FLOOR = 0.001
"""mV in each band: a classifier that is to see everything must see 1 uV."""


def power(*edges: float) -> Callable[[Reading], np.ndarray]:
    return lambda r: band_power(r.signals, r.rate, FLOOR, edges)


def amplitudes(r: Reading) -> np.ndarray:
    """Waves of single leads, and from top to bottom of every lead's median beat."""
    return np.c_[r.measured[:, AXES:], np.ptp(r.beats.reshape(len(r), -1, POINTS), axis=-1)]


GROUPS: dict[str, tuple[Callable[[Reading], np.ndarray], Kind]] = {
    "RR variation": (lambda r: r.rhythm[:, 1:], "trees"),
    "intervals and axes": (lambda r: r.measured[:, :AXES], "trees"),
    "amplitudes": (amplitudes, "trees"),
    "median beat": (lambda r: r.beats[:, ::4], "linear"),
    "wander below 1 Hz": (power(0.05, 0.25, 0.5, 1.0), "linear"),
    "spectrum 1-25 Hz": (power(1.0, 2.0, 4.0, 7.0, 12.0, 18.0, 25.0), "linear"),
    "spectrum 25-40 Hz": (power(25.0, 30.0, 35.0, 40.0), "linear"),
    "power above 40 Hz": (power(40.0, 43.0, 46.0, 50.0), "linear"),
}
"""Features and the classifier that sees them: trees where a line could not tell an interval that is odd both ways, or
that cannot be measured at all."""


class Against(NamedTuple):
    """Made ECGs, and the real ones that they are told from."""

    real: Reading
    made: Reading


def floor(whole: Reading, references: Reading, seed: int) -> Against:
    """Real against real: the references and the ECGs of all other patients; where these are few, the references of
    half of the patients and those of the other half."""
    rest = np.flatnonzero(~np.isin(whole.patients, references.patients))
    if len(rest) >= 40:
        return Against(whole.some(rest), references)
    side = halves(references.patients, seed)(references.patients)
    return Against(references.some(side), references.some(~side))


def telltales(rows: Mapping[str, Against], seed: int) -> list[Figure]:
    """AUROC of each group of features, in each row. Every ECG is judged by a classifier that has seen no ECG of its
    patient, nor one made of it: so `real` may hold the very references of what was made."""
    figures = []
    for name, (of, kind) in GROUPS.items():
        found = {
            key: two_sample(of(real), of(made), real.patients, made.patients, kind=kind, seed=seed, times=200)
            for key, (real, made) in rows.items()
        }
        meaning = f"Classifier two-sample test on {name} alone; 0.5: nothing tells made from real."
        figures.append(
            Figure(f"given away by {name}", "AUROC", "real", meaning, found, len(next(iter(rows.values())).made))
        )
    return figures
