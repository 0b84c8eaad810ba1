"""A recording's beats: when they come, of what kind they are, and what one of them looks like; and a
recording made of them anew.

`take` reads a recording: R times to a fraction of a sample, which beats look like the others, and the median of each
kind. `lay` puts these median beats at other times: the same heart in another rhythm or at another rate. P and T waves
that meet add up, as fields of one body do. `r_aligned` is the plain median around R, by which recordings are compared.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import BSpline, CubicSpline, make_interp_spline

from .rhythm import r_peaks

FINE = 512.0
"""Hz of a median beat: five times finer than the networks' rate, so that beats can be laid between its samples."""
BEFORE, AFTER = 0.36, 0.64
"""Seconds of a median beat before and after R, at most; less where beats follow each other faster."""
KINDS = ("normal", "ventricular", "paced")
QRS = 0.06
"""Seconds around R that keep their length at every heart rate."""
QTC = 0.40
"""Typical QTc in s (Fridericia), from which follows how far the end of T moves with the rate."""


@dataclass(frozen=True, eq=False)
class Beats:
    """When beats come and of what kind: times (n,) in s from the start of the strip, rising;
    kinds (n,) places in `KINDS`."""

    times: np.ndarray
    kinds: np.ndarray

    def __post_init__(self):
        times = np.asarray(self.times, np.float64)
        kinds = np.asarray(self.kinds, np.int8)
        if times.ndim != 1 or times.shape != kinds.shape:
            raise ValueError(f"times {times.shape} and kinds {kinds.shape} of beats: expected two lists of one length")
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueError("times of beats: expected finite seconds, each later than the one before")
        if len(kinds) and not (0 <= kinds.min() and kinds.max() < len(KINDS)):
            raise ValueError(
                f"kinds of beats {sorted(set(kinds.tolist()))}: expected 0 to {len(KINDS) - 1} ({', '.join(KINDS)})"
            )
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "kinds", kinds)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def rr(self) -> float | None:
        """Mean RR interval in s, None of fewer than two beats."""
        return float(np.diff(self.times).mean()) if len(self) > 1 else None

    @property
    def heart_rate(self) -> float | None:
        """Beats/min, None of fewer than three beats."""
        return 60 * (len(self) - 1) / float(self.times[-1] - self.times[0]) if len(self) > 2 else None


@dataclass(frozen=True, eq=False)
class Heartbeat:
    """Median beats of one recording: what is the same in its beats of one kind.

    shapes: kind -> (leads, samples) in mV at `FINE` Hz, R at `before` s, zero at both ends. rr: the mean RR interval in
    s under which they were recorded.
    """

    shapes: dict[int, np.ndarray]
    before: float
    rr: float

    @property
    def leads(self) -> int:
        return len(self.shapes[self.main])

    @property
    def main(self) -> int:
        """The kind of most of its beats."""
        return next(iter(self.shapes))

    def without_p(self) -> "Heartbeat":
        """The same beats of a heart whose atria do not beat: from the onset of QRS backwards, a line to zero."""
        shapes = {}
        for kind, shape in self.shapes.items():
            on = _onset(shape, round(self.before * FINE))
            shapes[kind] = shape.copy()
            shapes[kind][:, :on] = shape[:, max(on - 4, 0) : on + 1].mean(-1, keepdims=True) * np.linspace(0, 1, on)
        return replace(self, shapes=shapes)

    def onto(self, other: "Heartbeat", reach: float = 0.12) -> "Heartbeat":
        """The same beats, moved by up to `reach` s so that the usual one lies on another's usual one: what counts as R
        in a broad complex is chance."""
        mine, theirs = self.shapes[self.main], other.shapes[other.main]
        steps, offset = int(reach * FINE), round((other.before - self.before) * FINE)
        scores = []
        for lag in range(-steps, steps + 1):
            first = max(0, -(lag + offset))  # sample of mine that lies on `first + lag + offset` of theirs
            n = min(mine.shape[-1] - first, theirs.shape[-1] - (first + lag + offset))
            at = first + lag + offset
            scores.append((mine[:, first : first + n] * theirs[:, at : at + n]).sum())
        lag = int(np.argmax(scores)) - steps
        return replace(self, shapes={kind: _moved(shape, lag) for kind, shape in self.shapes.items()})


