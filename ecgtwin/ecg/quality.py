"""What is usable: one set of measurements of a signal, and two policies.

`prepare` refuses, or repairs with a note, one reference before a model sees it; `flags` says what is wrong with a
window of a data set, where one record among thousands must not stop the work.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .files.channels import TOO_LARGE, Unsaid
from .leads import INDEPENDENT, LIMB
from .record import ECG

FLAT = 0.01
"""mV peak to peak below which a lead of a reference is flat."""
LARGE = 20.0
"""mV that no heart reaches, but for a moment."""
FLAGS = {
    "unreadable": "the file is damaged, or lacks leads that cannot be derived",
    "short": "shorter than the window",
    "missing_samples": "samples are missing (NaN) in gaps too long to bridge",
    "zero_lead": "a stored lead is zero throughout",
    "flat_lead": "a stored lead hardly moves (less than 20 uV between its 1st and 99th percentile)",
    "microvolts": "values over 20 mV throughout: the unit is probably not mV",
    "duplicate": "the same stored signal as an earlier row",
    "ptbxl_copy": "a PTB-XL record inside the Challenge collection, whose patient and fold are not known here",
    "bridged": "missing samples in gaps of at most 0.2 s, bridged by straight lines",
    "tail_cropped": "all leads constant at the end: cropped, and the window completed by mirroring",
    "end_mirrored": "up to 5 % shorter than the window: completed by mirroring",
    "offset": "a lead was more than 1 mV off zero; every lead's median is removed",
    "clipped": "values beyond +-32.767 mV were clipped",
    "spike": "values beyond 8 mV: pacing or artefact",
    "limb_mismatch": "limb leads in the file disagree by more than 0.03 mV (RMS) with I and II",
    "checksum": "samples do not add up to the checksum in the header",
    "age_over_89": "written as over 89 in the source, or 90 and more; stored as 90",
    "broken_text": "report text with characters that were lost in an earlier conversion",
    "sentinel": "a measurement of the machine was a code for 'not measured'",
    "rate_disagrees": "measured and given heart rate differ by more than 10 beats/min",
    "patient_unknown": "no patient id: makes no pairs",
    "pacemaker": "the source notes a pacemaker",
    "noise_noted": "the source notes drift, noise, or electrode problems",
    "synthetic": "made by a simulator or a model",
}
"""What can be said about a row -> meaning. The position is the bit in column `flags`."""
BAD = ("unreadable", "short", "missing_samples", "zero_lead", "flat_lead", "microvolts", "duplicate", "ptbxl_copy")
"""Flags that make a row unusable."""


def bits(*names: str) -> int:
    """The number that has these flags set."""
    order = list(FLAGS)
    return sum(1 << order.index(name) for name in names)


@dataclass(frozen=True, eq=False)
class Measures:
    """Figures of a signal (leads, samples) in mV without missing samples; each has an entry for each lead."""

    signal: np.ndarray

    @cached_property
    def percentiles(self) -> np.ndarray:
        """(3, leads) mV: 1st, 50th and 99th."""
        return np.percentile(self.signal, [1, 50, 99], axis=1)

    @cached_property
    def middle(self) -> np.ndarray:
        """mV: the median, where the baseline is."""
        return self.percentiles[1]

    @cached_property
    def off(self) -> np.ndarray:
        """(leads, samples) mV: how far each sample is off the baseline."""
        return np.abs(self.signal - self.middle[:, None])

    @cached_property
    def zero(self) -> np.ndarray:
        """Whether every sample is zero."""
        return ~self.signal.any(axis=1)

    @cached_property
    def still(self) -> np.ndarray:
        """The longest stretch of one constant value, as a fraction of all samples."""
        return np.array([(longest_run(np.diff(row) == 0) + 1) / len(row) for row in self.signal])


def longest_run(on: np.ndarray) -> int:
    """How many True stand in a row, at most."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def flags(signal: np.ndarray) -> list[str]:
    """The policy for data sets: the names in FLAGS that a window (8, samples) in mV, at its own rate, deserves."""
    if signal.shape[1] == 0:
        return []
    measured = Measures(signal)
    low, middle, high = measured.percentiles
    return on(
        zero_lead=measured.zero.any(),
        flat_lead=np.any((high - low < 0.02) & ~measured.zero),
        offset=np.any(np.abs(middle) > 1),
        microvolts=np.median(np.maximum(high - middle, middle - low)) > LARGE,
        spike=measured.off.max() > 8,
    )


