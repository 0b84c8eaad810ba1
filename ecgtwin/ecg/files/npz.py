"""NumPy archives: a signal with its rate and the names of its leads."""

from pathlib import Path
from reprlib import repr as brief

import numpy as np

from ..record import ECG
from .channels import Given, Unsaid
from .fields import comments, describe
from .table import from_columns


def read(path: Path, given: Given) -> ECG:
    """Arrays signal (leads, samples), rate, leads, and optionally units, gain and comments."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {k: file[k] for k in file.files}
    except Exception as error:  # zipfile, numpy and the operating system raise their own kinds
        raise ValueError(f"{path}: not a readable NPZ file ({str(error)[:200]})") from None
    absent = [
        name
        for name in ("signal", "rate", "leads")
        if name not in arrays and (name == "signal" or not getattr(given, name))
    ]
    if absent:
        ways = [name for name in absent if name != "signal"]
        raise Unsaid(f"{path}: lacks {', '.join(absent)}: expected signal (leads, samples), rate (Hz) and leads", *ways)
    names = list(given.leads) if given.leads else [str(n) for n in np.atleast_1d(arrays["leads"]).ravel()]
    signal = arrays["signal"]
    if signal.dtype.kind not in "iuf":
        raise ValueError(f"{path}: signal holds {signal.dtype}: expected real numbers")
    if signal.ndim != 2 or len(signal) != len(names):
        raise ValueError(f"{path}: signal of shape {signal.shape} with {len(names)} leads: expected (leads, samples)")
    said = {}
    for name in ("rate", "gain"):
        if name in arrays and getattr(given, name) is None:
            if arrays[name].size != 1 or arrays[name].dtype.kind not in "iuf":
                raise Unsaid(f"{path}: {name} {brief(arrays[name].tolist())}: expected one number", name)
            said[name] = repr(float(arrays[name].item()))
    if "units" in arrays:
        said["units"] = str(arrays["units"])
    known = describe(str(c) for c in np.atleast_1d(arrays.get("comments", np.array([], str))).ravel())
    return from_columns(
        names, signal.astype(np.float64), given, str(path), said=said, known=known | {"name": path.stem}
    )


def write(ecg: ECG, folder: Path, name: str) -> None:
    remarks = np.array(comments(ecg), str)
    np.savez(
        folder / f"{name}.npz",
        signal=ecg.signal,
        rate=ecg.rate,
        leads=np.array(ecg.leads),
        units="mV",
        comments=remarks,
    )
