"""What any 12-lead ECG must obey: limb leads are differences of three potentials."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..ecg.leads import INDEPENDENT, LEADS
from ..ecg.record import ECG
from .figures import Figure, averaged
from .reading import Reading

MEANING = (
    "Root mean square of III - (II - I), aVR + (I + II) / 2, aVL - (I - II / 2) and aVF - (II - I / 2) in the 12 leads "
    "as written; a file of 1 uV a step has up to 1 by rounding."
)


def residual(ecg: ECG) -> float:
    """In uV, of an ECG with all limb leads; NaN where one lacks."""
    if not set(LEADS[:6]) <= set(ecg.leads):
        return float("nan")
    one, two, three, avr, avl, avf = ecg.select(LEADS[:6]).signal.astype(float)
    parts = (three - (two - one), avr + (one + two) / 2, avl - (one - two / 2), avf - (two - one / 2))
    return float(1000 * np.sqrt(np.mean(np.square(parts))))


def limb_residual(sets: Mapping[str, Reading]) -> Figure:
    """Of as many ECGs in each row, of the same patients, in 12 leads as they are written to files."""
    values, made = {}, next(iter(sets.values()))
    with tempfile.TemporaryDirectory() as folder:
        for name, made in sets.items():
            ecgs = [ECG(x, made.rate, INDEPENDENT).select(LEADS) for x in made.signals]
            paths = [ecg.write(Path(folder) / f"{k}.hea") for k, ecg in enumerate(ecgs)]
            values[name] = np.array([residual(ECG.read(path)) for path in paths])
    return figure(values, made.patients)


def figure(values: dict[str, np.ndarray], patients: np.ndarray) -> Figure:
    return averaged("limb-lead residual", "uV", "less", MEANING, values, patients)