def _moved(shape: np.ndarray, lag: int) -> np.ndarray:
    """A shape (leads, samples) `lag` samples later, zero where nothing is."""
    out = np.zeros_like(shape)
    n = shape.shape[-1] - abs(lag)
    out[:, max(lag, 0) : max(lag, 0) + n] = shape[:, max(-lag, 0) : max(-lag, 0) + n]
    return out


def take(
    signal: np.ndarray, rate: float, peaks: np.ndarray | None = None, *, paced: bool = False
) -> tuple[Beats, Heartbeat]:
    """Beats and median beats of a recording (leads, samples) in mV.

    peaks: R peaks in samples where they are known. paced: whether a report says so; then the usual beat counts as
    paced. ValueError where fewer than three beats are found.
    """
    signal = np.asarray(signal, np.float64)
    peaks = r_peaks(signal, rate) if peaks is None else np.asarray(peaks)
    if len(peaks) < 3:
        raise ValueError(f"{len(peaks)} beats: at least 3 are needed for a median beat")
    rr = float(np.median(np.diff(peaks)) / rate)
    before, after = min(BEFORE, 0.42 * rr), min(AFTER, 0.70 * rr)
    grid = np.arange(-round(before * FINE), round(after * FINE) + 1) / FINE
    smooth = CubicSpline(np.arange(signal.shape[-1]), signal, axis=-1)
    end = signal.shape[-1] - 1
    times = peaks / rate
    usual = np.ones(len(peaks), bool)
    core = np.abs(grid) <= 0.08
    for turn in range(3):
        cut = _cut(smooth, end, rate, times, grid)  # (beats, leads, samples)
        inside = (times >= before) & (times <= end / rate - after)
        chosen = usual & inside if (usual & inside).sum() >= 2 else usual
        shape = np.median(cut[chosen], axis=0)
        if turn == 2:
            break
        times = times + _lags(cut, shape, core)
        likeness = _likeness(_cut(smooth, end, rate, times, grid)[..., core], shape[:, core])
        usual = likeness > 0.80 if (likeness > 0.80).mean() > 0.5 else np.ones(len(peaks), bool)
    if len(times) > 1 and (np.diff(times) <= 0).any():
        times = peaks / rate
    odd = ~usual
    main = KINDS.index("paced") if paced else KINDS.index("normal")
    shapes = {main: _ended(shape)}
    if (odd & inside).sum() >= 1:
        shapes[KINDS.index("ventricular")] = _ended(np.median(cut[odd & inside], axis=0))
    kinds = np.where(odd, KINDS.index("ventricular"), main)
    return Beats(times, kinds), Heartbeat(shapes, -float(grid[0]), float(np.diff(times).mean()))


def lay(beat: Heartbeat, beats: Beats, rate: float, samples: int) -> np.ndarray:
    """A recording (leads, samples) float32 in mV of these median beats at those times, without noise.

    The QRS complex keeps its length; ST-T follows the cube root of the mean RR interval (Fridericia 1920) and PR its
    0.15th power, as in `change_rate`. Beats of a kind that the median beats do not have leave a gap; paced and
    normal stand in for each other.
    """
    out = np.zeros((beat.leads, samples))
    rr = beats.rr or beat.rr
    t_now, t_new = (QTC * np.cbrt(x) - 0.04 - QRS for x in (beat.rr, rr))
    after, ahead = t_new / t_now, (rr / beat.rr) ** 0.15
    ventricular = KINDS.index("ventricular")
    for kind in set(beats.kinds.tolist()):
        shape = beat.shapes.get(kind, None if kind == ventricular else beat.shapes[beat.main])
        if shape is None:
            continue
        smooth = CubicSpline(np.arange(shape.shape[-1]) / FINE - beat.before, shape, axis=-1)
        for time in beats.times[beats.kinds == kind]:
            length = (shape.shape[-1] - 1) / FINE - beat.before
            first = max(0, int(np.ceil((time - QRS - (beat.before - QRS) * ahead) * rate)))
            last = min(samples - 1, int(np.floor((time + QRS + (length - QRS) * after) * rate)))
            if last < first:
                continue
            at = np.arange(first, last + 1) / rate - time
            at = np.where(at > QRS, QRS + (at - QRS) / after, np.where(at < -QRS, -QRS + (at + QRS) / ahead, at))
            out[:, first : last + 1] += smooth(np.clip(at, -beat.before, length))
    return out.astype(np.float32)


