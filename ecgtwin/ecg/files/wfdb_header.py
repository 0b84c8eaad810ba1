"""WFDB header files: what is recorded, how, when, and what the comments say; and the samples of the plain 16-bit
format.

What a data set's index needs, at some hundred records in the time that a general reader takes for one;
https://physionet.org/physiotools/wag/header-5.htm has the whole format.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

SIGNAL = re.compile(
    r"^(?P<file>\S+)\s+(?P<format>\d+)(?:x(?P<frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?"
    r"(?:\s+(?P<gain>[-+\d.eE]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?"
    r"(?:\s+(?P<bits>\d+)(?:\s+(?P<zero>-?\d+)(?:\s+(?P<first>-?\d+)(?:\s+(?P<checksum>-?\d+)"
    r"(?:\s+(?P<block>\d+)(?:\s+(?P<lead>.+))?)?)?)?)?)?)?\s*$"
)
RECORD = re.compile(
    r"^(?P<name>[^\s/]+)(?P<segments>/\d+)?\s+(?P<signals>\d+)(?:\s+(?P<rate>[\d.eE+]+)(?:/\S+)?"
    r"(?:\s+(?P<samples>\d+)(?:\s+(?P<time>\d[\d:.]*)(?:\s+(?P<date>\d+/\d+/\d+))?)?)?)?\s*$"
)


@dataclass(frozen=True)
class Channel:
    """One signal line of a header."""

    file: str
    format: str
    plain: bool
    offset: int
    frame: int
    gain: float
    baseline: int
    unit: str
    checksum: int | None
    lead: str


@dataclass(frozen=True)
class Header:
    """What a .hea file says. samples: per channel, 0 where it does not say. time: None where it does not say."""

    name: str
    rate: float
    samples: int
    channels: tuple[Channel, ...]
    comments: tuple[str, ...]
    time: datetime | None
    segmented: bool

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


def read_header(path: str | Path) -> Header:
    """Parse a header file. ValueError says which line cannot be understood."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileNotFoundError(f"no header {path}: {error.strerror}") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line.strip() for line in text.splitlines()]
    comments = tuple(line.lstrip("# ").rstrip() for line in lines if line.startswith("#"))
    lines = [line for line in lines if line and not line.startswith("#")]
    first = RECORD.match(lines[0]) if lines else None
    if first is None:
        raise ValueError(f"{path}: the first line is not that of a WFDB header ('name signals rate samples')")
    try:
        rate, samples = float(first["rate"] or 250), int(first["samples"] or 0)
        if not 0 < rate < 1e6 or samples > 2**40:
            raise ValueError(f"rate {rate:g} Hz, {float(samples):g} samples")
        channels = () if first["segments"] else tuple(map(_channel, lines[1 : 1 + int(first["signals"])]))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: not a WFDB header: {error}") from None
    if not first["segments"] and len(channels) != int(first["signals"]):
        raise ValueError(f"{path}: {first['signals']} signals are announced, {len(channels)} described")
    return Header(
        first["name"], rate, samples, channels, comments, _time(first["time"], first["date"]), bool(first["segments"])
    )


def read_plain(record: Path, header: Header) -> tuple[np.ndarray, np.ndarray] | None:
    """The signals of a record in format 16, which all large collections use; None where it has another or is segmented.

    record: its path without ending. Returns the signals (channels, samples) float64 in the header's units, missing
    samples as NaN, and for each channel whether its samples add up to the header's checksum (bool). FileNotFoundError
    or ValueError where a signal file is missing or shorter than the header says.
    """
    channels = header.channels
    if not channels or not all(c.plain for c in channels):
        return None
    places: dict[tuple[str, int], list[int]] = {}
    for k, channel in enumerate(channels):
        places.setdefault((channel.file, channel.offset), []).append(k)
    read = {}
    for (name, offset), inside in places.items():
        data = record.parent / name
        if not data.is_file():
            raise FileNotFoundError(f"no signal file {data}: copy it beside its header")
        size = data.stat().st_size
        samples = header.samples or (size - offset) // (2 * len(inside))
        wanted = samples * len(inside)
        if samples <= 0 or size < offset + 2 * wanted:
            raise ValueError(
                f"{record}: {name} is truncated: {size} bytes, {offset + 2 * wanted} bytes expected; "
                "copy the file again"
            )
        read[name, offset] = np.fromfile(data, "<i2", wanted, offset=offset).reshape(samples, len(inside)).T
    if len({block.shape[1] for block in read.values()}) > 1:
        raise ValueError(f"{record}: signal files of different lengths: copy the files again")
    digital = np.empty((len(channels), samples), np.int16)
    for place, inside in places.items():
        digital[inside] = read[place]
    signals = (digital - np.array([[float(c.baseline)] for c in channels])) / np.array([[c.gain] for c in channels])
    signals[digital == -32768] = np.nan
    sums = digital.sum(1, dtype=np.int64)
    sound = [
        c.checksum is None or (int(total) - c.checksum) % 65536 == 0 for c, total in zip(channels, sums, strict=True)
    ]
    return signals, np.array(sound)


def _channel(line: str) -> Channel:
    found = SIGNAL.match(line)
    if found is None:
        raise ValueError(f"signal line {line[:60]!r}")
    gain = float(found["gain"] or 0) or 200.0
    baseline = int(found["baseline"] if found["baseline"] is not None else found["zero"] or 0)
    return Channel(
        found["file"],
        found["format"],
        found["format"] == "16" and found["frame"] in (None, "1") and found["skew"] in (None, "0"),
        int(found["offset"] or 0),
        int(found["frame"] or 1),
        gain,
        baseline,
        found["unit"] or "mV",
        int(found["checksum"]) if found["checksum"] is not None else None,
        (found["lead"] or "").strip(),
    )


def _time(clock: str | None, date: str | None) -> datetime | None:
    if not date:
        return None
    try:
        return datetime.strptime(f"{date} {(clock or '0:0:0').split('.')[0]}", "%d/%m/%Y %H:%M:%S")
    except ValueError:
        return None
