"""The ECG: a signal in millivolts that knows its rate, its leads and whose it is."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import firwin, resample_poly

from . import rhythm
from .leads import LEADS, canonical, complete

if TYPE_CHECKING:
    from pandas import DataFrame

    from .intervals import Measurements


@dataclass(frozen=True, eq=False)
class ECG:
    """signal: (leads, samples) float32 in mV. rate: Hz. leads: one name for each row, in any spelling.

    sex: "female" | "male" | None; age in years or None; reports: the statements that came with it. synthetic: made by a
    model or a simulator. notes: what was repaired or left out on the way here. Raises ValueError where shapes or names
    do not fit. Missing samples may be NaN; `ecgtwin.ecg.quality.prepare` refuses them before a model sees them.
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
        signal = np.array(self.signal, np.float32)
        leads = tuple(canonical(name) for name in self.leads)
        if signal.ndim != 2 or len(signal) != len(leads):
            raise ValueError(f"signal of shape {signal.shape} with {len(leads)} leads: expected (leads, samples)")
        if len(set(leads)) != len(leads):
            raise ValueError(f"leads {', '.join(leads)}: each may occur once")
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"rate {self.rate}: expected a positive number of Hz")
        if self.sex not in ("female", "male", None):
            raise ValueError(f"sex {self.sex!r}: expected 'female', 'male' or None")
        if self.age is not None and not (np.isfinite(self.age) and self.age >= 0):
            raise ValueError(f"age {self.age}: expected years, or None where it is not known")
        signal.flags.writeable = False
        for key, value in (("signal", signal), ("leads", leads), ("rate", float(self.rate))):
            object.__setattr__(self, key, value)
        for key in ("reports", "notes"):
            value = getattr(self, key)
            object.__setattr__(self, key, (value,) if isinstance(value, str) else tuple(value))

    @classmethod
    def read(cls, path: str | Path, *, units: str | None = None, rate: float | None = None, leads=None) -> "ECG":
        """Read WFDB (.hea, or the record's name), CSV or NPZ. units, rate and leads are for files that do not say them."""
        from .files import Given, read

        return read(Path(path), Given(units, rate, None if leads is None else tuple(leads)))

    def write(self, path: str | Path, *, format: str | None = None) -> Path:
        """Write "wfdb", "csv" or "npz" (by the ending where format is None); the file is there whole or not at all."""
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
        first, n = round(start * self.rate), round(seconds * self.rate)
        if first < 0 or first + n > self.signal.shape[1] + 1:
            raise ValueError(f"{seconds:g} s from {start:g} s were asked of a recording of {self.seconds:.2f} s")
        return replace(self, signal=self.signal[:, first : first + n])

    def resample(self, rate: float) -> "ECG":
        """At another rate (Hz), free of aliases: a windowed-sinc low pass in polyphase form, the ends mirrored oddly.

        The first sample keeps its time. A sine below 0.4 of the lower rate keeps its amplitude within 1 %.
        """
        if not (np.isfinite(rate) and rate > 0):
            raise ValueError(f"rate {rate}: expected a positive number of Hz")
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

    def plot(self, path: str | Path, **options) -> Path:
        """Draw on 25 mm/s, 10 mm/mV paper; see `ecgtwin.ecg.plot.plot`."""
        from .plot import plot

        return plot(self, path, **options)


@lru_cache(16)
def low_pass(slowest: int) -> np.ndarray:
    """The kernel for a ratio whose larger side this is: designed once, for thousands of records."""
    return firwin(2 * 24 * slowest + 1, 0.92 / slowest, window=("kaiser", 8.0))


def resample(x: np.ndarray, up: int, down: int) -> np.ndarray:
    """(leads, samples) at up/down times its rate; both ends are continued by point reflection, which keeps level and slope."""
    slowest = max(up, down)
    kernel = low_pass(slowest)
    # As many samples of padding as the filter reaches, rounded up so that they become a whole number of output samples.
    pad = down * (1 + 24 * slowest // (up * down))
    padded = np.pad(x.astype(np.float64), ((0, 0), (pad, pad)), mode="reflect", reflect_type="odd")
    n, first = -(-x.shape[1] * up // down), pad * up // down
    return resample_poly(padded, up, down, axis=1, window=kernel)[:, first : first + n].astype(np.float32)
