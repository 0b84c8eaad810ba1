"""Files of ECGs: which module reads and writes which. Units are millivolts inside; files say theirs.

A new format is a module with `read(path, given) -> ECG` (and `write(ecg, folder, name)`, where we
write it) and a line in FORMATS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...atomic import write_files
from ..record import ECG
from . import csv, dicom, exported, npz, wfdb
from .channels import Given, missing

HEAD = 4096
"""Bytes from the beginning of a file that formats of one ending are told apart by."""


@dataclass(frozen=True)
class Format:
    """One kind of file.

    endings: in small letters; the first is that of the file to name when writing. read: (path, what the caller says of
    it) -> ECG. write: (ECG, folder, name without ending) makes the files there. sniff: whether a file that begins with
    these bytes is of this kind; asked where several formats share an ending, and of files whose ending nobody knows.
    """

    name: str
    endings: tuple[str, ...]
    read: Callable[[Path, Given], ECG]
    write: Callable[[ECG, Path, str], None] | None = None
    sniff: Callable[[bytes], bool] | None = None


FORMATS = (
    Format("wfdb", (".hea", ".dat", ".mat", ""), wfdb.read, wfdb.write),
    Format("csv", (".csv",), csv.read, csv.write),
    Format("npz", (".npz",), npz.read, npz.write),
    *(
        Format(kind.name, kind.endings, exported.read, dicom.write if kind.name == "dicom" else None, kind.begins)
        for kind in exported.KINDS
    ),
)
OTHERS = (
    "other kinds (PDF, scans, makers' own databases): export them as DICOM, SCP-ECG, HL7 aECG or MUSE "
    "XML from the archive"
)


def read(path: Path, given: Given) -> ECG:
    """Read a file of any known format; see `ECG.read`."""
    if path.is_dir() and not (path.name and path.with_name(f"{path.name}.hea").is_file()):
        raise ValueError(f"{path} is a folder: give one record in it")
    kind = format_of(path)
    if kind.name != "wfdb" and not path.is_file():
        raise FileNotFoundError(missing(path))
    return kind.read(path, given)


def format_of(path: Path) -> Format:
    """The format of a file: by its ending, and by how it begins where that is not enough.
    ValueError where none fits."""
    ending = path.suffix.lower()
    fitting = [kind for kind in FORMATS if ending in kind.endings]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting and path.with_name(path.name + ".hea").is_file():  # a record's name may have a dot in it
        return next(kind for kind in FORMATS if kind.name == "wfdb")
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(HEAD)
        for kind in fitting or FORMATS:
            if kind.sniff is not None and kind.sniff(head):
                return kind
    known = ", ".join(f"{kind.name} ({kind.endings[0]})" for kind in FORMATS)
    raise ValueError(f"{path.name}: expected {known}; arrays without names are refused; {OTHERS}")


def write(ecg: ECG, path: Path, format: str | None = None) -> Path:
    """Write an ECG; see `ECG.write`. Returns the path of the file (for WFDB of the header)."""
    if not ecg.signal.size:
        raise ValueError("the ECG has no samples to write")
    writers = {kind.name: kind for kind in FORMATS if kind.write is not None}
    kind = format or next((kind.name for kind in writers.values() if path.suffix.lower() in kind.endings), None)
    if kind not in writers:
        raise ValueError(f"format {kind or path.suffix!r}: expected {', '.join(writers)}")
    ending = writers[kind].endings[0]
    final = path if path.suffix.lower() == ending else path.with_name(path.name.removesuffix(".dat") + ending)
    write_files(final.parent, lambda folder: writers[kind].write(ecg, folder, final.stem))
    return final
