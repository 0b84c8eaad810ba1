"""Reading and writing ECGs: WFDB, CSV and NPZ. Units are millivolts inside; files say theirs."""

import difflib
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .headers import read_header, read_plain
from .leads import LEADS, canonical
from .record import ECG

UNITS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "millivolt": 1.0, "microvolt": 1e-3, "volt": 1e3}
NOTICE = "synthetic: counterfactual ECG made by ecgtwin; research use only, not for clinical diagnosis"
FORMATS = {".hea": "wfdb", ".dat": "wfdb", ".mat": "wfdb", "": "wfdb", ".csv": "csv", ".npz": "npz"}


def read(path: Path, *, units: str | None = None, rate: float | None = None, leads=None) -> ECG:
    """Read a file by its ending; see `ECG.read`."""
    if path.is_dir() and not (path.name and path.with_name(f"{path.name}.hea").is_file()):
        raise ValueError(f"{path} is a folder: give one record in it")
    kind = FORMATS.get(path.suffix.lower())
    if kind is None and path.with_name(path.name + ".hea").is_file():
        kind = "wfdb"
    if kind is None:
        raise ValueError(f"{path.name}: expected a WFDB record (.hea), .csv or .npz; arrays without names are refused")
    if kind == "wfdb":
        return read_wfdb(path, units=units)
    if not path.is_file():
        raise FileNotFoundError(missing(path))
    return (read_csv if kind == "csv" else read_npz)(path, units=units, rate=rate, leads=leads)


def missing(path: Path) -> str:
    """A message for a file that does not exist, with the nearest names beside it."""
    if not path.parent.is_dir():
        return f"no record {path}: the folder {path.parent} does not exist"
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3, cutoff=0.5)
    return f"no record {path}" + (f"; near names there: {', '.join(near)}" if near else "")


def factor(units: str, where: str) -> float:
    """mV per unit."""
    found = UNITS.get(units.strip().lower())
    if found is None:
        raise ValueError(f"{where}: unit {units!r}: expected mV, uV or V")
    return found


def read_wfdb(path: Path, *, units: str | None = None) -> ECG:
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
    scale = [factor(units or channels[k][1], f"{record}, lead {channels[k][0]}") for k in kept]
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


def standard_leads(names: Iterable[str], where: str) -> tuple[tuple[str, ...], list[int], tuple[str, ...]]:
    """Standard leads among channel names, their positions, and notes on what was left out."""
    found, kept, others = [], [], []
    for k, name in enumerate(names):
        try:
            lead = canonical(name)
        except ValueError:
            others.append(name or "(no name)")
            continue
        if lead in found:
            raise ValueError(f"{where}: lead {lead} occurs twice")
        found.append(lead)
        kept.append(k)
    if not found:
        raise ValueError(f"{where}: channels {', '.join(others) or 'without names'}: none is one of {', '.join(LEADS)}")
    return tuple(found), kept, (f"channels left out: {', '.join(others)}",) if others else ()


def describe(comments: Iterable[str]) -> dict[str, Any]:
    """Age, sex, reports, notes and whether it is synthetic, from header comments (ours, the Challenge's, PTBDB's)."""
    found: dict[str, Any] = {"reports": (), "notes": ()}
    for line in comments:
        key, _, value = line.strip().lstrip("#").partition(":")
        key, value = key.strip().lower(), value.strip()
        if key == "age" and re.fullmatch(r"\d{1,3}(\.\d+)?", value) and float(value) <= 120:
            found["age"] = float(value)
        elif key == "sex" and value.lower() in ("female", "f", "male", "m"):
            found["sex"] = "female" if value.lower().startswith("f") else "male"
        elif key in ("report", "statement") and value:
            found["reports"] += tuple(part.strip() for part in value.split("|") if part.strip())
        elif key == "dx" and value:
            found["reports"] += tuple(f"snomed:{code.strip()}" for code in value.split(",") if code.strip())
        elif key == "note" and value:
            found["notes"] += (value,)
        elif key == "patient" and value:
            found["patient"] = value
        elif key == "synthetic":
            found["synthetic"] = True
    return found


