"""Beats where an ECG is known, and those to be expected where it is not.

A steady rhythm goes on from its last interval to the mean of all; an irregular one, of which little can be foreseen,
runs its known intervals backwards, then forwards, and so on: as irregular as before, and it begins as it ended.

Shapes: L samples.
"""

from collections.abc import Iterator
from itertools import count, cycle, pairwise

import numpy as np

from ..ecg.beats import Beats, Heartbeat, take

STEADY = 0.08
"""Coefficient of variation of RR intervals below which a rhythm is steady."""
LASTS, WEARS, WANES = 0.1, 0.5, 0.6
"""How much of the last interval's difference from the mean all intervals to come have, and the next one beside, and
what of this is left from one to the next. Least squares on training ECGs' second 5 s has about these."""
LATE = 0.1
"""Share of the mean interval after which a beat comes that is late: expected where it would have been seen."""
FEWEST = 3.0
"""Seconds of all leads that must be known in one piece, to see beats in."""


def seen(signal: np.ndarray, steady: np.ndarray, rate: float) -> tuple[Beats, Heartbeat]:
    """Beats and median beats of a signal (8, L) where `steady` (L,) is True, each piece of it by itself."""
    times, kinds, heartbeat, longest = [], [], None, 0
    for start, stop in pieces(steady):
        if stop - start < FEWEST * rate:
            continue
        try:
            beats, own = take(signal[:, start:stop], rate)
        except ValueError:
            continue
        times.append(beats.times + start / rate)
        kinds.append(beats.kinds)
        if stop - start > longest:
            heartbeat, longest = own, stop - start
    if heartbeat is None:
        raise ValueError(f"no piece of {FEWEST:g} s with three beats is known: leave more of the ECG as it is")
    return Beats(np.concatenate(times), np.concatenate(kinds)), heartbeat


def pieces(mask: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of the stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def continued(beats: Beats, steady: np.ndarray, rate: float, rng: np.random.Generator | None = None) -> Beats:
    """Known beats, and those to be expected where nothing is known; between two known beats as many as fit, evenly, or
    of a steady rhythm with intervals that go from the one before to the one after.

    rng: of an irregular rhythm, draws each interval from the known ones, as in a sample; None: they are expected.
    """
    ends = zip(beats.times, beats.times[1:], strict=False)
    whole = np.array([steady[round(a * rate) : round(b * rate)].all() for a, b in ends])
    within = np.diff(beats.times)[whole] if whole.any() else np.diff(beats.times)
    mean, seconds = float(within.mean()), len(steady) / rate
    irregular = within.std() >= STEADY * mean

    def after(edge: float, free: float, limit: float, seen: np.ndarray) -> list[float]:
        """Times after a beat at `edge` that ends the intervals `seen`, the first not before `free`, up to which none
        was seen."""
        out, next_ones = [], cycle([*seen[::-1], *seen]) if irregular else expected(seen)
        while True:
            longer = within[within > free - edge]
            step = next(next_ones) if rng is None or not irregular or not len(longer) else float(rng.choice(longer))
            edge += step if step > free - edge else free - edge + LATE * mean
            if edge >= limit:
                return out
            out.append(edge)

    times, kinds = list(beats.times), list(beats.kinds)
    usual = int(np.bincount(beats.kinds).argmax())
    added = []
    for k, (a, b) in enumerate(pairwise(times)):
        missing = round((b - a) / mean) - 1
        if missing > 0 and not steady[round(a * rate) : round(b * rate)].all():
            beside = [mean, mean] if irregular else around(beats.times, whole, k, mean)
            steps = np.interp(np.arange(1, missing + 2), [0, missing + 2], beside)
            added += (a + (b - a) * np.cumsum(steps)[:-1] / steps.sum()).tolist()
    known = [(start / rate, stop / rate) for start, stop in pieces(steady)]
    free = max([stop for start, stop in known if start <= times[-1]], default=0.0)
    added += after(times[-1], free, seconds, within)
    free = max([-start for start, stop in known if times[0] < stop], default=-seconds)
    added += [-t for t in after(-times[0], free, 0.0, within[::-1])]
    order = np.argsort([*times, *added], kind="stable")
    return Beats(np.array([*times, *added])[order], np.array([*kinds, *[usual] * len(added)])[order])


def around(times: np.ndarray, whole: np.ndarray, gap: int, mean: float) -> list[float]:
    """The intervals before and after the interval `gap` of beats, a mean one where they are not `whole`."""
    steps = np.where(whole, np.diff(times), mean)
    return [float(steps[k]) if 0 <= k < len(steps) else mean for k in (gap - 1, gap + 1)]


def expected(intervals: np.ndarray) -> Iterator[float]:
    """The intervals to come of a steady rhythm: the last one's difference from the mean wears off."""
    mean, left = float(intervals.mean()), float(intervals[-1] - intervals.mean())
    for k in count():
        yield mean + left * (LASTS + WEARS * WANES**k)
