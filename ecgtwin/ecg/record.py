"""The ECG: a signal in millivolts that knows its rate, its leads and whose it is."""

import html
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from numbers import Real
from pathlib import Path
from reprlib import repr as brief
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import firwin, resample_poly

from . import rhythm
from .leads import LEADS, canonical, complete

if TYPE_CHECKING:
    from pandas import DataFrame

    from .intervals import Measurements

FASTEST = 1e6
"""Hz: no recorder is faster; a larger rate is a slip that would overflow further on."""


@dataclass(frozen=True, eq=False)
class ECG:
    """signal: (leads, samples) float32 in mV; (samples, leads) is turned. rate: Hz. leads: one name each, in any
    spelling.

    sex: "female" | "male" | None; age in years or None; reports: the statements that came with it. synthetic: made by a
    model or a simulator. notes: plain lines on what was assumed, repaired or left out on the way here. Raises
    ValueError where shapes or names do not fit, TypeError where something is of another kind. Missing samples may be
    NaN; `ecgtwin.ecg.quality.prepare` refuses them before a model sees them.
    """

    signal: np.ndarray
    rate: float
    leads: tuple[str, ...]
    patient: str | None = None
    sex: str | None = None
    age: float | None = None
    reports: tuple[str, ...] = ()
    name: str = ""
    synthetic: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        signal = numbers(self.signal)
        if isinstance(self.leads, str) or not isinstance(self.leads, Iterable):
            raise TypeError(f"leads {brief(self.leads)}: expected a name for each row, such as ('I', 'II', 'V1')")
        leads = tuple(canonical(name) for name in self.leads)
        if signal.ndim == 2 and len(signal) != len(leads) and signal.shape[1] == len(leads):
            signal = np.ascontiguousarray(signal.T)
        if signal.ndim != 2 or len(signal) != len(leads):
            raise ValueError(f"signal of shape {signal.shape} with {len(leads)} leads: expected (leads, samples)")
        if len(set(leads)) != len(leads):
            raise ValueError(f"leads {', '.join(leads)}: each may occur once")
        refuse_rate(self.rate)
        if self.sex not in ("female", "male", None):
            raise ValueError(f"sex {brief(self.sex)}: expected 'female', 'male' or None")
        if self.age is not None and not isinstance(self.age, Real):
            raise TypeError(f"age {brief(self.age)}: expected a number of years, or None where it is not known")
        if self.age is not None and not (np.isfinite(self.age) and self.age >= 0):
            raise ValueError(f"age {self.age}: expected years, or None where it is not known")
        if self.patient is not None:
            object.__setattr__(self, "patient", str(self.patient))
        signal.flags.writeable = False
        for key, value in (("signal", signal), ("leads", leads), ("rate", float(self.rate))):
            object.__setattr__(self, key, value)
        for key in ("reports", "notes"):
            value = getattr(self, key)
            value = (value,) if isinstance(value, str) else tuple(value or ())
            if not all(isinstance(line, str) for line in value):
                raise TypeError(f"{key} {brief(value)}: expected texts")
            object.__setattr__(self, key, value)

    def __repr__(self) -> str:
        whose = [self.sex] if self.sex else []
        whose += [f"{self.age:.0f} years"] if self.age is not None else []
        whose += [brief("; ".join(self.reports))] if self.reports else []
        whose += ["synthetic"] if self.synthetic else []
        what = f"{len(self.leads)} leads, {self.seconds:.4g} s at {self.rate:g} Hz"
        return f"<ECG {', '.join([*([one_line(self.name)] if self.name else []), what, *whose])}>"

    def _repr_png_(self) -> bytes | None:
        """The sheet, for notebooks; None where there are too few leads for one."""
        from .plot import png

        try:
            return png(self)
        except ValueError:
            return None

    def _repr_html_(self) -> str:
        """The sheet with a line of text above it, for notebooks."""
        picture = self._repr_png_()
        line = html.escape(repr(self).strip("<>"))
        if picture is None:
            return f"<p>{line}</p>"
        source = f"data:image/png;base64,{b64encode(picture).decode()}"
        return f'<p>{line}</p><img alt="{line}" style="max-width: 100%" src="{source}">'

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        units: str | None = None,
        rate: float | None = None,
        leads: Sequence[str] | None = None,
        gain: float | None = None,
        identify: bool = False,
    ) -> "ECG":
        """Read WFDB (.hea, or the record's name), CSV, NPZ, or what an ECG machine exports: DICOM, GE MUSE XML,
        Philips Sierra XML, HL7 aECG, SCP-ECG, EDF, ISHNE (extra `formats`).

        units ("mV", "uV", "V"), rate (Hz), leads (a name for each column) and gain (steps of the converter
        per mV, for a table of its bare counts) are for files that do not say them, or say them wrongly.
        What was assumed is in `notes`. identify: take the patient's ID over from a machine's export.
        """
        from .files import Given, read

        if not isinstance(path, (str, Path)):
            raise TypeError(wrong_source(path))
        names = leads if leads is None or isinstance(leads, str) else tuple(leads)
        return read(Path(path), Given(units, rate, names, gain, identify))

    def write(self, path: str | Path, *, format: str | None = None) -> Path:
        """Write "wfdb", "csv", "npz" or "dicom" (by the ending where format is None); the file is
        there whole or not at all."""
        from .files import write

        return write(self, Path(path), format)

    @property
    def seconds(self) -> float:
        return self.signal.shape[1] / self.rate

    def select(self, leads) -> "ECG":
        """These leads in this order; limb leads are derived where two others are there."""
        wanted = tuple(canonical(name) for name in leads)
        return replace(self, signal=complete(dict(zip(self.leads, self.signal, strict=True)), wanted), leads=wanted)

    def twelve(self) -> "ECG":
        """The 12 standard leads in their standard order."""
        return self.select(LEADS)

    def crop(self, start: float, seconds: float) -> "ECG":
        """`seconds` from `start` (s); ValueError where the recording is shorter."""
        if not (np.isfinite(start) and np.isfinite(seconds) and seconds > 0):
            raise ValueError(f"{seconds:g} s from {start:g} s: expected a positive number of seconds")
        inside = (
            -1 <= start <= self.seconds and seconds <= self.seconds + 1
        )  # before products of large numbers overflow
        first, n = (round(start * self.rate), round(seconds * self.rate)) if inside else (-1, 0)
        if first < 0 or first + n > self.signal.shape[1] + 1:
            raise ValueError(f"{seconds:g} s from {start:g} s were asked of a recording of {self.seconds:.2f} s")
        return replace(self, signal=self.signal[:, first : first + n])

    def resample(self, rate: float) -> "ECG":
        """At another rate (Hz), free of aliases: a windowed-sinc low pass in polyphase form, the ends mirrored oddly.

        The first sample keeps its time. A sine below 0.4 of the lower rate keeps its amplitude within 1 %.
        """
        refuse_rate(rate)
        if not self.signal.shape[1]:
            raise ValueError("the ECG has no samples to resample")
        ratio = Fraction(rate).limit_denominator(10_000) / Fraction(self.rate).limit_denominator(10_000)
        up, down = ratio.limit_denominator(2_000).as_integer_ratio()
        if up == down:
            return replace(self, rate=float(rate))
        return replace(self, signal=resample(self.signal, up, down), rate=float(rate))

    def heart_rate(self) -> float | None:
        """Beats/min measured from all leads, None where fewer than three beats can be seen."""
        return rhythm.heart_rate(self.signal, self.rate)

    def measured(self) -> "Measurements":
        """Rate, rhythm, intervals, axes and amplitudes, None where not measurable; see `ecgtwin.ecg.intervals`."""
        from .intervals import measure

        return measure(self.signal, self.rate, self.leads)

    def measure(self) -> "DataFrame":
        """`measured` as a pandas table with the columns quantity, lead, value and unit."""
        return self.measured().table()

    def plot(
        self,
        path: str | Path | None = None,
        *,
        reference: "ECG | None" = None,
        layout: str = "overlay",
        title: str | None = None,
        ax: Any = None,
        fig: Any = None,
    ) -> Any:
        """Draw on 25 mm/s paper: to a file (its path is returned), into axes or a figure, or as a new figure.

        See `ecgtwin.ecg.plot.plot`.
        """
        from .plot import plot

        return plot(self, path, reference=reference, layout=layout, title=title, ax=ax, fig=fig)

    @classmethod
    def from_dataframe(
        cls,
        table: Any,
        *,
        units: str | None = None,
        rate: float | None = None,
        leads: Sequence[str] | None = None,
        gain: float | None = None,
    ) -> "ECG":
        """A pandas DataFrame with a column for each lead ("I" or "I (uV)"); other columns are left out and noted.

        rate: Hz; where it is None an index or column `time` (s), `time_ms`, or of time differences tells it. units,
        leads and gain as for `read`. Of a table from `to_dataframe` everything else about the ECG is known again.
        """
        from .files import Given
        from .files.frame import read

        return read(table, Given(units, rate, leads if leads is None or isinstance(leads, str) else tuple(leads), gain))

    def to_dataframe(self) -> Any:
        """A pandas DataFrame: a column in mV for each lead, the time in s as index, everything else in its `attrs`."""
        from .files.frame import write

        return write(self)


