"""Leads that nobody recorded, as they are expected from those that somebody did: linear, from many people's ECGs.

Two linear models, both fitted on recordings (`scripts/fit_leads.py`): median beats of all leads together are normal
with a few directions, so that the unknown leads' beats have a mean given the known ones'; what is left of a recording
without its median beats (wander, noise, how beats differ) is filtered from lead to lead (Wiener). The result is a
mean: no person's lead, and nearer to it than any sample is.

Shapes: L samples · G samples of a beat's grid · D directions · K delays to each side.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.interpolate import CubicSpline

from ..atomic import write_file
from .beats import AFTER, BEFORE, FINE, Beats, Heartbeat, lay, take
from .leads import INDEPENDENT

RATE = 102.4
"""Hz of the beats' grid and of the delays."""
GRID = np.arange(-BEFORE, AFTER, 1 / RATE)
"""Seconds around R."""
DIRECTIONS, DELAYS = 100, 10
SPREAD = 0.005
"""Squared mV of a median beat's sample beside the directions."""
RIDGE = 1e-3
"""Share of the mean power of what is left that counts as noise."""
MOST, MOST_LEFT = 3.0, 2.0
"""mV from the mean beat, and of what is left: larger ones count as these, so that no recording decides by itself."""
TABLE = Path(__file__).with_name("expected.safetensors")


@dataclass(frozen=True, eq=False)
class Expected:
    """mean (8, G) and directions (D, 8, G) of median beats in mV, each direction as long as its standard deviation;
    left (8, 8, 2K+1): of what is left, the mean of x_i(t) x_j(t + delay)."""

    mean: np.ndarray
    directions: np.ndarray
    left: np.ndarray

    @staticmethod
    def fit(signals: Iterable[np.ndarray], directions: int = DIRECTIONS, delays: int = DELAYS) -> "Expected":
        """Of recordings (8, L) in mV at `RATE`; those without three beats are passed over."""
        beats, left, seen = [], np.zeros((len(INDEPENDENT), len(INDEPENDENT), 2 * delays + 1)), 0
        for x in signals:
            try:
                times, beat = take(x, RATE)
            except ValueError:
                continue
            beats.append(on_grid(beat.shapes[beat.main], beat.before))
            rest = np.clip(x - lay(beat, times, RATE, x.shape[-1]), -MOST_LEFT, MOST_LEFT)
            left += together(rest, delays)
            seen += x.shape[-1]
        if len(beats) < 2:
            raise ValueError(f"{len(beats)} recordings with three beats: give many")
        mean = np.mean(beats, 0)
        apart = np.clip(np.stack(beats) - mean, -MOST, MOST).reshape(len(beats), -1)
        _, sizes, found = np.linalg.svd(apart / len(apart) ** 0.5, full_matrices=False)
        found = (sizes[:, None] * found)[:directions].reshape(-1, *mean.shape)
        return Expected(mean, found, left / seen)

    @staticmethod
    def load(path: Path = TABLE) -> "Expected":
        return Expected(**{name: x.astype(np.float64) for name, x in load_file(path).items()})

    def save(self, path: Path) -> Path:
        halves = {"mean": self.mean, "directions": self.directions}
        arrays = {name: x.astype(np.float16) for name, x in halves.items()} | {"left": self.left.astype(np.float32)}
        return write_file(path, lambda part: save_file(arrays, part))

    def beat(self, beat: Heartbeat, known: np.ndarray) -> Heartbeat:
        """Median beats of eight leads, with those where `known` (8,) is False as expected given the others."""
        mine, theirs = self.directions[:, known], self.directions[:, ~known]
        mine, theirs = mine.reshape(len(mine), -1), theirs.reshape(len(theirs), -1)
        inside = mine @ mine.T + SPREAD * np.eye(len(mine))
        shapes = {}
        for kind, shape in beat.shapes.items():
            apart = on_grid(shape[known], beat.before) - self.mean[known]
            rest = theirs.T @ np.linalg.solve(inside, mine @ apart.ravel())
            made = self.mean[~known] + rest.reshape(-1, len(GRID))
            shapes[kind] = shape.copy()
            shapes[kind][~known] = off_grid(made, shape.shape[-1], beat.before)
        return replace(beat, shapes=shapes)

    def doubt(self, known: np.ndarray) -> float:
        """0 … 1: the share of all eight leads' variance that is left where the leads `known` (8,) are known."""
        mine, theirs = (self.directions[:, which].reshape(len(self.directions), -1) for which in (known, ~known))
        inside = np.eye(len(mine)) + mine @ mine.T / SPREAD
        return float((theirs * np.linalg.solve(inside, theirs)).sum() / (self.directions**2).sum())

    def filters(self, known: np.ndarray) -> np.ndarray:
        """(unknown leads, known leads, 2K+1): what is left of an unknown lead at t from the known ones at t + delay."""
        mine, size = np.flatnonzero(known), self.left.shape[-1]
        delays = self.left.shape[-1] // 2
        # Delays of two entries differ by up to 2K: what is not in the table counts as nothing.
        wide = np.pad(self.left, ((0, 0), (0, 0), (delays, delays)))
        apart = np.arange(size)[None] - np.arange(size)[:, None] + 2 * delays
        inside = wide[np.ix_(mine, mine)][:, :, apart].transpose(0, 2, 1, 3).reshape(len(mine) * size, -1)
        across = self.left[np.ix_(mine, np.flatnonzero(~known))][..., ::-1].transpose(0, 2, 1).reshape(len(inside), -1)
        inside = inside + RIDGE * np.trace(inside) / len(inside) * np.eye(len(inside))
        return np.linalg.solve(inside, across).T.reshape(-1, len(mine), size)

    def carried(self, rest: np.ndarray, known: np.ndarray, rate: float) -> np.ndarray:
        """(unknown leads, L): what is to be expected there beside the beats, of what is left (known leads, L) in mV."""
        x, filters = resampled(rest, rate, RATE), self.filters(known)
        reach = filters.shape[-1] // 2
        padded = np.pad(x, ((0, 0), (reach, reach)))
        shifted = np.stack([padded[:, k : k + x.shape[-1]] for k in range(2 * reach + 1)], 1)
        return resampled(np.einsum("ukd,kdt->ut", filters, shifted), RATE, rate, rest.shape[-1])

    def complete(self, signal: np.ndarray, known: np.ndarray, beats: Beats, beat: Heartbeat, rate: float) -> np.ndarray:
        """(8, L) in mV: a signal of which the leads where `known` (8,) is True are read, with the others as expected.

        beats: where they come. beat: median beats of all leads, of `beat`.
        """
        out = lay(beat, beats, rate, signal.shape[-1])
        out[~known] += self.carried((signal - out)[known], known, rate)
        out[known] = signal[known]
        return out


