"""A fitted person's ECG in another state of the heart: the state changes the model's beat, the rest of the
beat stays with the person."""

from dataclasses import dataclass, replace
from functools import lru_cache
from zlib import crc32

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import fftconvolve, firwin

from ..median_beat import RATE
from . import changes as to
from . import timing
from .beat import Beat, heights_at
from .dipole import Wave
from .fitted import Fitted
from .posterior import usual_field
from .run import STEP, beats_of, rate_in, rhythm_in
from .states import INFARCTED, INJURED, State
from .states import state as named
from .surrogate import noise_like

FINE = 1000.0  # Hz: of the grid on which a beat is drawn once before it is laid at its times
KEPT: dict = {
    to.left_bundle_block: (0.0, 0.7),
    to.paced: (0.0, 0.5),
    to.ventricular_ectopic: (0.0, 0.5),
    to.right_bundle_block: (1.0, 0.8),
    to.left_anterior_block: (0.5, 0.9),
    to.pre_excitation: (0.5, 0.5),
    to.hypertrophy: (1.0, 0.45),
    to.t_inversion: (1.0, 0.3),
    to.st_depression: (1.0, 0.75),
    to.low_voltage: (0.5, 0.7),
    **{change: (0.8, 0.7) for change in INFARCTED.values()},
    **{change: (0.8, 1.0) for change in INJURED.values()},
}
"""Share of the rest of QRS, and of ST-T, that is kept in a beat so changed; all of it where no change
is named. P keeps its rest."""
USUAL_CHEST = {to.left_bundle_block}
"""What activates the whole left ventricle otherwise: how the chest leads see the fitted person's own, perhaps scarred,
heart tells little of how they see this one."""
OWN_CLOCK = {to.right_bundle_block}  # the left ventricle runs as ever: the rest of QRS is not stretched


@dataclass(frozen=True, eq=False)
class Constructed:
    """A constructed recording and the truth about it.

    signal: (8, samples) float32 in mV, I, II, V1-V6 at `rate` Hz. peaks, onsets: R peaks and QRS onsets in s of the
    beats whose R peak is in the strip; kinds: of each, "normal" | "ventricular" | "atrial" | "paced".
    reports: the state's statements. heart_rate: beats/min. Of the normal (or paced) beats: pr_ms (None: no P wave leads
    to a QRS), qrs_ms, qt_ms, axis_deg (frontal, 90 = down).
    """

    signal: np.ndarray
    rate: float
    peaks: np.ndarray
    onsets: np.ndarray
    kinds: tuple[str, ...]
    state: State
    reports: tuple[str, ...]
    heart_rate: float
    pr_ms: float | None
    qrs_ms: float
    qt_ms: float
    axis_deg: float


