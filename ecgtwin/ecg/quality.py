"""What a reference must be before a model sees it: refused with a reason, or repaired with a note."""

from dataclasses import replace

import numpy as np

from .leads import INDEPENDENT, LIMB
from .record import ECG

FLAT = 0.01
"""mV peak to peak below which a lead is flat."""


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


def prepare(
    ecg: ECG, *, seconds: float = 10.0, leads: tuple[str, ...] = INDEPENDENT, start: float | None = None
) -> ECG:
    """`seconds` of the wanted leads, from `start` (s; the beginning where None), each without its offset.

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
    offset = np.median(ecg.signal, axis=1, keepdims=True)
    signal = ecg.signal - offset
    refuse_units(ecg.leads, signal)
    refuse_flat(ecg.leads, signal)
    large = [f"{name} {value:+.2f} mV" for name, value in zip(ecg.leads, offset[:, 0], strict=True) if abs(value) > 0.5]
    if large:
        notes.append(f"offsets removed: {', '.join(large)}")
    else:
        signal = ecg.signal
    return replace(ecg, signal=signal, notes=tuple(notes))


def refuse_missing(ecg: ECG) -> None:
    bad = ~np.isfinite(ecg.signal)
    for lead, row in zip(ecg.leads, bad, strict=True):
        if row.any():
            where = np.flatnonzero(row) / ecg.rate
            raise ValueError(
                f"lead {lead} has {row.sum()} samples that are not finite (NaN), between {where[0]:.2f} s and {where[-1]:.2f} s: "
                "choose another stretch (start=) or interpolate them first"
            )


def refuse_flat(leads: tuple[str, ...], signal: np.ndarray) -> None:
    flat = [name for name, row in zip(leads, signal, strict=True) if np.ptp(row) < FLAT]
    # A lead that stands still for most of the time was disconnected, whatever it does in the rest.
    still = [
        name
        for name, row in zip(leads, signal, strict=True)
        if name not in flat and longest_run(row) > 0.5 * len(row)
    ]
    if flat or still:
        advice = " (limb leads can be left out: they are derived from two others)" if set(flat + still) & set(LIMB) else ""
        raise ValueError(f"flat lead: {', '.join(flat + still)}: every lead must show the heart; record it again{advice}")


def longest_run(row: np.ndarray) -> int:
    """Samples in the longest stretch of one constant value."""
    change = np.flatnonzero(np.diff(row) != 0)
    edges = np.concatenate([[-1], change, [len(row) - 1]])
    return int(np.diff(edges).max())


def refuse_units(leads: tuple[str, ...], signal: np.ndarray) -> None:
    """Amplitudes that no heart makes: beyond 20 mV in some lead for 5 % of the time, or below 0.02 mV in all of them."""
    large = [name for name, row in zip(leads, signal, strict=True) if np.percentile(np.abs(row), 95) > 20]
    peak = np.abs(signal).max()
    if large:
        raise ValueError(
            f"amplitudes up to {peak:.0f} mV in {', '.join(large)}: looks like microvolts: pass units='uV' when reading"
        )
    if 1e-5 < peak < 0.02:  # less than that is flat in any unit
        raise ValueError(f"amplitudes of {peak:.2g} mV at most: looks like volts: pass units='V' when reading")
