"""WFDB records: a header and signal files. Format 16 is read here, all others by the wfdb package."""

import re
from pathlib import Path

import numpy as np

from ..record import ECG
from .channels import Given, factor, missing, standard_leads
from .fields import comments, describe
from .wfdb_header import read_header, read_plain


def read(path: Path, given: Given) -> ECG:
    """A record, given by its header, its signal file or its name without ending."""
    record = path.with_suffix("") if path.suffix.lower() in (".hea", ".dat", ".mat") else path
    header_file = record.with_name(record.name + ".hea")
    if not header_file.is_file():
        raise FileNotFoundError(missing(header_file))
    try:
        header = read_header(header_file)
    except ValueError as error:
        raise ValueError(f"{record}: not a readable WFDB record ({error})") from None
    absent = next((c.file for c in header.channels if not (record.parent / c.file).is_file()), None)
    if absent is not None:
        raise FileNotFoundError(missing(record.parent / absent))
    plain = read_plain(record, header)
    if plain is not None:
        signals, rate = plain[0], header.rate
        channels = [(c.lead, c.unit) for c in header.channels]
    else:
        signals, rate, channels = read_by_wfdb(record)
    if not signals.size:
        raise ValueError(f"{record}: the record holds no samples")
    names, kept, notes = standard_leads([name for name, _ in channels], str(record))
    scale = [factor(given.units or channels[k][1], f"{record}, lead {channels[k][0]}") for k in kept]
    said = describe(header_comments(header_file))
    return ECG(signals[kept] * np.array(scale)[:, None], rate, names, name=record.name, **said | {"notes": notes + said["notes"]})


def read_by_wfdb(record: Path) -> tuple[np.ndarray, float, list[tuple[str, str]]]:
    """Any format that the wfdb package knows: signals (channels, samples), rate, and name and unit of each channel."""
    import wfdb  # takes a second to import and 15 ms for each header, so only where it must be

    try:
        header = wfdb.rdheader(str(record))
        if getattr(header, "segments", None) is None:
            check_size(record, header)
        found = wfdb.rdrecord(str(record))
    except OSError:
        raise
    except Exception as error:  # wfdb raises many kinds for damaged files; the user needs one sentence
        if isinstance(error, ValueError) and str(error).startswith(str(record)):
            raise
        raise ValueError(f"{record}: not a readable WFDB record ({type(error).__name__}: {error})") from None
    signals = np.empty((0, 0)) if found.p_signal is None else found.p_signal.T
    names = found.sig_name or []
    return signals, found.fs, list(zip(names, found.units or ["mV"] * len(names), strict=True))


def header_comments(path: Path) -> list[str]:
    """Comment lines of a header; wfdb drops every letter of theirs that is not ASCII."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [line for line in text.splitlines() if line.startswith("#")]


def check_size(record: Path, header) -> None:
    """Refuse a data file that is shorter than its header says."""
    width = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12}
    for name in dict.fromkeys(header.file_name or []):
        signals = [k for k, n in enumerate(header.file_name) if n == name]
        bits = [width.get(str(header.fmt[k])) for k in signals]
        data = record.parent / name
        if not data.is_file():
            raise FileNotFoundError(missing(data))
        if None in bits or not header.sig_len:
            continue
        frames = [(header.samps_per_frame or [1] * len(header.file_name))[k] for k in signals]
        expected = header.sig_len * sum(b * f for b, f in zip(bits, frames, strict=True)) // 8
        expected += (header.byte_offset[signals[0]] or 0) if header.byte_offset else 0
        if data.stat().st_size < expected:
            raise ValueError(
                f"{record}: {name} is truncated: {data.stat().st_size} bytes, {expected} bytes expected; copy the file again"
            )


def write(ecg: ECG, path: Path) -> list[Path]:
    """Format 16 with digital samples of our own: 1 uV steps, coarser only where the range asks for it."""
    import wfdb

    if not np.isfinite(ecg.signal).all():
        raise ValueError("the signal has samples that are not finite: WFDB format 16 cannot hold them; write NPZ")
    if not re.fullmatch(r"[\w-]+", path.stem):
        raise ValueError(f"record name {path.stem!r}: WFDB allows letters, digits, hyphen and underscore")
    largest = float(np.abs(ecg.signal).max(initial=0.0))
    gain = min(1000.0, 32_000 / largest) if largest else 1000.0
    n = len(ecg.leads)
    wfdb.wrsamp(
        path.stem,
        fs=ecg.rate,
        units=["mV"] * n,
        sig_name=list(ecg.leads),
        d_signal=np.round(ecg.signal.T.astype(np.float64) * gain).astype(np.int64),
        fmt=["16"] * n,
        adc_gain=[gain] * n,
        baseline=[0] * n,
        comments=comments(ecg),
        write_dir=str(path.parent),
    )
    return [path.with_suffix(".dat"), path]
