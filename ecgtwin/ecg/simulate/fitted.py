"""The simulator's person who explains a real recording, so that real people can be shown in other states of the heart.

    fitted = fit(ecg)  # or fit(signal, rate, sex="female", age=63): (8, samples), I, II, V1-V6, mV
    fitted.explained, fitted.explained_leads  # share of the beat's energy, of all leads and of each
    made = construct(fitted, "complete left bundle branch block", 75, seed=1)  # 10 s at 102.4 Hz
    plain = construct(fitted, "sinus rhythm", 75, seed=1)  # the pair: same beats, same noise
    same = construct(fitted, "sinus rhythm", peaks=fitted.peaks, noise="own")  # the recording itself, nearly

A beat is explained by waves in three dimensions seen by a lead field (`posterior`, and docs/simulator.md). What is left
of the beat stays with the person.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from zlib import crc32

import numpy as np
from scipy.signal import detrend

from ..leads import INDEPENDENT
from ..median_beat import AFTER, BEFORE, RATE
from ..record import ECG
from .beat import Beat, Parts, area_within, heights_at, p_ends, put_together, qrs_ends, t_end
from .dipole import frontal_axis
from .person import Person
from .posterior import most_likely
from .read import ReadBeat, read_beat
from .timing import CALMER

EDGE = 20  # samples at 500 Hz over which the rest of a beat fades in and out
WIDEST = 122  # ms: a QRS complex that lasts longer was not conducted normally


@dataclass(frozen=True, eq=False)
class Fitted:
    """A person found in a recording.

    person, parts: the simulator's, with the parts of the beat as recorded; own: that beat, at the recording's heart
    rate. beat: (8, n) in mV, the median beat at 500 Hz; rest: (8, n), what the model leaves of it; onset: the sample
    where QRS begins. own_peak: the R peak in s from there. peaks: R peaks of the recording in s. heart_rate: beats/min.
    floor: (8, samples) at 500 Hz, the recording less its beats; calm: (samples,) where that is noise and wander alone.
    explained_leads: (8,) the share of the median beat's energy in each of I, II, V1-V6 that the model has; explained:
    of all. atria: whether there was a P wave to fit (else it is the population's, given the rest).
    """

    person: Person
    parts: Parts
    own: Beat
    beat: np.ndarray
    rest: np.ndarray
    onset: float
    own_peak: float
    peaks: np.ndarray
    heart_rate: float
    floor: np.ndarray
    calm: np.ndarray
    explained_leads: np.ndarray
    explained: float
    atria: bool

    @cached_property
    def noise_spectrum(self) -> np.ndarray:
        """Spectrum (8, frequencies) of the recording's noise and wander: of `floor`, straight lines in
        place of what is not calm."""
        time = np.arange(self.floor.shape[1])
        quiet = np.stack([np.interp(time, time[self.calm], lead[self.calm]) for lead in self.floor])
        spectrum = np.fft.rfft(detrend(quiet, axis=1), axis=1)
        spectrum[:, np.fft.rfftfreq(len(time), 1 / RATE) > 5] /= np.sqrt(
            self.calm.mean()
        )  # fast noise has no part in the lines
        return spectrum


def fit(
    recording: ECG | np.ndarray,
    rate: float | None = None,
    *,
    sex: str | None = None,
    age: float | None = None,
    seed: int | None = None,
    atria: bool = True,
    least: float = 0.8,
    widest: float = WIDEST,
) -> Fitted:
    """Find the person in a recording of some 10 s of normally conducted beats, from 100 Hz on.

    recording: an `ECG`, or (8, samples) of I, II, V1-V6 in mV with its rate in Hz. sex, age: of the ECG unless given;
    unknown: the prior is between the sexes, 56 years. seed: of what the recording does not tell (how another state
    looks in this person: `Person.own`);
    None: of the patient's name, or of the signal. atria: False in atrial fibrillation or flutter,
        where there is no P wave to fit.
    least: ValueError where less of the energy of the median beat is explained; also where no beats or waves are found,
    the beats are unlike each other, or QRS lasts longer than `widest` ms, too wide to be a normal beat. The message
    names the reason.
    """
    if isinstance(recording, ECG):
        sex, age = sex or recording.sex, recording.age if age is None else age
        signal, rate = recording.select(INDEPENDENT).signal, recording.rate
        known = (recording.patient or recording.name).encode()
    else:
        signal, known = np.asarray(recording, np.float32), b""
        if rate is None:
            raise ValueError("no rate was given with the signal: expected its rate in Hz")
    if signal.ndim != 2 or len(signal) != 8:
        raise ValueError(f"signal has shape {signal.shape}, expected (8, samples) of {', '.join(INDEPENDENT)}")
    if not np.isfinite(signal).all():
        raise ValueError("the signal has missing samples: fill or crop them first")
    seed = crc32(known or signal.tobytes()) if seed is None else seed
    found = read_beat(signal, rate, atria)
    if (wide := (found.ends.off - found.ends.on) * 1000 / RATE) > widest:
        raise ValueError(
            f"QRS lasts {wide:.0f} ms: a block, pacing or a bypass, whose normal beat the recording does not show"
        )
    person, parts, own, model, onset = explained(found, sex, age, seed)
    window = fading(found)
    beat = found.beat * window
    rest = beat - model
    energy, missed = np.sum(beat**2, axis=1), np.sum(rest**2, axis=1)
    whole = 1 - missed.sum() / energy.sum()
    if whole < least:
        raise ValueError(
            f"the model explains {whole:.0%} of the median beat's energy, expected at least {least:.0%}: no normal beat"
        )
    floor, calm = floor_of(found, beat)
    return Fitted(
        person=person,
        parts=parts,
        own=own,
        beat=beat,
        rest=rest,
        onset=onset,
        own_peak=(BEFORE - onset) / RATE,
        peaks=found.peaks,
        heart_rate=60 / found.rr,
        floor=floor,
        calm=calm,
        explained_leads=1 - missed / np.maximum(energy, 1e-9),
        explained=float(whole),
        atria=atria,
    )


def explained(
    found: ReadBeat, sex: str | None, age: float | None, seed: int
) -> tuple[Person, Parts, Beat, np.ndarray, float]:
    """The person, the parts of their beat, that beat, the model's median beat (8, n), and the
    sample of it where QRS begins."""
    ends, rr = found.ends, found.rr
    female = 0.5 if sex is None else float(sex == "female")
    years = 56.0 if age is None else float(np.clip(age, 18, 95))
    waves, fields, (p_ms, pr_ms) = most_likely(found.beat, ends, rr, female, years)
    length, jt = (ends.off - ends.on) / RATE, (ends.t_end - ends.off) / RATE
    qrs = waves["qrs"].moved(0.0, length)
    begin, finish = qrs_ends(qrs, fields["qrs"])  # by the simulator's own ruler, in s from the onset that was read
    qrs = qrs.moved(-begin)
    qrs_ms = 1000 * (finish - begin)
    t = waves["t"].moved((length - finish) / jt)
    qt_ms = qrs_ms + 1000 * jt * t_end(t, fields["t"])
    p = waves["p"]
    if ends.p_on is not None:
        stretch, (start, stop) = (ends.p_off - ends.p_on) / RATE, p_ends(p, fields["p"])
        p_ms = 1000 * stretch * (stop - start)
        pr_ms = 1000 * ((ends.on - ends.p_on) / RATE + begin - start * stretch)
    rate = 60 / rr
    p_height, t_height = heights_at(rate)
    p, t = p.scaled(1 / p_height), t.scaled(1 / t_height)  # that put_together makes of the recorded height again
    parts = Parts(
        p,
        qrs,
        t,
        p_ms=p_ms,
        pr_ms=min(pr_ms + 0.2 * (rate - 60), pr_ms / 0.8),  # that pr_at makes pr_ms of
        qrs_ms=qrs_ms,
        qtc_ms=qt_ms / rr ** (1 / 3),
    )
    rng = np.random.default_rng([seed, crc32(b"fitted")])
    steps = np.diff(found.peaks)[found.alike[:-1] & found.alike[1:]]
    person = Person(
        seed=seed,
        sex=sex or ("female" if rng.random() < 0.5 else "male"),
        age=years,
        p=p,
        qrs=qrs.moved(0.0, 1000 / qrs_ms),
        t=t,
        p_field=fields["p"],
        qrs_field=fields["qrs"],
        t_field=fields["t"],
        p_ms=p_ms,
        pr_ms=parts.pr_ms,
        qrs_ms=qrs_ms,
        qtc_ms=parts.qtc_ms,
        axis_deg=frontal_axis(area_within(qrs + t.moved(qrs_ms / 1000, jt).scaled(t_height), qrs_ms), fields["qrs"]),
        resting_rate=rate,
        breaths=float(rng.uniform(11, 19)),
        variability_ms=float(np.clip(1000 * steps.std() / rr**CALMER, 8.0, 120.0)) if len(steps) > 2 else 30.0,
    )
    here = ends.on + begin * RATE  # the QRS onset in the median beat, in samples
    beat = put_together(parts if ends.p_on is not None else replace(parts, p=None), person, rate, clear=False)
    time = (np.arange(found.beat.shape[1]) - here) / RATE
    model = fields["qrs"] @ beat.qrs(time) + fields["t"] @ beat.t(time)
    if beat.p is not None:
        model += fields["p"] @ beat.p(time)
    return person, parts, beat, model, here


def fading(found: ReadBeat) -> np.ndarray:
    """A window over the median beat (n,): 1 from P to T, fading out before and after, before the next beat begins."""
    ends = found.ends
    start = ends.on - 0.16 * RATE if ends.p_on is None else ends.p_on - 6
    stop = min(ends.t_end + 70, BEFORE + found.rr * RATE - (BEFORE - start) - 4, BEFORE + AFTER - 1)
    time = np.arange(BEFORE + AFTER)
    inside = np.clip(np.minimum(time - start + EDGE, stop - time) / EDGE, 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * inside)


def floor_of(found: ReadBeat, beat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The recording less its beats (8, samples) at 500 Hz, and where it is nothing but noise (samples,)."""
    left = found.signal.copy()
    calm = np.ones(left.shape[1], bool)
    still = np.flatnonzero(np.any(np.diff(left, axis=1) != 0, axis=0))
    calm[still[-1] + 2 :] = False  # recorders may end in a flat line
    for peak, alike in zip(np.round(found.peaks * RATE).astype(int), found.alike, strict=True):
        first, last = max(peak - BEFORE, 0), min(peak + AFTER, left.shape[1])
        left[:, first:last] -= beat[:, first - peak + BEFORE : last - peak + BEFORE]
        whole = BEFORE <= peak and peak + AFTER <= left.shape[1]
        near = (25, 35) if alike or not whole else (100, 250)
        calm[max(peak - near[0], 0) : peak + near[1]] = False
    return left.astype(np.float32), calm
