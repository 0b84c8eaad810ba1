"""Reading and writing ECGs: WFDB, CSV and NPZ. Units are millivolts inside; files say theirs."""

import difflib
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import wfdb

from .leads import LEADS, canonical
from .record import ECG

UNITS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "millivolt": 1.0, "microvolt": 1e-3, "volt": 1e3}
NOTICE = "synthetic: counterfactual ECG made by ecgtwin; research use only, not for clinical diagnosis"
FORMATS = {".hea": "wfdb", ".dat": "wfdb", ".mat": "wfdb", "": "wfdb", ".csv": "csv", ".npz": "npz"}


def read(path: Path, *, units: str | None = None, rate: float | None = None, leads=None) -> ECG:
    """Read a file by its ending; see `ECG.read`."""
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
    if found.p_signal is None or found.p_signal.size == 0:
        raise ValueError(f"{record}: the record holds no samples")
    names, kept, notes = standard_leads(found.sig_name or [], str(record))
    scale = [factor(units or (found.units[k] if found.units else "mV"), f"{record}, lead {found.sig_name[k]}") for k in kept]
    signal = found.p_signal[:, kept].T * np.array(scale)[:, None]
    return ECG(signal, found.fs, names, name=record.name, notes=notes, **describe(found.comments or []))


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
            others.append(name)
            continue
        if lead in found:
            raise ValueError(f"{where}: lead {lead} occurs twice")
        found.append(lead)
        kept.append(k)
    if not found:
        raise ValueError(f"{where}: channels {', '.join(others) or 'without names'}: none is one of {', '.join(LEADS)}")
    return tuple(found), kept, (f"channels left out: {', '.join(others)}",) if others else ()


def describe(comments: Iterable[str]) -> dict[str, Any]:
    """Age, sex, reports and whether it is synthetic, from header comments (ours, the Challenge's, PTBDB's)."""
    found: dict[str, Any] = {"reports": ()}
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
    return lines + [f"report: {one_line(text)}" for text in ecg.reports]


def one_line(text: str) -> str:
    return " ".join(str(text).split())


def read_csv(path: Path, *, units: str | None = None, rate: float | None = None, leads=None) -> ECG:
    """Columns are leads, named in the header row, "I" or "I (uV)"; a column time (s) or time_ms gives the rate."""
    text = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    notes = [line.lstrip("# ") for line in text if line.startswith("#")]
    said = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in notes)}
    rows = [re.split(r"[,;\t]", line) for line in text if line.strip() and not line.startswith("#")]
    if len(rows) < 2:
        raise ValueError(f"{path}: expected a row of lead names and rows of numbers")
    names = [cell.strip().strip('"') for cell in rows[0]]
    if all(is_number(cell) for cell in names):
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
        step = np.median(np.diff(values[time])) if values.shape[1] > 1 else np.nan
        step *= 1e-3 if "ms" in names[time].lower() else 1.0
        if rate is None and "rate" not in said:
            if not step > 0:
                raise ValueError(f"{path}: the time column does not rise: pass rate= in Hz")
            rate = 1 / step if abs(1 / step - round(1 / step)) > 0.05 else float(round(1 / step))
        values, names = np.delete(values, time, 0), names[:time] + names[time + 1 :]
    rate = said_rate(said.get("rate"), path) if rate is None else rate
    if rate is None:
        raise ValueError(f"{path}: no sampling rate: add a time column or a line '# rate: 500', or pass rate= in Hz")
    each = [re.search(r"[\[(_ ](mv|uv|µv|μv|v)[\])]?$", n.lower()) for n in names]
    plain = [n[: m.start()] if m else n for n, m in zip(names, each, strict=True)]
    found, kept, left = standard_leads(plain, str(path))
    given = units or said.get("units") or "mV"
    scale = [factor(each[k].group(1) if each[k] and units is None else given, str(path)) for k in kept]
    signal = values[kept] * np.array(scale)[:, None]
    refuse_microvolts(signal, str(path))
    return ECG(signal, rate, found, name=path.stem, notes=left, **describe(notes))


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
    """|x| > 20 mV off its median does not come from a heart: the numbers are probably microvolts."""
    with np.errstate(all="ignore"):
        offset = np.nanmedian(signal, axis=1, keepdims=True) if np.isfinite(signal).any() else 0.0
        largest = np.nanmax(np.abs(signal - offset), initial=0.0)
    if largest > 20:
        raise ValueError(f"{where}: values up to {largest:.0f} mV: looks like microvolts: pass units='uV'")


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
    names = [str(n) for n in (arrays["leads"] if leads is None else leads)]
    signal = np.asarray(arrays["signal"], np.float64)
    if signal.ndim != 2 or len(signal) != len(names):
        raise ValueError(f"{path}: signal of shape {signal.shape} with {len(names)} leads: expected (leads, samples)")
    given = units or (str(arrays["units"]) if "units" in arrays else "mV")
    found, kept, left = standard_leads(names, str(path))
    signal = signal[kept] * factor(given, str(path))
    refuse_microvolts(signal, str(path))
    said = describe(str(c) for c in np.atleast_1d(arrays.get("comments", np.array([], str))))
    return ECG(signal, float(arrays["rate"] if rate is None else rate), found, name=path.stem, notes=left, **said)


def write(ecg: ECG, path: Path, format: str | None = None) -> Path:
    """Write an ECG; see `ECG.write`. Returns the path of the file (for WFDB of the header)."""
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
    lines = [f"# {line}" for line in ("units: mV", f"rate: {ecg.rate:.10g}", *comments(ecg))]
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