def comments(ecg: ECG) -> list[str]:
    """The inverse of `describe`."""
    lines = [NOTICE] if ecg.synthetic else []
    lines += [f"age: {ecg.age:g}"] if ecg.age is not None else []
    lines += [f"sex: {ecg.sex}"] if ecg.sex else []
    lines += [f"patient: {one_line(ecg.patient)}"] if ecg.patient else []
    lines += [f"report: {one_line(text)}" for text in ecg.reports]
    return lines + [f"note: {one_line(text)}" for text in ecg.notes]


def one_line(text: str) -> str:
    return " ".join(str(text).split())


def read_csv(path: Path, *, units: str | None = None, rate: float | None = None, leads=None) -> ECG:
    """Columns are leads, named in the header row, "I" or "I (uV)"; a column time (s) or time_ms gives the rate."""
    text = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    notes = [line.lstrip("# ") for line in text if line.startswith("#")]
    said = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in notes)}
    lines = [line for line in text if line.strip() and not line.startswith("#")]
    between = next((c for c in ";\t" if lines and c in lines[0]), ",")
    rows = [(line if between == "," else line.replace(",", ".")).split(between) for line in lines]  # "0,5;0,6" in much of Europe
    if len(rows) < 2:
        raise ValueError(f"{path}: expected a row of lead names and rows of numbers")
    names = [cell.strip().strip('"') for cell in rows[0]]
    headed = not all(is_number(cell) for cell in names)
    if not headed:
        if leads is None:
            raise ValueError(f"{path}: {len(names)} columns without names: pass leads=(…) in the order of the columns")
        names = list(leads)
    else:
        rows = rows[1:]
    if any(len(row) != len(names) for row in rows):
        bad = next(k for k, row in enumerate(rows) if len(row) != len(names))
        raise ValueError(f"{path}: row {bad + 1} has {len(rows[bad])} columns, {len(names)} are named")
    try:
        values = np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows]).T
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    time = next((k for k, n in enumerate(names) if re.match(r"time|t$|t[ _(]", n.lower())), None)
    if time is not None:
        if rate is None and "rate" not in said:
            rate = rate_of(values[time] * (1e-3 if "ms" in names[time].lower() else 1.0), str(path))
        values, names = np.delete(values, time, 0), names[:time] + names[time + 1 :]
    rate = said_rate(said.get("rate"), path) if rate is None else rate
    if rate is None:
        raise ValueError(f"{path}: no sampling rate: add a time column or a line '# rate: 500', or pass rate= in Hz")
    each = [re.search(r"[\[(_ ](mv|uv|µv|μv|v)[\])]?$", n.lower()) for n in names]
    plain = [n[: m.start()] if m else n for n, m in zip(names, each, strict=True)]
    if leads is not None and headed:
        if len(leads) != len(plain):
            raise ValueError(f"{path}: leads names {len(leads)} columns, the file has {len(plain)} besides time")
        plain = list(leads)
    found, kept, left = standard_leads(plain, str(path))
    given = units or said.get("units") or "mV"
    scale = [factor(each[k].group(1) if each[k] and units is None else given, str(path)) for k in kept]
    signal = values[kept] * np.array(scale)[:, None]
    if units is None:
        refuse_microvolts(signal, str(path))
    known = describe(notes)
    return ECG(signal, rate, found, name=path.stem, **known | {"notes": left + known["notes"]})


def rate_of(time: np.ndarray, where: str) -> float:
    """Hz of a time column in s, from its whole length: steps of rounded times say little about the rate."""
    advice = "pass rate= in Hz, or cut the file there"
    if len(time) < 2 or not np.isfinite(time).all() or not time[-1] > time[0]:
        raise ValueError(f"{where}: the time column does not rise: pass rate= in Hz")
    length = time[-1] - time[0]
    rate = (len(time) - 1) / length
    if rate <= 2:
        raise ValueError(f"{where}: times are {1 / rate:g} s apart: call the column time_ms if they are ms, or pass rate= in Hz")
    off = np.abs(time - np.linspace(time[0], time[-1], len(time)))
    if off.max() * rate > 1:
        steps = np.abs(np.diff(time) * rate - 1)
        raise ValueError(f"{where}: the time column is not even, most of all near {time[steps.argmax()]:.3f} s: {advice}")
    slack = rate * 2 * off.max() / length + 1e-6  # how well rounded times can tell the rate
    return next((near for near in (round(rate, 0), round(rate, 1)) if abs(near - rate) <= slack), rate)


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def said_rate(text: str | None, path: Path) -> float | None:
    if text is None:
        return None
    try:
        return float(text.lower().removesuffix("hz"))
    except ValueError:
        raise ValueError(f"{path}: rate {text!r}: expected a number of Hz") from None


