"""How much signal and how much noise there is at each level of the diffusion: x = alpha * x0 + sigma * eps.

A `Level` is one such mixture; a `Schedule` is a table of them for a variance-preserving process (alpha² + sigma² = 1);
`Flow` is the straight path of flow matching (alpha + sigma = 1). Solvers see levels only and need neither.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor


class Level(NamedTuple):
    """One noise level: the index `t` that the network is told, and x = alpha * x0 + sigma * eps."""

    t: float
    alpha: float
    sigma: float

    @property
    def logsnr(self) -> float:
        """log(alpha² / sigma²); +inf where there is no noise, -inf where there is no signal."""
        if self.sigma == 0:
            return math.inf
        if self.alpha == 0:
            return -math.inf
        return 2 * math.log(self.alpha / self.sigma)


@dataclass(frozen=True, eq=False)
class Schedule:
    """A table of levels 0 … T-1, from nearly clean to nearly noise,
    with alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar).

    Index -1 is the clean end (alpha 1, sigma 0). Between indices the angle atan2(sigma, alpha) is interpolated: it
    keeps alpha² + sigma² = 1 and stays finite at both ends, also at zero terminal SNR.

    alpha_bar: (T,) float64, strictly decreasing, each in (0, 1); the last alone may be 0. Else ValueError.
    """

    alpha_bar: Tensor

    def __post_init__(self) -> None:
        table = torch.as_tensor(self.alpha_bar)
        if table.ndim != 1 or len(table) == 0 or table.dtype != torch.float64:
            raise ValueError(
                f"alpha_bar has shape {tuple(table.shape)} and type {table.dtype}: a Schedule needs one non-empty row "
                "of float64; compute the table in double precision"
            )
        table = table.detach().cpu().clone()
        inside = bool(torch.isfinite(table).all()) and bool((table < 1).all()) and bool((table[:-1] > 0).all())
        if not inside or table[-1] < 0 or not bool((table.diff() < 0).all()):
            raise ValueError(
                f"alpha_bar runs from {table[0].item():.6g} to {table[-1].item():.6g}: a Schedule needs values "
                "strictly decreasing inside (0, 1), of which only the last may be 0"
            )
        object.__setattr__(self, "alpha_bar", table)

    @property
    def length(self) -> int:
        """T, the number of noisy levels."""
        return len(self.alpha_bar)

    @property
    def clean(self) -> float:
        """The index of the level without noise."""
        return -1.0

    @property
    def noisiest(self) -> float:
        """The index of the last level, T-1."""
        return float(self.length - 1)

    def alpha_sigma(self, i: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """alpha and sigma for training: i (B,) integers in -1 … T-1 -> two (B,) of `dtype` on the device of i."""
        if i.is_floating_point() or i.dtype == torch.bool:
            raise ValueError(f"indices have type {i.dtype}: alpha_sigma takes integers; for fractions use level(i)")
        if i.device.type == "cpu" and i.numel() and not (-1 <= int(i.min()) and int(i.max()) < self.length):
            raise ValueError(
                f"indices run from {int(i.min())} to {int(i.max())}: this schedule has -1 (clean) to {self.length - 1}"
            )
        alpha, sigma = self._table.to(dtype).to(i.device)
        return alpha[i + 1], sigma[i + 1]

    def level(self, i: float) -> Level:
        """The level at index i, which may be fractional: -1 (clean) <= i <= T-1, else ValueError."""
        if not -1 <= i <= self.length - 1:
            raise ValueError(f"index {i} is outside this schedule: give -1 (clean) to {self.length - 1}")
        low = min(math.floor(i), self.length - 2)
        if i == math.floor(i):
            alpha_bar = 1.0 if i == -1 else self.alpha_bar[int(i)].item()
            return Level(float(i), math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))
        part = i - low
        angle = (1 - part) * self._angle[low + 1] + part * self._angle[low + 2]
        return Level(float(i), math.cos(angle), math.sin(angle))

    def draw(self, n: int, generator: torch.Generator, part: float = 1.0) -> Tensor:
        """Random indices (n,) for training, of the cleanest `part` of the levels."""
        return torch.randint(max(1, round(part * self.length)), (n,), generator=generator)

    def nearest(self, ratio: Tensor) -> Tensor:
        """The indices (n,) of the noisy levels whose sigma/alpha are nearest, as angles, to those given (n,)."""
        angles = torch.tensor(self._angle[1:], dtype=torch.float64)
        middle = (angles[1:] + angles[:-1]) / 2
        return torch.searchsorted(middle, torch.atan(ratio.double()))

    def even(self, n: int, part: float = 1.0) -> Tensor:
        """Indices (n,) evenly over the same levels, for validation."""
        return ((torch.arange(n) + 0.5) / n * part * self.length).long()

    def level_at(self, logsnr: float) -> Level:
        """The level whose log(alpha²/sigma²) is `logsnr`, with the fractional index that belongs to it."""
        _not_nan(logsnr)
        angle = math.atan(math.exp(-logsnr / 2)) if logsnr > -1400 else math.pi / 2
        if angle == 0:
            return self.level(-1)
        if math.isclose(angle, self._angle[-1], rel_tol=1e-12):
            return self.level(self.noisiest)
        high = bisect_left(self._angle, angle)
        if high == len(self._angle):
            raise ValueError(
                f"log-SNR {logsnr:.6g} is noisier than this schedule, which ends at "
                f"{self.level(self.noisiest).logsnr:.6g}: ask for a cleaner level"
            )
        left, right = self._angle[high - 1], self._angle[high]
        return Level(high - 2 + (angle - left) / (right - left), math.cos(angle), math.sin(angle))

    @cached_property
    def _angle(self) -> list[float]:
        """atan2(sigma, alpha) at -1, 0, …, T-1."""
        return [0.0, *torch.atan2((1 - self.alpha_bar).sqrt(), self.alpha_bar.sqrt()).tolist()]

    @cached_property
    def _table(self) -> Tensor:
        """(2, T+1) float64: alpha and sigma at -1, 0, …, T-1."""
        alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), self.alpha_bar])
        return torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt()])


@dataclass(frozen=True)
class Flow:
    """The straight path of flow matching and rectified flow:
    sigma = i / length, alpha = 1 - sigma, for i from 0 to length.

    `shift` > 1 spends more of the path on the noisy side: sigma -> shift sigma / (1 + (shift - 1) sigma)
    (Esser et al. 2024, arXiv 2403.03206, eq. 23). Index 0 is clean, index `length` is pure noise.
    """

    length: int = 1000
    shift: float = 1.0

    def __post_init__(self) -> None:
        if self.length < 1 or not 0 < self.shift < math.inf:
            raise ValueError(f"Flow(length={self.length}, shift={self.shift}): both must be positive and finite")

    @property
    def clean(self) -> float:
        return 0.0

    @property
    def noisiest(self) -> float:
        return float(self.length)

    def alpha_sigma(self, i: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """alpha and sigma for training: i (B,) numbers in 0 … length, also fractional -> two (B,) of `dtype`."""
        u = i.to(torch.promote_types(dtype, torch.float32)) / self.length
        sigma = self.shift * u / (1 + (self.shift - 1) * u)
        return (1 - sigma).to(dtype), sigma.to(dtype)

    def level(self, i: float) -> Level:
        """The level at index i, which may be fractional: 0 (clean) <= i <= length (noise), else ValueError."""
        if not 0 <= i <= self.length:
            raise ValueError(f"index {i} is outside this flow: give 0 (clean) to {self.length} (noise)")
        u = i / self.length
        sigma = self.shift * u / (1 + (self.shift - 1) * u)
        return Level(float(i), 1 - sigma, sigma)

    def draw(self, n: int, generator: torch.Generator, part: float = 1.0) -> Tensor:
        """Random indices (n,) for training, fractional, of the cleanest `part` of the path."""
        return torch.rand(n, generator=generator) * part * self.length

    def nearest(self, ratio: Tensor) -> Tensor:
        """The indices (n,), fractional, of the levels whose sigma/alpha are those given (n,)."""
        sigma = ratio.double() / (1 + ratio.double())
        return (sigma / (self.shift - (self.shift - 1) * sigma) * self.length).float()

    def even(self, n: int, part: float = 1.0) -> Tensor:
        """Indices (n,) evenly over the same part, for validation."""
        return (torch.arange(n) + 0.5) / n * part * self.length

    def level_at(self, logsnr: float) -> Level:
        """The level whose log(alpha²/sigma²) is `logsnr`: sigma = 1 / (1 + exp(logsnr / 2))."""
        _not_nan(logsnr)
        sigma = 1 / (1 + math.exp(logsnr / 2)) if logsnr < 1400 else 0.0
        u = sigma / (self.shift - (self.shift - 1) * sigma)
        return Level(u * self.length, 1 - sigma, sigma)


def from_beta(beta: Tensor) -> Schedule:
    """The schedule whose step i keeps 1 - beta_i of the variance:
    alpha_bar_i = prod_{j <= i} (1 - beta_j). beta: (T,)."""
    beta = torch.as_tensor(beta, dtype=torch.float64)
    if beta.ndim != 1 or not bool(((beta > 0) & (beta < 1)).all()):
        raise ValueError(
            f"beta runs from {beta.min().item():.4g} to {beta.max().item():.4g}: each must be inside (0, 1); "
            "take more steps or smaller betas"
        )
    return Schedule(torch.cumprod(1 - beta, 0))


def from_curve(curve: Callable[[Tensor], Tensor], length: int, max_beta: float = 0.999) -> Schedule:
    """The schedule with alpha_bar_i = curve((i+1)/T) / curve(0),
    each beta held below `max_beta` (arXiv 2102.09672, eq. 17)."""
    values = curve(torch.linspace(0, 1, _positive(length) + 1, dtype=torch.float64))
    return from_beta((1 - values[1:] / values[:-1]).clamp(max=max_beta))


def linear(length: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """beta grows linearly (Ho et al. 2020, arXiv 2006.11239, section 4).

    `first` and `last` are the betas of 1000 steps; for other lengths they are scaled by 1000/length, so the ends stay.
    """
    return from_beta(_ramp(first, last, length) * (1000 / length))


def scaled_linear(length: int = 1000, first: float = 0.00085, last: float = 0.012) -> Schedule:
    """sqrt(beta) grows linearly (latent diffusion, Rombach et al. 2022, arXiv 2112.10752). Lengths as in `linear`."""
    return from_beta(_ramp(math.sqrt(first), math.sqrt(last), length) ** 2 * (1000 / length))


def cosine(length: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> Schedule:
    """alpha_bar = cos²((u + offset)/(1 + offset) pi/2), u in [0,
    1] (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17)."""
    return from_curve(lambda u: torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2, length, max_beta)


def sigmoid(
    length: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0, max_beta: float = 0.999
) -> Schedule:
    """alpha_bar falls as a stretch of the logistic curve from
    `start` to `end` (Chen 2023, arXiv 2301.10972, algorithm 1)."""

    def curve(u: Tensor) -> Tensor:
        logistic = torch.sigmoid((start + u * (end - start)) / tau)
        return (logistic[-1] - logistic) / (logistic[-1] - logistic[0])

    return from_curve(curve, length, max_beta)


class Chosen(Protocol):
    """A schedule as a configuration names it."""

    @property
    def schedule(self) -> Literal["linear", "scaled_linear", "cosine", "sigmoid", "flow"]: ...
    @property
    def steps(self) -> int: ...
    @property
    def start(self) -> float | None: ...
    @property
    def end(self) -> float | None: ...
    @property
    def zero_terminal(self) -> bool: ...


def build_schedule(chosen: Chosen) -> Schedule | Flow:
    """The schedule that a configuration names. start, end: betas of the linear ones, None for their own.

    ValueError: there is none of that name, or it has no betas (start, end) or no end to move (zero_terminal).
    """
    kinds = {"linear": linear, "scaled_linear": scaled_linear, "cosine": cosine, "sigmoid": sigmoid}
    betas = {k: v for k, v in (("first", chosen.start), ("last", chosen.end)) if v is not None}
    kind = chosen.schedule
    if kind not in (*kinds, "flow"):
        raise ValueError(f"schedule {kind!r}: give one of {', '.join(kinds)} or flow")
    if betas and "linear" not in kind:
        raise ValueError(f"schedule {kind} has no betas to choose: leave start and end out")
    if kind == "flow":
        if chosen.zero_terminal:
            raise ValueError("a flow begins at pure noise already: leave zero_terminal out")
        return Flow(chosen.steps)
    schedule = kinds[kind](chosen.steps, **betas)
    return zero_terminal_snr(schedule) if chosen.zero_terminal else schedule


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """The same schedule with its last level moved to pure noise: alpha is shifted and stretched so that alpha_{T-1} = 0
    and alpha_0 stays (Lin et al. 2024, arXiv 2305.08891, algorithm 1). Train it to predict v or x0, never eps."""
    alpha = schedule.alpha_bar.sqrt()
    if len(alpha) < 2:
        raise ValueError("a schedule of one level cannot keep its first level and lose its last: give two or more")
    alpha = (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))
    return Schedule(alpha**2)


def _not_nan(logsnr: float) -> None:
    if math.isnan(logsnr):
        raise ValueError("log-SNR nan: give a number, or an infinity for one of the ends")


def _ramp(first: float, last: float, length: int) -> Tensor:
    return torch.linspace(first, last, _positive(length), dtype=torch.float64)


def _positive(length: int) -> int:
    if length < 1:
        raise ValueError(f"length {length}: a schedule needs at least one level")
    return length
