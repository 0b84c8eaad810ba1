"""Beats where an ECG is known, and those to be expected where it is not.

Shapes: L samples.
"""

import numpy as np

from ..ecg.beats import Beats, Heartbeat, take

STEADY = 0.08
"""Coefficient of variation of RR intervals below which the next beat is expected after the mean interval."""
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


def continued(beats: Beats, steady: np.ndarray, rate: float, rng: np.random.Generator) -> Beats:
    """Known beats, and those expected where nothing is known: after the mean interval in a steady rhythm, else after
    intervals drawn from the known ones; between two known beats as many as fit, evenly."""
    ends = zip(beats.times, beats.times[1:], strict=False)
    whole = np.array([steady[round(a * rate) : round(b * rate)].all() for a, b in ends])
    within = np.diff(beats.times)[whole] if whole.any() else np.diff(beats.times)
    mean, seconds = float(within.mean()), len(steady) / rate
    regular = within.std() < STEADY * mean

    def after(edge: float, free: float, limit: float) -> list[float]:
        """Times after a beat at `edge`, the first not before `free`, up to which none was seen."""
        out = []
        while True:
            longer = within[within > free - edge]
            step = mean if regular or not len(longer) else float(rng.choice(longer))
            edge += step if step > free - edge else free - edge + 0.1 * mean
            if edge >= limit:
                return out
            out.append(edge)

    times, kinds = list(beats.times), list(beats.kinds)
    usual = int(np.bincount(beats.kinds).argmax())
    added = []
    for a, b in zip(times, times[1:], strict=False):
        count = round((b - a) / mean) - 1
        if count > 0 and not steady[round(a * rate) : round(b * rate)].all():
            added += np.linspace(a, b, count + 2)[1:-1].tolist()
    ends = [(start / rate, stop / rate) for start, stop in pieces(steady)]
    added += after(times[-1], max([stop for start, stop in ends if start <= times[-1]], default=0.0), seconds)
    added += [
        -t for t in after(-times[0], max([-start for start, stop in ends if times[0] < stop], default=-seconds), 0.0)
    ]
    order = np.argsort([*times, *added], kind="stable")
    return Beats(np.array([*times, *added])[order], np.array([*kinds, *[usual] * len(added)])[order])
