"""The continuous view: the forward and reverse SDE, the probability-flow ODE, and the log-likelihood that it gives.

    forward   dx = f x dt + g dW,    f = d log alpha / dt,    g² = d sigma²/dt - 2 f sigma²
    reverse   dx = (f x - g² score) dt + g dW,    probability flow   dx = (f x - g²/2 score) dt

(Song et al. 2021, arXiv 2011.13456, eq. 5, 6, 13; f and g from Kingma et al. 2021, arXiv 2107.00630.)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from .denoiser import Denoiser, to_score
from .schedule import Level
from .solvers.ancestral import DDIM
from .solvers.solver import Evaluation, History, Noise, clock_is_sound, first_order

LevelAt = Callable[[float], Level]


def drift(t: Level, s: Level) -> float:
    """The integral of f from the cleaner s up to t: log(alpha_t / alpha_s), not positive."""
    if t.alpha == 0:
        raise ValueError(
            f"the SDE has infinite drift at alpha = 0 (t = {t.t:g}): start from a level with alpha > 0, or use "
            "DDIM(1), which takes the same step in closed form"
        )
    return math.log(t.alpha / s.alpha)


def diffusion(t: Level, s: Level) -> float:
    """The integral of g² from the cleaner s up to t, by the trapezoid rule on sigma² in 2 sigma² d log alpha."""
    return t.sigma**2 - s.sigma**2 - (t.sigma**2 + s.sigma**2) * drift(t, s)


@dataclass(frozen=True)
class EulerMaruyama:
    """One Euler-Maruyama step of the reverse SDE (arXiv 2011.13456, algorithm 1 without corrector); weak order 1.

    x_s = x - F x + G score + sqrt(G) z, with F = drift(t, s), G = diffusion(t, s). Needs many steps: the first-order
    solvers take the linear part in closed form and are better at the same price. No noise in the step to sigma = 0.
    From alpha = 0, and where sigma/alpha falls more than twofold in a step, the step is that closed form, DDIM(1).
    """

    order: ClassVar[int] = 1

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        if not clock_is_sound(t, s, most=2.0):
            return DDIM(1.0).step(denoise, x, t, s, past, noise)
        fall, power = drift(t, s), diffusion(t, s)
        x0 = denoise(x, t).x0
        moved = x.mul(1 - fall).add_(to_score(x, x0, t.alpha, t.sigma), alpha=power)
        if s.sigma > 0:
            moved.add_(noise(x), alpha=math.sqrt(power))
        return moved, (Evaluation(t, x, x0),)


@dataclass(frozen=True)
class ProbabilityFlow:
    """The probability-flow ODE by classical Runge-Kutta: fourth order, four calls, for references and likelihoods.

    It runs in the angle phi = atan2(sigma, alpha), where x / sqrt(alpha² + sigma²) moves with velocity
    (cos(phi) x - x0) / sin(phi) (the v of arXiv 2202.00512, appendix D) and both ends are finite, alpha = 0 too.
    level_at: log-SNR -> Level, the schedule's own. The step to sigma = 0 is first-order.
    """

    level_at: LevelAt
    order: ClassVar[int] = 4

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, past: History, noise: Noise
    ) -> tuple[Tensor, History]:
        x0 = denoise(x, t).x0
        history = (Evaluation(t, x, x0),)
        if s.sigma == 0:
            return first_order(x, x0, t, s), history

        def velocity(y: Tensor, at: Level) -> Tensor:
            return _velocity(y, x0 if at is t else denoise(y * _scale(at), at).x0, at)

        return _runge_kutta(velocity, x / _scale(t), t, s, self.level_at) * _scale(s), history


def log_likelihood(
    denoise: Denoiser, x: Tensor, levels: Sequence[Level], level_at: LevelAt, probes: Tensor | None = None
) -> Tensor:
    """log p(x) in nats, (B,): the change of variables along the probability flow (arXiv 2011.13456, eq. 39).

    x: (B, ...) at the last of `levels`, which must be noisy (take levels[:-1]); at the first, x is taken as standard
        normal after division by sqrt(alpha² + sigma²).
    probes: (K, B, ...), entries of mean 0 and variance 1 (signs are best): the divergence is then estimated
        (Hutchinson, eq. 40) with K extra backward passes. None computes it exactly with one backward pass per
        dimension: small x only.
    """
    if levels[-1].sigma == 0:
        raise ValueError("the likelihood at sigma = 0 is not defined: take levels[:-1] and x at its last level")
    batch = x.shape[0]
    directions = _basis(x) if probes is None else probes

    def velocity(state: Tensor, at: Level) -> Tensor:
        """The velocity of [y, running divergence], both flat: (B, D + 1)."""
        with torch.enable_grad():
            y = state[:, :-1].reshape(x.shape).detach().requires_grad_()
            move = _velocity(y, denoise(y * _scale(at), at).x0, at)
            trace = torch.zeros(batch, dtype=x.dtype, device=x.device)
            for probe in directions:
                (back,) = torch.autograd.grad(move, y, probe, retain_graph=True)
                trace += (back * probe).flatten(1).sum(1)
        share = 1 if probes is None else len(probes)
        return torch.cat([move.detach().flatten(1), (trace / share)[:, None]], dim=1)

    flat = (x / _scale(levels[-1])).flatten(1)
    state = torch.cat([flat, flat.new_zeros(batch, 1)], dim=1)
    for s, t in pairwise(reversed(levels)):
        state = _runge_kutta(velocity, state, s, t, level_at)
    noise, divergence = state[:, :-1], state[:, -1]
    dims = noise.shape[1]
    prior = -0.5 * (noise.square().sum(1) + dims * math.log(2 * math.pi))
    return prior + divergence - dims * math.log(_scale(levels[-1]))


def _basis(x: Tensor) -> Tensor:
    """The unit vectors of one sample's space, each for the whole batch: (D, B, ...)."""
    dims = x[0].numel()
    unit = torch.eye(dims, dtype=x.dtype, device=x.device).view(dims, 1, *x.shape[1:])
    return unit.expand(dims, *x.shape)


def _scale(at: Level) -> float:
    return math.hypot(at.alpha, at.sigma)


def _angle(at: Level) -> float:
    return math.atan2(at.sigma, at.alpha)


def _velocity(y: Tensor, x0: Tensor, at: Level) -> Tensor:
    """dy/dphi of y = x / sqrt(alpha² + sigma²)."""
    scale = _scale(at)
    return (y * (at.alpha / scale) - x0) * (scale / at.sigma)


def _runge_kutta(
    velocity: Callable[[Tensor, Level], Tensor], y: Tensor, t: Level, s: Level, level_at: LevelAt
) -> Tensor:
    """One classical fourth-order step of dy/dphi = velocity from level t to level s."""
    h = _angle(s) - _angle(t)
    middle = level_at(-2 * math.log(math.tan(_angle(t) + h / 2)))
    first = velocity(y, t)
    second = velocity(y + h / 2 * first, middle)
    third = velocity(y + h / 2 * second, middle)
    fourth = velocity(y + h * third, s)
    return y + h / 6 * (first + 2 * second + 2 * third + fourth)
