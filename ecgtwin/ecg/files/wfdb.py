"""WFDB records: a header and signal files. Format 16 is read here, all others by the wfdb package."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..record import ECG
from .channels import Given, factor, missing, standard_leads
from .fields import comments, describe
from .wfdb_header import Header, read_header, read_plain

BITS = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12}
"""Bits of a sample, by format."""
CHECKSUM = "samples do not add up to the checksum in the header: the file may be damaged"
"""The note on an ECG whose samples changed after its header was written."""


def read(path: Path, given: Given) -> ECG:
    """A record, given by its header, its signal file or its name without ending, with what its
    comments say of the patient."""
    if given.rate is not None or given.leads is not None or given.gain is not None:
        advice = "a WFDB header says its own rate, leads and gain: correct the header instead; only units can be given"
        raise ValueError(f"{path.name}: {advice}")
    record = path.with_suffix("") if path.suffix.lower() in (".hea", ".dat", ".mat") else path
    header_file = record.with_name(record.name + ".hea")
    if not header_file.is_file():
        raise FileNotFoundError(missing(header_file))
    try:
        header = read_header(header_file)
    except ValueError as error:
        raise ValueError(f"{record}: not a readable WFDB record ({error})") from None
    ecg = signal(record, header, units=given.units)
    said = describe(header.comments)
    return replace(ecg, name=record.name, **said | {"notes": ecg.notes + said["notes"]})


def signal(record: Path, header: Header, *, units: str | None = None) -> ECG:
    """The signal of a record (its path without ending), nothing of the comments; a note
    where the checksum does not fit."""
    absent = next((c.file for c in header.channels if not (record.parent / c.file).is_file()), None)
    if absent is not None:
        raise FileNotFoundError(missing(record.parent / absent))
    plain = read_plain(record, header)
    if plain is not None:
        (signals, sound), rate = plain, header.rate
        channels = [(c.lead, c.unit) for c in header.channels]
    else:
        refuse_truncated(record, header)
        signals, rate, channels = read_by_wfdb(record)
        sound = np.ones(len(channels), bool)
    if not signals.size:
        raise ValueError(f"{record}: the record holds no samples")
    names, kept, notes = standard_leads([name for name, _ in channels], str(record))
    scale = [factor(units or channels[k][1], f"{record}, lead {channels[k][0]}") for k in kept]
    notes += () if sound[kept].all() else (CHECKSUM,)
    return ECG(signals[kept] * np.array(scale)[:, None], rate, names, name=header.name, notes=notes)


def read_by_wfdb(record: Path) -> tuple[np.ndarray, float, list[tuple[str, str]]]:
    """Any format that the wfdb package knows: signals (channels, samples), rate, and name and unit of each channel."""
    import wfdb  # takes a second to import and 15 ms for each header, so only where it must be

    try:
        found = wfdb.rdrecord(str(record))
    except OSError:
        raise
    except Exception as error:  # wfdb raises many kinds for damaged files; the user needs one sentence
        raise ValueError(f"{record}: not a readable WFDB record ({type(error).__name__}: {str(error)[:200]})") from None
    signals = np.empty((0, 0)) if found.p_signal is None else found.p_signal.T
    names = found.sig_name or []
    return signals, found.fs, list(zip(names, found.units or ["mV"] * len(names), strict=True))


def refuse_truncated(record: Path, header: Header) -> None:
    """Refuse signal files that are shorter than their header says: wfdb would fill them up or fail with a riddle."""
    for name in dict.fromkeys(channel.file for channel in header.channels):
        inside = [channel for channel in header.channels if channel.file == name]
        bits = [BITS.get(channel.format) for channel in inside]
        if None in bits or not header.samples:
            continue
        expected = header.samples * sum(b * c.frame for b, c in zip(bits, inside, strict=True)) // 8 + inside[0].offset
        size = (record.parent / name).stat().st_size
        if size < expected:
            raise ValueError(
                f"{record}: {name} is truncated: {size} bytes, {expected} bytes expected; copy the file again"
            )


def write(ecg: ECG, folder: Path, name: str) -> None:
    """Format 16 with digital samples of our own: 1 uV steps, coarser only where the range asks for it."""
    import wfdb

    if not np.isfinite(ecg.signal).all():
        raise ValueError("the signal has samples that are not finite: WFDB format 16 cannot hold them; write NPZ")
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"record name {name!r}: WFDB allows letters, digits, hyphen and underscore")
    largest = float(np.abs(ecg.signal).max(initial=0.0))
    gain = min(1000.0, 32_000 / largest) if largest else 1000.0
    n = len(ecg.leads)
    wfdb.wrsamp(
        name,
        fs=ecg.rate,
        units=["mV"] * n,
        sig_name=list(ecg.leads),
        d_signal=np.round(ecg.signal.T.astype(np.float64) * gain).astype(np.int64),
        fmt=["16"] * n,
        adc_gain=[gain] * n,
        baseline=[0] * n,
        comments=comments(ecg),
        write_dir=str(folder),
    )