def construct(
    fitted: Fitted,
    state: State | str,
    heart_rate: float | None = None,
    seed: int = 0,
    *,
    peaks: np.ndarray | None = None,
    kinds: tuple[str, ...] | None = None,
    rate: float = 102.4,
    seconds: float = 10.0,
    noise: str | None = "drawn",
) -> Constructed:
    """The fitted person's recording in a state of `STATES` (or a `State`, or names joined with "|").

    heart_rate: beats/min (20 to 250); None: the recording's where the state allows it, else one of the state's own. QT
    follows it by Fridericia, PR as `pr_at`. peaks: R peaks in s at which beats are laid, instead of a rhythm drawn for
    the state; kinds: of each, "normal" (the usual of the state) unless given; the heart rate is then theirs unless
    given. seed: of the beats' times, atrial waves and noise; two states with the same seed and heart rate share them.
    rate: Hz of the signal. noise: "drawn": noise and wander like the recording's (its spectrum in and across leads, in
    other phases); "own": the recording's own; None: clean. ValueError for what is out of range.
    """
    state = named(state) if isinstance(state, str) else state
    if noise not in ("drawn", "own", None):
        raise ValueError(f'noise is {noise!r}, expected "drawn", "own" or None')
    if not 100 <= rate <= 1000:
        raise ValueError(f"rate is {rate} Hz, expected 100 to 1000")
    if not 2 <= seconds <= 3600:
        raise ValueError(f"seconds is {seconds}, expected 2 to 3600")
    if peaks is not None:
        peaks = np.asarray(peaks, float)
        if len(peaks) < 2 or (np.diff(peaks) < 0.15).any():
            raise ValueError("peaks: expected at least two R peaks in s, in order and at least 0.15 s apart")
        heart_rate = float(60 / np.diff(peaks).mean()) if heart_rate is None else heart_rate
    if USUAL_CHEST & set(state.changes):
        fitted = in_a_usual_chest(fitted)
    person = fitted.person
    heart_rate = rate_in(person, state) if heart_rate is None else float(heart_rate)
    if not 20 <= heart_rate <= 250:
        raise ValueError(f"heart rate is {heart_rate} beats/min, expected 20 to 250")
    rngs = [np.random.default_rng([seed, person.seed, crc32(what)]) for what in (b"beats", b"atria", b"noise")]
    breath = rngs[0].uniform(0, 2 * np.pi)
    if peaks is not None:
        given = (
            ("normal",) * len(peaks)
            if kinds is None
            else tuple("normal" if kind == "paced" else kind for kind in kinds)
        )
        extra = set(given) - {"normal"}
        state = replace(state, premature=extra.pop()) if len(extra) == 1 else state
        if len(given) != len(peaks) or extra:
            raise ValueError(
                f"{len(given)} kinds {sorted(set(given))} for {len(peaks)} peaks: expected as many, one premature kind"
            )
    beats = beats_of(person, state, heart_rate, own=fitted.parts, clear=False)
    drawn = {kind: draw(fitted, beat, changed(state, kind), rate) for kind, beat in beats.items()}
    if peaks is not None:
        step = 60 / heart_rate
        before, after = np.arange(peaks[0] - step, -1.0, -step)[::-1], np.arange(peaks[-1] + step, seconds + 1.0, step)
        named_kinds = ("normal",) * len(before) + given + ("normal",) * len(after)
        onsets = np.concatenate([before, peaks, after]) - [drawn[kind].peak for kind in named_kinds]
        rhythm = timing.Rhythm(onsets, named_kinds, cycle=flutter_cycle(heart_rate))
    else:
        rhythm = rhythm_in(person, state, heart_rate, seconds, rngs[0], breath, beats["normal"].p is None)
    time = np.arange(round(seconds * rate)) / rate
    depth = np.sin(2 * np.pi * person.breaths / 60 * rhythm.times + breath) * (
        noise != "own"
    )  # the recording's own has its own swing
    angle = np.radians(person.own("swing with breathing", 0.5, 3.0)) * depth
    signal = laid(rhythm, beats, drawn, time, np.stack([angle, 1 + 0.02 * depth], axis=1))
    if state.rhythm == "fibrillation":
        signal += person.p_field @ timing.fibrillatory_waves(person, time, rngs[1])
    elif state.rhythm == "flutter":
        signal += person.p_field @ timing.flutter_waves(person, time, rhythm)
    if noise is not None:
        signal += noise_like(fitted, len(time), rate, rngs[2] if noise == "drawn" else None)
    usual = "paced" if state.rhythm == "paced" else "normal"
    at = rhythm.times + np.array([drawn[kind].peak for kind in rhythm.kinds])
    seen = np.flatnonzero((at >= 0) & (at < seconds))
    beat = beats["normal"]
    return Constructed(
        signal=(np.round(signal / STEP) * STEP).astype(np.float32),
        rate=float(rate),
        peaks=at[seen],
        onsets=rhythm.times[seen],
        kinds=tuple(usual if rhythm.kinds[i] == "normal" else rhythm.kinds[i] for i in seen),
        state=state,
        reports=state.reports,
        heart_rate=heart_rate,
        pr_ms=None if beat.p is None else beat.pr_ms,
        qrs_ms=beat.qrs_ms,
        qt_ms=beat.qt_ms,
        axis_deg=beat.axis_deg,
    )


