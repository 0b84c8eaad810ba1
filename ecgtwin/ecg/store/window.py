"""From a recording to windows of one shape: 8 independent leads, one rate, 1 uV steps, with
what was repaired or found wrong.

Order: missing samples bridged, a constant tail cropped, the whole recording resampled (so that only its two ends have
an edge), windows cut, each lead's median removed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import quality
from ..files.fields import plausible_heart_rate
from ..files.wfdb import CHECKSUM
from ..leads import INDEPENDENT, derive_limb
from ..quality import bits, longest_run, on
from ..record import ECG
from ..rhythm import heart_rate
from .columns import GAIN

GAP, MISSING = 0.2, 0.02
"""Longest gap in s, and largest share of missing samples in a lead's window, that are bridged."""
MISMATCH = 0.03
"""mV (standard deviation) that limb leads may differ from what I and II give; rounding is 0.001 to
0.005, aVL for aVF at least 0.04."""
COMPLETE = 0.95
"""Share of a window that must be recorded; the rest is mirrored."""


class Window(NamedTuple):
    """signal (8, samples) int16 in uV; flags as a number; heart_rate in beats/min or NaN; valid:
    samples that were recorded."""

    signal: np.ndarray
    flags: int
    heart_rate: float
    valid: int


def cut(ecg: ECG, starts: Sequence[float], *, rate: float, seconds: float) -> list[Window]:
    """Windows of `seconds` from `starts` (s) at `rate` (Hz). ValueError where a lead is
    missing and cannot be derived."""
    eight = ecg.select(INDEPENDENT)
    missing = ~np.isfinite(eight.signal)
    x = bridged(eight.signal, missing) if missing.any() else eight.signal
    tail = constant_tail(x)
    cropped = tail >= max(5, 0.02 * ecg.rate)
    x = x[:, : x.shape[1] - tail] if cropped else x
    y = ECG(x, ecg.rate, INDEPENDENT).resample(rate).signal
    always = on(checksum=CHECKSUM in ecg.notes, synthetic=ecg.synthetic, limb_mismatch=limb_mismatch(ecg))
    found = []
    for start in starts:
        a, b = round(start * ecg.rate), round((start + seconds) * ecg.rate)
        first, samples = round(start * rate), round(seconds * rate)
        flags = always + quality.flags(x[:, a:b]) + gaps(missing[:, a : min(b, x.shape[1])], ecg.rate)
        flags += on(tail_cropped=cropped and b > x.shape[1])
        signal, more, valid = stored(y[:, first : first + samples], samples)
        beats = heart_rate(x[:, a:b], ecg.rate) if ecg.rate >= 50 else None
        found.append(
            Window(signal, bits(*{*flags, *more}), np.nan if beats is None else plausible_heart_rate(beats), valid)
        )
    return found


def bridged(x: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Missing samples on straight lines between their neighbours; a lead with none at all is zero."""
    x = x.copy()
    for lead, gone in zip(x, missing, strict=True):
        if gone.all():
            lead[:] = 0
        elif gone.any():
            lead[gone] = np.interp(np.flatnonzero(gone), np.flatnonzero(~gone), lead[~gone])
    return x


def constant_tail(x: np.ndarray) -> int:
    """How many of the last samples only repeat the one before, in all leads at once; 0 where nothing ever moves."""
    moving = np.flatnonzero(np.any(x[:, 1:] != x[:, :-1], axis=0))
    return x.shape[1] - 2 - int(moving[-1]) if len(moving) else 0


def limb_mismatch(ecg: ECG) -> bool:
    """Whether III, aVR, aVL or aVF in the file are not what I and II give: swapped names, or leads lost."""
    at = {name: k for k, name in enumerate(ecg.leads)}
    if "I" not in at or "II" not in at:
        return False
    for name, expected in derive_limb(ecg.signal[at["I"]], ecg.signal[at["II"]]).items():
        if name in at and np.std(ecg.signal[at[name]] - expected) > MISMATCH:
            return True
    return False


def gaps(missing: np.ndarray, rate: float) -> list[str]:
    """Whether samples are missing, and whether the gaps are small enough to be bridged."""
    if not missing.any():
        return []
    worst = max(longest_run(lead) for lead in missing)
    return ["bridged"] if worst <= GAP * rate and missing.mean(1).max() <= MISSING else ["missing_samples"]


def stored(y: np.ndarray, samples: int) -> tuple[np.ndarray, list[str], int]:
    """A window (8, up to samples) in mV as int16, completed by mirroring its end, or by
    zeros where too much is missing."""
    valid = y.shape[1]
    if valid == 0:
        return np.zeros((len(INDEPENDENT), samples), np.int16), ["short"], 0
    steps = np.rint((y - np.median(y, axis=1, keepdims=True)).astype(np.float64) * GAIN)
    flags = on(clipped=np.abs(steps).max() > 32767)
    steps = np.clip(steps, -32767, 32767).astype(np.int16)
    if valid == samples:
        return steps, flags, valid
    enough = valid >= COMPLETE * samples
    steps = np.pad(steps, ((0, 0), (0, samples - valid)), mode="reflect" if enough else "constant")
    return steps, flags + ["end_mirrored" if enough else "short"], valid