@lru_cache(1)
def shipped() -> Expected:
    """The table in the package."""
    return Expected.load()


def together(x: np.ndarray, delays: int) -> np.ndarray:
    """(leads, leads, 2K+1): sums over t of x_i(t) x_j(t + delay)."""
    size = 2 * x.shape[-1]
    waves = np.fft.rfft(x, size, axis=-1)
    found = np.fft.irfft(waves[:, None].conj() * waves[None], size, axis=-1)
    return np.concatenate([found[..., -delays:], found[..., : delays + 1]], -1)


def on_grid(shape: np.ndarray, before: float) -> np.ndarray:
    """A median beat (leads, samples) at `FINE`, R at `before` s, on `GRID`; zero beyond its ends."""
    at = np.arange(shape.shape[-1]) / FINE - before
    return np.where((at[0] <= GRID) & (at[-1] >= GRID), CubicSpline(at, shape, axis=-1)(GRID), 0.0)


def off_grid(shape: np.ndarray, samples: int, before: float) -> np.ndarray:
    """The inverse of `on_grid`."""
    at = np.arange(samples) / FINE - before
    return CubicSpline(GRID, shape, axis=-1)(np.clip(at, GRID[0], GRID[-1])) * ((at >= GRID[0]) & (at <= GRID[-1]))


def resampled(x: np.ndarray, rate: float, wanted: float, samples: int | None = None) -> np.ndarray:
    """(leads, L) at another rate, by cubic splines; as it is at its own."""
    if rate == wanted:
        return x
    samples = samples or round(x.shape[-1] * wanted / rate)
    at = np.minimum(np.arange(samples) * rate / wanted, x.shape[-1] - 1)
    return CubicSpline(np.arange(x.shape[-1]), x, axis=-1)(at)