def in_a_usual_chest(fitted: Fitted) -> Fitted:
    """The fitted person, whose chest leads see QRS and T no more unusually than most people's do; the waves as nearly
    as then they can be."""
    person = fitted.person
    qrs_field, t_field = usual_field(person.qrs_field, "qrs"), usual_field(person.t_field, "t")
    to_qrs, to_t = to.placed(qrs_field, person.qrs_field), to.placed(t_field, person.t_field)
    return replace(
        fitted,
        person=replace(
            person,
            qrs=person.qrs.turned(to_qrs),
            t=person.t.turned(to_t),
            qrs_field=qrs_field,
            t_field=t_field,
        ),
        parts=replace(fitted.parts, qrs=fitted.parts.qrs.turned(to_qrs), t=fitted.parts.t.turned(to_t)),
    )


@dataclass(frozen=True, eq=False)
class Drawn:
    """A beat on a grid of 1 / FINE s that begins at `start` s from the QRS onset.

    p: its P wave, still: the rest, turning: what a turn of the heart in the frontal plane adds for
        each radian, each (8, n) in mV.
    peak: the R peak in s from the QRS onset.
    """

    start: float
    p: np.ndarray
    still: np.ndarray
    turning: np.ndarray
    peak: float


def changed(state: State, kind: str) -> tuple:
    """The changes that made a beat of a kind."""
    return (to.ventricular_ectopic,) if kind == "ventricular" else state.changes


def draw(fitted: Fitted, beat: Beat, made_by: tuple, rate: float) -> Drawn:
    """A beat in the leads, with what the person keeps of the rest, free of what `rate` can not carry."""
    person = fitted.person
    first = -(beat.pr_ms / 1000 + 0.15)
    grid = first + np.arange(int((beat.qt_ms / 1000 + 0.25 - first) * FINE)) / FINE
    qrs, t = beat.qrs(grid), beat.t(grid)
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    still = person.qrs_field @ qrs + person.t_field @ t
    turning = person.qrs_field @ (quarter @ qrs) + person.t_field @ (quarter @ t)
    p = np.zeros_like(still) if beat.p is None else person.p_field @ beat.p(grid)
    shares = [KEPT.get(change, (1.0, 1.0)) for change in made_by]
    qrs_share, t_share = np.prod([(1.0, 1.0), *shares], axis=0)
    rest_p, rest_qrs, rest_t = rest_in(fitted, beat, grid, stretched=not OWN_CLOCK & set(made_by))
    p_height, t_height = np.divide(heights_at(beat.heart_rate), heights_at(fitted.own.heart_rate))
    if beat.p is not None and fitted.atria:
        p += p_height * rest_p
    still += qrs_share * rest_qrs + t_height * t_share * rest_t
    pulse = to.spike(person) if to.paced in made_by else None
    peak = r_peak(fitted, beat.qrs if pulse is None else beat.qrs + pulse, beat.qrs_ms)
    if qrs_share >= 0.5:  # by as much as the person's own R peak differs from such a reading
        peak += fitted.own_peak - r_peak(fitted, fitted.own.qrs, fitted.own.qrs_ms)
    if pulse is not None:
        still += person.qrs_field @ pulse(grid)
    p, still, turning = np.split(
        fftconvolve(np.concatenate([p, still, turning]), carried(rate)[None], mode="same", axes=1), 3
    )
    return Drawn(first, p, still, turning, peak)


