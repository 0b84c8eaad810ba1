"""A recording as one beat at one rate: the person without heart rate, rhythm and noise.

Base vectors of recordings at rest read it in place of the recording, because what it leaves out belongs to
the day and not to the heart.
"""

import numpy as np

from .beats import Beats, lay, take

SECONDS = 1.0
"""About how long the beat is: a rate near 60/min, at which hearts at rest beat."""
R_AT = 0.39
"""Seconds from the start of the beat to R."""


def period(rate: float, factor: int) -> int:
    """Samples of the canonical beat: a multiple of `factor` near `SECONDS` (104 samples at 102.4 Hz
    and a factor of 8: 59/min)."""
    return max(1, round(SECONDS * rate / factor)) * factor


def canonical_beat(signal: np.ndarray, rate: float, samples: int) -> np.ndarray:
    """The median beat of a recording (leads, L) in mV as one turn of a perfectly regular rhythm of
    that period, (leads, samples).

    Laid end to end it is a strip without noise. QRS keeps its length, ST-T and PR follow the rate as in
    `lay`; where a beat is longer than the period, its end adds to the next one's start. ValueError where
    fewer than three beats are found.
    """
    _, beat = take(signal, rate)
    times = (np.arange(-1, 3) * samples + round(R_AT * rate)) / rate
    return lay(beat, Beats(times, np.full(4, beat.main)), rate, 2 * samples)[:, :samples]
