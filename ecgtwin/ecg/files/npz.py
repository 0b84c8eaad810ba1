"""NumPy archives: a signal with its rate and the names of its leads."""

from pathlib import Path

import numpy as np

from ..record import ECG
from .channels import Given, factor, refuse_microvolts, standard_leads
from .fields import comments, describe


def read(path: Path, given: Given) -> ECG:
    """Arrays signal (leads, samples), rate, leads, and optionally units and comments."""
    units, rate, leads = given.units, given.rate, given.leads
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {k: file[k] for k in file.files}
    except Exception as error:  # zipfile, numpy and the operating system raise their own kinds
        raise ValueError(f"{path}: not a readable NPZ file ({error})") from None
    absent = [k for k, said in (("signal", None), ("rate", rate), ("leads", leads)) if k not in arrays and said is None]
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
    unit = units or (str(arrays["units"]) if "units" in arrays else "mV")
    found, kept, left = standard_leads(names, str(path))
    signal = signal[kept].astype(np.float64) * factor(unit, str(path))
    if units is None:
        refuse_microvolts(signal, str(path))
    said = describe(str(c) for c in np.atleast_1d(arrays.get("comments", np.array([], str))))
    return ECG(signal, float(given_rate.item()), found, name=path.stem, **said | {"notes": left + said["notes"]})


def write(ecg: ECG, path: Path) -> list[Path]:
    with path.open("wb") as file:
        np.savez(
            file, signal=ecg.signal, rate=ecg.rate, leads=np.array(ecg.leads), units="mV", comments=np.array(comments(ecg), str)
        )
    return [path]