def refuse_microvolts(signal: np.ndarray, where: str) -> None:
    """No heart makes |x| > 20 mV off its median; an artefact does, but not for 5 % of the samples of a lead."""
    for row in signal:
        row = row[np.isfinite(row)]
        off = np.abs(row - np.median(row)) if len(row) else np.zeros(1)
        if np.percentile(off, 95) <= 20:
            continue
        raise ValueError(f"{where}: values up to {off.max():.0f} mV: looks like microvolts: pass units='uV'")


def read_npz(path: Path, *, units: str | None = None, rate: float | None = None, leads=None) -> ECG:
    """Arrays signal (leads, samples), rate, leads, and optionally units and comments."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {k: file[k] for k in file.files}
    except Exception as error:  # zipfile, numpy and the operating system raise their own kinds
        raise ValueError(f"{path}: not a readable NPZ file ({error})") from None
    absent = [k for k, given in (("signal", None), ("rate", rate), ("leads", leads)) if k not in arrays and given is None]
    if absent:
        raise ValueError(f"{path}: lacks {', '.join(absent)}: expected signal (leads, samples), rate (Hz) and leads")
    names = [str(n) for n in np.atleast_1d(arrays["leads"] if leads is None else np.array(leads))]
    signal = arrays["signal"]
    if signal.dtype.kind not in "iuf":
        raise ValueError(f"{path}: signal holds {signal.dtype}: expected real numbers")
    given_rate = np.asarray(arrays["rate"] if rate is None else rate)
    if given_rate.size != 1 or given_rate.dtype.kind not in "iuf":
        raise ValueError(f"{path}: rate {given_rate}: expected one number of Hz")
    if signal.ndim != 2 or len(signal) != len(names):
        raise ValueError(f"{path}: signal of shape {signal.shape} with {len(names)} leads: expected (leads, samples)")
    given = units or (str(arrays["units"]) if "units" in arrays else "mV")
    found, kept, left = standard_leads(names, str(path))
    signal = signal[kept].astype(np.float64) * factor(given, str(path))
    if units is None:
        refuse_microvolts(signal, str(path))
    said = describe(str(c) for c in np.atleast_1d(arrays.get("comments", np.array([], str))))
    return ECG(signal, float(given_rate.item()), found, name=path.stem, **said | {"notes": left + said["notes"]})


def write(ecg: ECG, path: Path, format: str | None = None) -> Path:
    """Write an ECG; see `ECG.write`. Returns the path of the file (for WFDB of the header)."""
    if not ecg.signal.size:
        raise ValueError("the ECG has no samples to write")
    kind = format or FORMATS.get(path.suffix.lower())
    writers = {"wfdb": write_wfdb, "csv": write_csv, "npz": write_npz}
    if kind not in writers:
        raise ValueError(f"format {kind or path.suffix!r}: expected wfdb, csv or npz")
    ending = {"wfdb": ".hea", "csv": ".csv", "npz": ".npz"}[kind]
    final = path if path.suffix.lower() == ending else path.with_name(path.name.removesuffix(".dat") + ending)
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ecg-", dir=final.parent) as part:
        made = writers[kind](ecg, Path(part) / final.name)
        for file in made:
            os.replace(file, final.parent / file.name)
    return final


def write_wfdb(ecg: ECG, path: Path) -> list[Path]:
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


def write_csv(ecg: ECG, path: Path) -> list[Path]:
    lines = [f"# {line}" for line in ("units: mV", f"rate: {ecg.rate!r}", *comments(ecg))]
    lines.append(",".join(ecg.leads))
    lines += [",".join(f"{v:.5f}" for v in row) for row in ecg.signal.T]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [path]


def write_npz(ecg: ECG, path: Path) -> list[Path]:
    with path.open("wb") as file:
        np.savez(
            file, signal=ecg.signal, rate=ecg.rate, leads=np.array(ecg.leads), units="mV", comments=np.array(comments(ecg), str)
        )
    return [path]
