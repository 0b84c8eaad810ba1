"""The first-order solvers: one step, many names."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from ..denoiser import Denoiser
from ..schedule import Level
from .solver import Evaluation, History, Noise, first_order, posterior_spread, transition_spread


@dataclass(frozen=True)
class DDIM:
    """Denoising diffusion implicit models (Song et al. 2020, arXiv 2010.02502, eq. 12 and 16).

    eta: 0 is deterministic (Euler, DPM-Solver++ 1); 1 adds the noise of DDPM's small variance (Euler-ancestral).
    """

    eta: float = 0.0
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta {self.eta}: give 0 (deterministic) to 1 (as noisy as DDPM)")

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        x0 = denoise(x, t).x0
        spread = self.eta * posterior_spread(t, s) if self.eta else 0.0
        moved = first_order(x, x0, t, s, spread)
        if spread:
            moved = moved.add_(noise(x), alpha=spread)
        return moved, (Evaluation(t, x, x0),)


@dataclass(frozen=True)
class Euler(DDIM):
    """Euler's step of the probability-flow ODE in sigma/alpha (Karras et al. 2022, arXiv 2206.00364, algorithm 1
    without its correction), and of a rectified flow: DDIM with eta 0."""

    eta: float = field(default=0.0, init=False)


@dataclass(frozen=True)
class EulerAncestral(DDIM):
    """Euler down to less noise than wanted, then fresh noise up to the level: DDIM with eta 1 unless told otherwise."""

    eta: float = 1.0


@dataclass(frozen=True)
class DDPM:
    """The ancestral sampler (Ho et al. 2020, arXiv 2006.11239, algorithm 2), on any list of levels.

    variance: "small", that of x_s given x_t and x0; "large", that of the forward step; "learned", between the two on a
        logarithmic scale as the network says (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15): needs
        bind(…, learned_variance=True). The last step, to sigma = 0, adds no noise.
    """

    variance: Literal["small", "large", "learned"] = "small"
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.variance not in ("small", "large", "learned"):
            raise ValueError(f"variance {self.variance!r}: give small, large or learned")

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        x0, mix = denoise(x, t)
        small = posterior_spread(t, s)
        moved = first_order(x, x0, t, s, small)
        history = (Evaluation(t, x, x0),)
        if s.sigma == 0:
            return moved, history
        large = transition_spread(t, s)
        match self.variance:
            case "small":
                return moved.add_(noise(x), alpha=small), history
            case "large":
                return moved.add_(noise(x), alpha=large), history
        if mix is None:
            raise ValueError("DDPM(variance='learned') and no variance learned: use bind(…, learned_variance=True)")
        spread = small * (large / small) ** ((mix + 1) / 2)
        return moved.addcmul_(spread, noise(x)), history