def rest_in(fitted: Fitted, beat: Beat, grid: np.ndarray, stretched: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the model left of the person's P, QRS and ST-T, each (8, n) in mV, moved (P) and stretched with
    the wave that it belongs to."""
    own, edge = fitted.own, 0.01
    qrs, off, was, width = (
        beat.qrs_ms / 1000,
        own.qrs_ms / 1000,
        (own.qt_ms - own.qrs_ms) / 1000,
        (beat.qt_ms - beat.qrs_ms) / 1000,
    )
    at_p = grid + (beat.pr_ms - own.pr_ms) / 1000
    at_qrs = grid * (off / qrs) if stretched else grid
    at_t = off + (grid - qrs) * was / width
    begun, over = (
        (lambda at: np.clip((at + edge) / edge, 0, 1)),
        (lambda at: np.clip((at - off + edge) / (2 * edge), 0, 1)),
    )
    return (
        (1 - begun(at_p)) * rest_at(fitted, at_p),
        begun(at_qrs) * (1 - over(at_qrs)) * rest_at(fitted, at_qrs),
        over(at_t) * rest_at(fitted, at_t),
    )


def rest_at(fitted: Fitted, time: np.ndarray) -> np.ndarray:
    """The rest of the person's beat (8, n) in mV at times in s from its QRS onset."""
    at = np.clip(time * RATE + fitted.onset, 0, fitted.rest.shape[1] - 1.001)
    whole = at.astype(int)
    part = at - whole
    return fitted.rest[:, whole] * (1 - part) + fitted.rest[:, whole + 1] * part


def r_peak(fitted: Fitted, qrs: Wave, ms: float) -> float:
    """Where a QRS complex of `ms` is largest in the leads together, each scaled by its size, about as
    `r_peaks` finds it: s from onset."""
    grid = np.arange(-100, ms + 100) / 1000
    leads = fitted.person.qrs_field @ qrs(grid)
    band = np.abs(uniform_filter1d(leads, 21) - uniform_filter1d(leads, 121))
    return float(grid[np.argmax((band / np.maximum(band.max(1, keepdims=True), 0.01)).sum(0))])


@lru_cache(8)
def carried(rate: float) -> np.ndarray:
    """A low pass at FINE Hz that leaves what a signal at `rate` Hz can carry."""
    half = int(12 * FINE / rate)
    return firwin(2 * half + 1, 0.92 * rate / FINE, window=("kaiser", 6.0))


def laid(
    rhythm: timing.Rhythm, kinds: dict[str, Beat], drawn: dict[str, Drawn], time: np.ndarray, swing: np.ndarray
) -> np.ndarray:
    """The beats (8, samples) in mV at their times; the heart swings by `swing` (one number for each beat,
    -1 to 1) times its angle."""
    signal = np.zeros((8, len(time)))
    for number, (when, kind, (angle, growth)) in enumerate(zip(rhythm.times, rhythm.kinds, swing, strict=True)):
        beat = drawn[kind]
        put(signal, growth * (beat.still + angle * beat.turning), beat.start + when, time)
        if kind == "ventricular" and 0 < number < len(rhythm.times) - 1:  # the sinus node goes on unheard
            if kinds["normal"].p is not None:
                put(
                    signal,
                    drawn["normal"].p,
                    drawn["normal"].start + (rhythm.times[number - 1] + rhythm.times[number + 1]) / 2,
                    time,
                )
        elif kinds[kind].p is not None:
            put(signal, beat.p, beat.start + when, time)
    return signal


def put(signal: np.ndarray, part: np.ndarray, start: float, time: np.ndarray) -> None:
    """Add a part (8, n) that is drawn at FINE Hz from `start` s on, by linear interpolation."""
    rate = 1 / (time[1] - time[0])
    window = slice(
        max(0, int(np.ceil(start * rate))), max(0, min(len(time), int((start + (part.shape[1] - 2) / FINE) * rate)))
    )
    if window.stop <= window.start:
        return
    at = (time[window] - start) * FINE
    whole = at.astype(int)
    share = at - whole
    signal[:, window] += part[:, whole] * (1 - share) + part[:, whole + 1] * share


def flutter_cycle(heart_rate: float) -> float:
    """s between flutter waves at a ventricular rate: the ratio that brings the atria near 300/min."""
    return 60 / heart_rate / max(1, round(timing.TYPICAL_FLUTTER / heart_rate))
