"""When the heart beats, and what the atria do when they do not beat in order."""

from dataclasses import dataclass

import numpy as np

from .person import Person

MARGIN = 0.12  # s: no first or last beat closer to the edge of the strip
HIDDEN = 0.24  # s before the strip: the QRS complex of a beat that begins here is over when the strip begins
AHEAD = 0.03  # s after the strip: neither the QRS complex nor the pacing spike of a beat that begins here is seen in it
CALMER = 1.75  # the spread of RR intervals goes with this power of their length
TYPICAL_FLUTTER = 300.0  # atrial beats/min


@dataclass(frozen=True, eq=False)
class Rhythm:
    """QRS onsets in s (some lie outside the strip), and for each its kind: "normal", "ventricular", "atrial".

    cycle: s between flutter waves, None without flutter.
    """

    times: np.ndarray
    kinds: tuple[str, ...]
    cycle: float | None = None


def sinus(
    person: Person, rate: float, seconds: float, rng: np.random.Generator, breath: float, premature: str | None = None
) -> Rhythm:
    """Beats from the sinus node, faster when breathing in, with 1 to 3 premature beats in the strip if a kind is given.

    breath: the phase of breathing at time 0, in radians.
    """
    n = _how_many(rate, seconds)
    beat = np.arange(n) * 60 / rate
    beat -= beat[n // 2] - seconds / 2  # about when each beat comes
    shape = np.sin(2 * np.pi * person.breaths / 60 * beat + breath)
    shape += 0.5 * np.sin(2 * np.pi * 0.1 * beat + rng.uniform(0, 2 * np.pi))
    shape += 0.4 * rng.standard_normal(n)
    spread = person.variability_ms / 1000 * 1.15 * (60 / rate) ** CALMER  # s; the sinus node at speed hardly varies
    factors = 1 + np.clip(spread / (60 / rate) * shape / shape.std(), -0.25, 0.25)
    kinds = _interrupted(factors, premature, person, rate, seconds, rng)
    times, _ = _placed(factors, rate, seconds, rng)
    return Rhythm(times, kinds)


def _interrupted(
    factors: np.ndarray, premature: str | None, person: Person, rate: float, seconds: float, rng: np.random.Generator
) -> tuple[str, ...]:
    """Changes relative RR intervals in place so that 1 to 3 beats of the strip come early; the kinds of all beats."""
    kinds = ["normal"] * len(factors)
    if premature is not None:
        core = _core(rate, seconds)
        start = len(factors) // 2 - core // 2
        spots = np.arange(start + 1, start + core - 1, 3)
        for i in rng.choice(spots, min(len(spots), int(rng.choice([1, 1, 2, 3]))), replace=False):
            early = person.own(
                "coupling of " + premature, *((0.54, 0.72) if premature == "ventricular" else (0.58, 0.78))
            )
            early = min(
                max(early + rng.normal(0, 0.01), 0.42 * rate / 60), 0.85
            )  # the ventricle is refractory for about 0.42 s
            kinds[i + 1] = premature
            factors[i] = early
            factors[i + 1] = (
                2 - early if premature == "ventricular" else rng.uniform(1.1, 1.3)
            )  # full pause | the sinus node is reset
    return tuple(kinds)


def fibrillation(
    person: Person, rate: float, seconds: float, rng: np.random.Generator, premature: str | None = None
) -> Rhythm:
    """Irregularly irregular beats: RR intervals independent and skewed, coefficient of variation 0.13 to 0.27."""
    n = _how_many(rate, seconds)
    spread = person.own("irregularity of fibrillation", 0.13, 0.27)
    factors = np.clip(1 + spread * (rng.gamma(4.0, 1.0, n) - 4) / 2, max(0.55, 0.29 * rate / 60), 1.8)
    kinds = _interrupted(factors, premature, person, rate, seconds, rng)
    times, _ = _placed(factors, rate, seconds, rng)
    return Rhythm(times, kinds)


def allorhythmic(person: Person, rate: float, seconds: float, rng: np.random.Generator, every: int) -> Rhythm:
    """Every second (bigeminy) or third beat (trigeminy) ventricular, each with its full pause."""
    n = _how_many(rate, seconds)
    factors = 1 + 0.01 * rng.standard_normal(n)
    early = min(max(person.own("coupling of ventricular", 0.52, 0.64), 0.42 * rate / 60), 0.85)
    kinds = ["normal"] * n
    for i in range(int(rng.integers(every)), n - 1, every):
        kinds[i + 1], factors[i], factors[i + 1] = "ventricular", early, 2 - early
    times, _ = _placed(factors, rate, seconds, rng)
    return Rhythm(times, tuple(kinds))


def flutter(rate: float, seconds: float, rng: np.random.Generator) -> Rhythm:
    """Every second, third, fourth ... flutter wave conducted: the ratio that brings the atria near
    300/min, else a mixture of two."""
    n = _how_many(rate, seconds)
    ratio = max(1, round(TYPICAL_FLUTTER / rate))
    if 240 <= rate * ratio <= 350:
        factors = np.full(n, float(ratio))
    else:
        low = max(1, int(TYPICAL_FLUTTER / rate))
        factors = low + (rng.random(n) < TYPICAL_FLUTTER / rate - low).astype(float)
    times, scale = _placed(factors, rate, seconds, rng)
    return Rhythm(times, ("normal",) * n, cycle=scale)


def fibrillatory_waves(person: Person, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dipole (3, samples) in mV of fibrillating atria: three sources of 4 to 9 Hz that wander in
    frequency and size, with harmonics.

    After Stridh and Soernmo, IEEE Trans Biomed Eng 2001; 48:105. Largest in V1, next to the right atrium.
    """
    total = np.zeros((3, len(time)))
    size = person.own("fibrillatory size", 0.015, 0.045)
    for name, weight in (("first", 1.0), ("second", 0.7), ("third", 0.5)):
        frequency = person.own(f"{name} fibrillatory frequency", 4.8, 7.8)
        direction = np.array([person.own(f"{name} f x", -1.0, -0.2), person.own(f"{name} f y", -0.9, 0.9), -0.6])
        slow = [_slow(time, rng, hertz) for hertz in (0.35, 1.1, 0.7)]
        phase = 2 * np.pi * frequency * time + 2.5 * slow[0] + 1.3 * slow[1] + rng.uniform(0, 2 * np.pi)
        envelope = 1 + 0.5 * slow[2]
        shape = sum(np.sin(k * phase + 0.4 * k) / k**1.4 for k in (1, 2, 3))
        total += weight * size * np.outer(direction, envelope * shape)
    return total


def flutter_waves(person: Person, time: np.ndarray, rhythm: Rhythm) -> np.ndarray:
    """Dipole (3, samples) in mV of typical flutter: a saw, down in II, III and aVF, up in
    V1, in step with the beats."""
    size = person.own("flutter size", 0.10, 0.17)
    direction = np.array([0.12, -1.0, -0.45 + person.own("flutter z", -0.2, 0.2)])
    turn = (
        2
        * np.pi
        * ((time - rhythm.times[len(rhythm.times) // 2]) / rhythm.cycle + person.own("flutter phase", 0.1, 0.4))
    )
    saw = sum(np.sin(k * turn) * np.exp(-0.10 * k**2) / k for k in range(1, 6))
    return np.outer(direction, size * saw)


def _slow(time: np.ndarray, rng: np.random.Generator, hertz: float) -> np.ndarray:
    """A smooth random curve of size about 1 with nothing above `hertz`."""
    curve = sum(np.sin(2 * np.pi * f * time + rng.uniform(0, 2 * np.pi)) for f in rng.uniform(0.05, hertz, 4))
    return curve / np.sqrt(2)


def _how_many(rate: float, seconds: float) -> int:
    return 2 * int(np.ceil(rate / 60 * (0.5 * seconds + 4))) + 2


def _core(rate: float, seconds: float) -> int:
    """How many whole RR intervals of the asked length lie inside the strip with room at its edges."""
    return max(1, int((seconds - 2 * MARGIN - 0.06) * rate / 60))


def _placed(factors: np.ndarray, rate: float, seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Times in s of the beats between relative intervals, and the scale from factor to s.

    The intervals inside the strip have exactly the mean 60 / rate; the beats next to them are kept outside the strip,
    so that who counts the beats there finds the rate that was asked.
    """
    core = _core(rate, seconds)
    start = len(factors) // 2 - core // 2
    scale = core * 60 / rate / factors[start : start + core].sum()
    steps = factors * scale
    slack = seconds - core * 60 / rate
    first = rng.uniform(MARGIN, max(slack - MARGIN - 0.06, MARGIN + 1e-6))
    times = np.zeros(len(factors))
    times[start : start + core + 1] = first + np.concatenate([[0.0], np.cumsum(steps[start : start + core])])
    for i in range(start - 1, -1, -1):
        step = max(steps[i], first + HIDDEN) if i == start - 1 else steps[i]
        times[i] = times[i + 1] - step
    for i in range(start + core + 1, len(factors)):
        times[i] = times[i - 1] + steps[i - 1]
        if i == start + core + 1:
            times[i] = max(times[i], seconds + AHEAD)
    return times, scale
