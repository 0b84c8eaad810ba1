"""Which levels a run of `steps` steps visits: a list of steps + 1 levels from the noisiest to the clean end.

Every spacing takes a schedule and ends at its clean level (sigma = 0), so the last step returns the x0 estimate. A
list may be cut or written by hand: solvers ask only that the noise falls from each level to the next.
"""

import math
from collections.abc import Callable, Sequence

from .schedule import Flow, Level, Schedule

Path = Schedule | Flow
Spacing = Callable[[Path, int], list[Level]]
"""A schedule and a number of steps -> the levels of a run."""


def trailing(schedule: Path, steps: int) -> list[Level]:
    """Even in the index, counted from the noisy end: always visits the noisiest level (arXiv 2305.08891, table 2).

    Index k is round(T (1 - k/steps)) - 1. The default: the only even spacing that uses zero terminal SNR.
    """
    span = schedule.noisiest - schedule.clean
    _check(steps, span)
    return at_indices(schedule, [schedule.clean + round(span * (1 - k / steps)) for k in range(steps)])


def leading(schedule: Path, steps: int, offset: int = 0) -> list[Level]:
    """Even in the index, counted from the clean end: 0, T//steps, 2 T//steps … plus `offset` (1 in Stable Diffusion).

    Never visits the noisiest level unless steps = T: with few steps it starts from noise the network was not shown.
    """
    span = int(schedule.noisiest - schedule.clean)
    _check(steps, span)
    stride = span // steps
    first = schedule.clean + 1 + offset
    return at_indices(schedule, [first + k * stride for k in reversed(range(steps))])


def linspace(schedule: Path, steps: int) -> list[Level]:
    """Even in the index with both ends: T-1 first, 0 last, rounded. One step visits T-1 alone."""
    last = schedule.clean + 1
    span = schedule.noisiest - last
    _check(steps, span + 1)
    return at_indices(schedule, [last + round(span * (1 - part)) for part in _even(steps)])


def karras(
    schedule: Path, steps: int, rho: float = 7.0, noisiest: float | None = None, cleanest: float | None = None
) -> list[Level]:
    """Even in (sigma/alpha)^(1/rho): small steps where there is little noise (Karras et al., arXiv 2206.00364, eq. 5).

    noisiest, cleanest: indices of the first and last noisy level; by default the ends of the schedule.
    """
    if not 0 < rho < math.inf:
        raise ValueError(f"rho {rho}: give a positive number, 7 in the paper")
    top, bottom = _ends(schedule, noisiest, cleanest)
    a, b = math.exp(-top / 2) ** (1 / rho), math.exp(-bottom / 2) ** (1 / rho)
    _check(steps)
    return _from_logsnr(schedule, [-2 * rho * math.log(a + part * (b - a)) for part in _even(steps)])


def uniform_logsnr(
    schedule: Path, steps: int, noisiest: float | None = None, cleanest: float | None = None
) -> list[Level]:
    """Even in log(alpha²/sigma²), the natural clock of the DPM
    solvers (Lu et al. 2022, arXiv 2206.00927, section 3.4)."""
    top, bottom = _ends(schedule, noisiest, cleanest)
    _check(steps)
    return _from_logsnr(schedule, [top + part * (bottom - top) for part in _even(steps)])


def at_indices(schedule: Path, indices: Sequence[float]) -> list[Level]:
    """The levels at hand-picked indices, noisiest first, then the clean level; indices may be fractional."""
    if not indices or any(after >= before for before, after in zip(indices, indices[1:], strict=False)):
        raise ValueError(f"indices {list(indices)[:12]}: give at least one, strictly falling, noisiest first")
    found = [schedule.level(i) for i in indices]
    return found if found[-1].sigma == 0 else [*found, schedule.level(schedule.clean)]


def respace(schedule: Path, levels: Sequence[Level], steps: int) -> list[Level]:
    """The same shape of spacing with another number of steps: the log-SNR of the noisy levels is interpolated.

    For lists found by optimisation at one count, as "Align your
    steps" does (Sabour et al. 2024, arXiv 2404.14507, section 4).
    """
    known = [level.logsnr for level in levels if level.sigma > 0]
    if not all(math.isfinite(value) for value in known):
        raise ValueError(
            "a level with alpha = 0 has no finite log-SNR to interpolate: leave it out and put it in front again"
        )
    _check(steps)
    wanted = []
    for part in _even(steps):
        position = part * (len(known) - 1)
        low = min(int(position), max(len(known) - 2, 0))
        high = min(low + 1, len(known) - 1)
        wanted.append(known[low] + (position - low) * (known[high] - known[low]))
    return _from_logsnr(schedule, wanted)


def shifted(schedule: Path, levels: Sequence[Level], shift: float) -> list[Level]:
    """The same run with sigma/alpha of its noisy levels multiplied by `shift`: above 1, more of its steps are where
    there is much noise. On a `Flow` it is sigma -> shift sigma / (1 + (shift - 1) sigma) (Esser et al. 2024, arXiv
    2403.03206, eq. 23). Levels that would leave the schedule become its noisiest, once."""
    if not 0 < shift < math.inf:
        raise ValueError(f"shift {shift}: give a positive number, 1 = as it is, 3 in Stable Diffusion 3")
    top = schedule.level(schedule.noisiest)
    moved: list[Level] = []
    for at in levels:
        logsnr = at.logsnr - 2 * math.log(shift)
        level = at if math.isinf(at.logsnr) else top if logsnr <= top.logsnr else schedule.level_at(logsnr)
        if not moved or level.logsnr > moved[-1].logsnr:
            moved.append(level)
    return moved


def _from_logsnr(schedule: Path, values: Sequence[float]) -> list[Level]:
    return [*(schedule.level_at(value) for value in values), schedule.level(schedule.clean)]


def _ends(schedule: Path, noisiest: float | None, cleanest: float | None) -> tuple[float, float]:
    """log-SNR of the first and of the last noisy level, both finite."""
    first = schedule.level(schedule.noisiest if noisiest is None else noisiest)
    last = schedule.level(schedule.clean + 1 if cleanest is None else cleanest)
    if first.alpha == 0:
        raise ValueError(
            f"index {first.t:g} is pure noise (alpha = 0), so its log-SNR is infinite and cannot be spaced: give "
            "noisiest=… an index below it, or use trailing"
        )
    return first.logsnr, last.logsnr


def _even(steps: int) -> list[float]:
    """`steps` numbers from 0 to 1, evenly; one step is the start alone."""
    return [k / max(steps - 1, 1) for k in range(steps)]


def _check(steps: int, most: float = math.inf) -> None:
    if not 1 <= steps <= most:
        limit = "" if math.isinf(most) else f" and at most {int(most)} for this schedule"
        raise ValueError(f"{steps} steps: give at least 1{limit}")
