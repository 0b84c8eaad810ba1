"""What is learned, on which noise levels and with which weights, as a configuration chooses: one object for training
and for drawing, of ECGs and of images."""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from .denoiser import EDM, Denoiser, Network, Prediction, bind, split_variance
from .loss import Teacher, Weight, hybrid, min_snr, p2, simple, snr
from .schedule import Chosen as ChosenSchedule
from .schedule import Flow, Schedule, build_schedule


class Chosen(ChosenSchedule, Protocol):
    """An objective as a configuration names it."""

    @property
    def prediction(self) -> Literal["eps", "x0", "v", "score", "flow", "edm"]: ...
    @property
    def data_std(self) -> float: ...
    @property
    def learned_variance(self) -> bool: ...
    @property
    def min_snr(self) -> float | None: ...
    @property
    def p2(self) -> float | None: ...
    @property
    def snr(self) -> float | None: ...
    @property
    def levels(self) -> Literal["uniform", "lognormal"]: ...
    @property
    def levels_mean(self) -> float: ...
    @property
    def levels_std(self) -> float: ...


@dataclass(frozen=True)
class LogNormal:
    """Training noise of Karras et al. 2022 (arXiv 2206.00364, table 1): ln(sigma/alpha) ~ N(mean, std²), within the
    schedule's noisy levels. On a `Flow` it is the logit-normal density of arXiv 2403.03206, eq. 19."""

    mean: float = -1.2
    std: float = 1.2

    def draw(self, schedule: Schedule | Flow, n: int, generator: torch.Generator, part: float = 1.0) -> Tensor:
        """Indices (n,) of the cleanest `part` of the levels; what would lie outside is drawn again inside."""
        span = schedule.noisiest - schedule.clean
        low = 0.0 if isinstance(schedule, Flow) else schedule.level(schedule.clean + 1).logsnr
        high = schedule.level(max(schedule.clean + part * span, schedule.clean + 1e-6)).logsnr
        ends = [-math.inf if isinstance(schedule, Flow) else -low / 2, -high / 2]
        first, last = (0.5 * (1 + math.erf((end - self.mean) / (self.std * math.sqrt(2)))) for end in ends)
        u = first + (last - first) * torch.rand(n, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        return schedule.nearest(torch.exp(self.mean + self.std * torch.special.ndtri(u)))


@dataclass(frozen=True)
class Objective:
    """noise: which levels are trained on, None for all alike. weight: of an error of x0 at each signal-to-noise ratio,
    None: every prediction counts as it comes."""

    schedule: Schedule | Flow
    prediction: Prediction = "v"
    weight: Weight | None = None
    learned_variance: bool = False
    noise: LogNormal | None = None

    @staticmethod
    def of(chosen: Chosen) -> "Objective":
        schedule = build_schedule(chosen)
        prediction = EDM(chosen.data_std) if chosen.prediction == "edm" else chosen.prediction
        weights = [
            make(value)
            for make, value in ((min_snr, chosen.min_snr), (lambda g: p2(1.0, g), chosen.p2), (snr, chosen.snr))
            if value is not None
        ]
        noise = LogNormal(chosen.levels_mean, chosen.levels_std) if chosen.levels == "lognormal" else None
        return Objective(schedule, prediction, weights[0] if weights else None, chosen.learned_variance, noise)

    def draw(self, n: int, generator: torch.Generator, part: float = 1.0) -> Tensor:
        """Levels (n,) to train on, of the cleanest `part` of them."""
        draw = self.schedule.draw if self.noise is None else lambda *a: self.noise.draw(self.schedule, *a)
        return draw(n, generator, part)

    def losses(
        self, network: Network, condition: Any, x0: Tensor, i: Tensor, eps: Tensor, teacher: Teacher | None = None
    ) -> Tensor:
        """What is trained: (B,), weighted; with a learned variance the hybrid loss, which knows no teacher."""
        given = (network, condition, x0, i, eps, self.schedule, self.prediction, self.weight)
        return hybrid(*given) if self.learned_variance else simple(*given, teacher)

    def errors(self, network: Network, condition: Any, x0: Tensor, i: Tensor, eps: Tensor) -> Tensor:
        """Squared errors of the prediction alone, unweighted: (B,), to compare trainings by."""

        def predicted(x: Tensor, t: Tensor, c: Any) -> Tensor:
            output = network(x, t, c)
            return split_variance(output, x)[0] if self.learned_variance else output

        return simple(predicted, condition, x0, i, eps, self.schedule, self.prediction)

    def bind(self, network: Network, condition: Any) -> Denoiser:
        """The denoiser that a network trained for this is under one condition."""
        return bind(network, condition, self.prediction, learned_variance=self.learned_variance)
