"""The same recording at another heart rate: time is warped beat by beat, as physiology would.

A plain stretch also widens the QRS complex. Here each beat keeps its PR and QRS, its ST-T follows the cube root of the
RR interval (Fridericia 1920: QT ~ RR^(1/3)), and diastole takes up the rest.
"""

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

BEFORE, AFTER = 0.22, 0.06
"""Seconds before and after the R peak that hold P wave and PR interval, and the second half of the QRS complex."""


def t_end(rr: np.ndarray) -> np.ndarray:
    """Seconds from the R peak to the end of the T wave at an RR interval in s: QTc 0.40 s less half a QRS complex."""
    return 0.40 * np.cbrt(rr) - 0.04


def segments(rr: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (n, 4) in s of QRS, ST-T, diastole and P-PR in each beat, before and after the change of its RR."""
    q = np.minimum(AFTER, 0.2 * rr)
    p = np.minimum(BEFORE, 0.35 * rr)
    t = np.clip(t_end(rr) - q, 0.1 * rr, rr - q - p - 0.04 * rr)
    old = np.stack([q, t, rr - q - t - p, p], 1)
    ratio = new / rr
    t, p = t * np.cbrt(ratio), p * ratio**0.15
    # Where diastole is used up (a fast rate), T and P move together, as they do at the bedside.
    room = 0.96 * new - q
    squeeze = np.minimum(1.0, room / (t + p))
    t, p = t * squeeze, p * squeeze
    return old, np.stack([q, t, new - q - t - p, p], 1)


def change_heart_rate(
    signal: np.ndarray, rate: float, peaks: np.ndarray, factor: float, *, start: float = 0.0
) -> np.ndarray:
    """The recording (leads, samples) with every RR interval times `factor`, as many samples long.

    peaks: R peaks in samples, at least 3. Where a shorter RR needs more beats than there are, the recording is
    continued from its first beat, cross-faded in diastole. start: share (0-1) of the first beat that is left out.
    """
    peaks = np.asarray(peaks, float)
    if len(peaks) < 3:
        raise ValueError(f"{len(peaks)} R peaks: at least 3 are needed to change the heart rate")
    samples = signal.shape[-1]
    rr = np.diff(peaks) / rate
    old, new = segments(rr, rr * factor)

    if peaks[0] < old[-1, 3] * rate:
        # The first beat's P wave lies outside the recording: begin one beat later.
        if len(peaks) < 4:
            raise ValueError(f"{len(peaks)} R peaks, the first without its P wave: too few to change the heart rate")
        return change_heart_rate(signal, rate, peaks[1:], factor, start=start)

    # One period: from before the first P wave to before the P wave of the last beat; repeated until it is long enough.
    lead_old, lead_new = old[-1, 3], new[-1, 3]
    first, last = (int(round(peak - lead_old * rate)) for peak in (peaks[0], peaks[-1]))
    times = 1 + int(np.ceil((samples / rate + new[0].sum()) / new.sum()))
    long = repeat(signal, first, last, int(0.08 * rate), times)
    beats_old, beats_new = (np.cumsum(np.tile(lengths, (times, 1))) for lengths in (old, new))
    knots_old = np.concatenate([[0.0, lead_old], lead_old + beats_old])
    knots_new = np.concatenate([[0.0, lead_new], lead_new + beats_new])
    warp = PchipInterpolator(knots_new, knots_old)
    t = start * new[0].sum() + np.arange(samples) / rate
    place = np.clip(warp(t) * rate, 0, long.shape[-1] - 1)
    return CubicSpline(np.arange(long.shape[-1]), long, axis=-1)(place).astype(signal.dtype)


def repeat(signal: np.ndarray, first: int, last: int, fade: int, times: int) -> np.ndarray:
    """signal[first:last] over and over; at each seam what came after `last` is cross-faded into the new round."""
    piece = signal[:, first:last].astype(np.float64)
    after = signal[:, last : last + fade].astype(np.float64)
    n = after.shape[-1]
    weight = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / max(n, 1))
    seam = piece.copy()
    # The new round starts where the last one ended and glides to its own course.
    seam[:, :n] = after * (1 - weight) + piece[:, :n] * weight
    return np.concatenate([piece] + [seam] * (times - 1) + [after], axis=-1)