def one_line(text: str) -> str:
    return " ".join(text.split())


def numbers(signal: Any) -> np.ndarray:
    """A copy as float32; TypeError with what to do instead where it is no array of real numbers."""
    if isinstance(signal, (str, bytes, Path, ECG)) or hasattr(signal, "columns"):
        raise TypeError(wrong_source(signal))
    try:
        array = np.asarray(signal)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"array of {array.dtype}")
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"signal {brief(signal)}: expected an array (leads, samples) of numbers in mV ({error})"
        ) from None
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def wrong_source(given: Any) -> str:
    """What to do with something that is not what was expected."""
    kind = type(given).__name__
    if isinstance(given, ECG):
        return "that is an ECG already: use it as it is"
    if isinstance(given, (str, bytes, Path)):
        return f"{kind} {brief(str(given))}: to read a file, use ECG.read(path)"
    if hasattr(given, "columns"):
        return f"a {kind} is no file and no array: use ECG.from_dataframe(table, rate=…)"
    if hasattr(given, "shape") or isinstance(given, (list, tuple)):
        return f"a {kind} is no file: use ECG(array, rate, leads), with the rate in Hz and a name for each lead"
    return f"{kind} {brief(given)}: expected the path of a file"


def refuse_rate(rate: Any) -> None:
    if not isinstance(rate, Real) or isinstance(rate, bool):
        raise TypeError(f"rate {brief(rate)}: expected a positive number of Hz")
    if not 0 < rate <= FASTEST:
        raise ValueError(f"rate {rate}: expected a positive number of Hz, at most {FASTEST:,.0f}")


@lru_cache(16)
def low_pass(slowest: int) -> np.ndarray:
    """The kernel for a ratio whose larger side this is: designed once, for thousands of records."""
    return firwin(2 * 24 * slowest + 1, 0.92 / slowest, window=("kaiser", 8.0))


def resample(x: np.ndarray, up: int, down: int) -> np.ndarray:
    """(leads, samples) at up/down times its rate; both ends are continued by point reflection,
    which keeps level and slope."""
    slowest = max(up, down)
    kernel = low_pass(slowest)
    # As many samples of padding as the filter reaches, rounded up so that they become a whole number of output samples.
    pad = down * (1 + 24 * slowest // (up * down))
    padded = np.pad(x.astype(np.float64), ((0, 0), (pad, pad)), mode="reflect", reflect_type="odd")
    n, first = -(-x.shape[1] * up // down), pad * up // down
    return resample_poly(padded, up, down, axis=1, window=kernel)[:, first : first + n].astype(np.float32)