def on(**flags: bool) -> list[str]:
    """The names of the flags that are true."""
    return [name for name, true in flags.items() if true]


def prepare(
    ecg: ECG, *, seconds: float = 10.0, leads: tuple[str, ...] = INDEPENDENT, start: float | None = None
) -> ECG:
    """The policy for a reference: `seconds` of the wanted leads, from `start` (s; the beginning
    where None), without large offsets.

    Raises ValueError for: a rate below 50 Hz, a recording that is too short, a missing lead, samples that are not
    finite, a flat lead, amplitudes that cannot be millivolts. Crops and removes large offsets; `notes` says so.
    """
    notes = list(ecg.notes)
    if ecg.rate < 50:
        raise ValueError(f"the ECG has {ecg.rate:g} samples per second: at least 50 Hz are needed")
    needed = round(seconds * ecg.rate)
    if ecg.signal.shape[1] < 0.995 * needed:
        raise ValueError(f"the ECG is {ecg.seconds:.1f} s long: {seconds:g} s are needed; give a longer recording")
    if start is not None or ecg.signal.shape[1] > 1.005 * needed:
        begin = 0.0 if start is None else start
        total = ecg.seconds
        ecg = ecg.crop(begin, seconds)
        notes.append(f"{seconds:g} s from {begin:g} s of {total:.1f} s were used")
    refuse_missing(ecg)
    ecg = ecg.select(leads)
    measured = Measures(ecg.signal)
    refuse_units(ecg.leads, measured)
    refuse_flat(ecg.leads, measured)
    large = [
        f"{name} {value:+.2f} mV" for name, value in zip(ecg.leads, measured.middle, strict=True) if abs(value) > 0.5
    ]
    if not large:
        return replace(ecg, notes=tuple(notes))
    notes.append(f"offsets removed: {', '.join(large)}")
    return replace(ecg, signal=ecg.signal - np.median(ecg.signal, axis=1, keepdims=True), notes=tuple(notes))


def refuse_missing(ecg: ECG) -> None:
    for lead, row in zip(ecg.leads, ~np.isfinite(ecg.signal), strict=True):
        if row.any():
            where = np.flatnonzero(row) / ecg.rate
            raise ValueError(
                f"lead {lead} has {row.sum()} samples that are not finite (NaN), between {where[0]:.2f} s and "
                f"{where[-1]:.2f} s: choose another stretch by its start, or interpolate them first"
            )


def refuse_flat(leads: tuple[str, ...], measured: Measures) -> None:
    """A lead that stands still for most of the time was disconnected, whatever it does in the rest."""
    ranges = np.ptp(measured.signal, axis=1)
    flat = [
        name for name, extent, still in zip(leads, ranges, measured.still, strict=True) if extent < FLAT or still > 0.5
    ]
    if flat:
        advice = " (limb leads can be left out: they are derived from two others)" if set(flat) & set(LIMB) else ""
        raise ValueError(f"flat lead: {', '.join(flat)}: every lead must show the heart; record it again{advice}")


def refuse_units(leads: tuple[str, ...], measured: Measures) -> None:
    """Amplitudes that no heart makes: beyond 20 mV in some lead for 5 % of the time, or
    below 0.02 mV in all of them."""
    large = [name for name, off in zip(leads, measured.off, strict=True) if np.percentile(off, 95) > LARGE]
    peak = measured.off.max()
    if large:
        raise Unsaid(f"amplitudes up to {peak:.0f} mV in {', '.join(large)}: {TOO_LARGE}", "units", "gain")
    if 1e-5 < peak < 0.02:  # less than that is flat in any unit
        raise Unsaid(f"amplitudes of {peak:.2g} mV at most: looks like volts: read it with units V", "units")
