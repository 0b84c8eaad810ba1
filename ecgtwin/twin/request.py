"""One wanted ECG, where its chance comes from, and which wishes no run can follow."""

from dataclasses import replace
from hashlib import blake2b
from math import isfinite
from numbers import Integral, Real
from reprlib import repr as brief
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ..ecg.beats import Beats, Heartbeat
from ..ecg.leads import INDEPENDENT
from ..ecg.quality import prepare
from ..ecg.record import ECG, wrong_source
from .condition import Condition


class Request(NamedTuple):
    """One wanted ECG: whose (base vector (E,) or None for nobody's), in which state, from which seed.

    beats: when its beats come; heartbeat: what a beat of the reference looks like. None, or a model that
    was not trained with them: the network decides. leaves: whether a normal ECG is wanted of somebody
    whose reference was not normal. new: wanted statements that the reference was not known to have. expected: whether
    heartbeat is what a simulator expects in that state. start: an ECG (8, L) in mV of such beats, from which the run
    begins partway (`SamplingConfig.expected_depth`); None: it begins at noise.
    recording: the reference's signal (8, L) in mV, whose noise the drawn ECG gets back (`twin.noise_floor`); atria:
    whether waves of fibrillation in it may stay (`rhythm.atria_stay`).
    """

    base: Tensor | None
    condition: Condition
    seed: int
    beats: Beats | None = None
    heartbeat: Heartbeat | None = None
    leaves: bool = False
    new: tuple[str, ...] = ()
    expected: bool = False
    start: np.ndarray | None = None
    recording: Tensor | None = None
    atria: bool = True


def each(given: Any, count: int | None) -> list[Any]:
    """What is given for each of `count` references: a list as it is, anything else for all of them.
    count None: one reference."""
    if count is None:
        return [given]
    found = list(given) if isinstance(given, list | tuple) else [given] * count
    if len(found) != count:
        raise ValueError(f"{len(found)} conditions for {count} references: give one for each, or one for all")
    return found


def expect_ecg(given: Any) -> None:
    """TypeError with what to write instead, unless it is an ECG."""
    if not isinstance(given, ECG):
        raise TypeError(f"reference: {wrong_source(given)}")


def check_options(
    *, steps: int, guidance: float | None, base_guidance: float | None, rescale: float, variety: float = 1.0
) -> None:
    """ValueError for what no run can follow."""
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"steps {brief(steps)}: expected 1 or more")
    for name, value in (("guidance", guidance), ("base_guidance", base_guidance)):
        if value is not None and not (isinstance(value, Real) and isfinite(value)):
            raise ValueError(f"{name} {brief(value)}: expected a finite number; 1 is as learned")
    if not isinstance(rescale, Real) or not 0 <= rescale <= 1:
        raise ValueError(f"rescale {brief(rescale)}: expected 0 (off) to 1")
    if not isinstance(variety, Real) or not 0 <= variety <= 1:
        raise ValueError(f"variety {brief(variety)}: expected 0 (typical beats) to 1 (as learned)")


def check_seed(seed: int, n: int = 1) -> None:
    """ValueError unless seeds `seed` to `seed + n - 1` are ones of 64 bits."""
    if not isinstance(seed, Integral) or not 0 <= seed <= 2**64 - n:
        raise ValueError(f"seed {brief(seed)}: expected a whole number from 0 to {2**64 - n}")


def fingerprint(reference: ECG) -> str:
    """What a reference's signal is known by: a hash of its 10 s as they were recorded, the same on every machine."""
    ecg = prepare(reference, leads=INDEPENDENT)
    return blake2b(ecg.signal.tobytes() + np.float64(ecg.rate).tobytes(), digest_size=16).hexdigest()


def seed_of(seed: int, fingerprint: str) -> int:
    """The seed, of 63 bits, of a reference's sample."""
    return int.from_bytes(blake2b(f"{seed} {fingerprint}".encode(), digest_size=8).digest(), "big") >> 1


def paced_by(condition: Condition, beats: Beats) -> Condition:
    """A condition at the rate of beats, where it names none."""
    return condition if condition.heart_rate is not None else replace(condition, heart_rate=beats.heart_rate)


def same(a: Request, b: Request) -> bool:
    """Whether two requests of one person ask for the same."""
    return a.condition == b.condition and a.beats is b.beats