def r_aligned(signal: np.ndarray, rate: float, grid: np.ndarray) -> np.ndarray | None:
    """The median (leads, samples) in mV of a recording's beats as their R peaks lie, at `grid` s around R; None with
    fewer than 2 whole beats.

    Between samples the signal (leads, samples) runs straight. Each beat's own median is taken off, so that wander does
    not count.
    """
    end = signal.shape[-1] - 1
    times = r_peaks(signal, rate) / rate
    times = times[(times >= -grid[0]) & (times <= end / rate - grid[-1])]
    if len(times) < 2:
        return None
    beats = _cut(make_interp_spline(np.arange(end + 1), signal, 1, axis=-1), end, rate, times, grid)
    return np.median(beats - np.median(beats, -1, keepdims=True), 0)


def _cut(curve: CubicSpline | BSpline, end: int, rate: float, times: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """(beats, leads, samples) around each time of a curve through samples 0 to `end`; ends of the strip are
    continued."""
    place = np.clip((times[:, None] + grid[None]) * rate, 0, end)
    return curve(place).transpose(1, 0, 2)


def _lags(cut: np.ndarray, shape: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Seconds, up to 20 ms, by which each beat's QRS lies later than the median's: where
    their slopes correlate most."""
    reach = int(0.02 * FINE)
    first, last = np.flatnonzero(core)[[0, -1]]
    slope, wanted = np.diff(cut, axis=-1), np.diff(shape, axis=-1)[:, first:last]
    scores = np.stack([(slope[..., first + k : last + k] * wanted).sum((1, 2)) for k in range(-reach, reach + 1)], -1)
    return (scores.argmax(-1) - reach) / FINE


def _likeness(cut: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Correlation of each beat's QRS in all leads with the median's."""
    a = cut - cut.mean(-1, keepdims=True)
    b = shape - shape.mean(-1, keepdims=True)
    return (a * b).sum((1, 2)) / np.maximum(np.sqrt((a**2).sum((1, 2)) * (b**2).sum()), 1e-9)


def _onset(shape: np.ndarray, r: int) -> int:
    """Sample at which QRS begins: from its fastest part backwards, until the leads together stay slower than a tenth of
    that for 10 ms. A P wave is slower."""
    speed = np.sqrt((np.gradient(shape, axis=-1) ** 2).sum(0))
    first, still = max(r - int(0.16 * FINE), 1), int(0.01 * FINE)
    on = first + int(speed[first : r + int(0.08 * FINE)].argmax())
    limit = 0.1 * speed[on]
    while on > first and (speed[max(on - still, 0) : on] > limit).any():
        on -= 1
    return on


def _ended(shape: np.ndarray) -> np.ndarray:
    """The beat above the line between its two ends, each end let go to zero within 40 ms."""
    n, edge = shape.shape[-1], int(0.04 * FINE)
    left, right = shape[:, : edge // 2].mean(-1, keepdims=True), shape[:, -edge // 2 :].mean(-1, keepdims=True)
    flat = shape - (left + (right - left) * np.linspace(0, 1, n))
    fade = np.ones(n)
    fade[:edge] = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    fade[-edge:] = fade[:edge][::-1]
    return flat * fade
