"""What a network is trained to minimise: one number per sample,
so that the caller may weigh, log or average as it likes."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .denoiser import Network, Prediction, mixture, read_scale, split_variance, target, to_x0
from .schedule import Flow, Schedule
from .solvers.solver import kept, posterior_spread, transition_spread

Weight = Callable[[Tensor], Tensor]
Teacher = tuple[Network, Tensor]
"""A network that is not trained, and rows (B,) bool of which its answers are the targets."""


def simple(
    network: Network,
    condition: Any,
    x0: Tensor,
    i: Tensor,
    eps: Tensor,
    schedule: Schedule | Flow,
    prediction: Prediction,
    weight: Weight | None = None,
    teacher: Teacher | None = None,
) -> Tensor:
    """Squared error of the prediction, averaged over each sample: (B,) (Ho et al. 2020, arXiv 2006.11239, eq. 14).

    x0, eps: (B, ...), clean samples and standard normal noise. i: (B,) indices of the schedule. network: as in `bind`.
    weight: how much an error of x0 counts at each signal-to-noise ratio, e.g. min_snr(5.0); it is translated into the
        units of the prediction. None: every prediction counts as it comes. teacher: what is to be kept, see `Teacher`.
    """
    alpha, sigma = schedule.alpha_sigma(i)
    a, b = _like(alpha, x0), _like(sigma, x0)
    given = read_scale(prediction, a, b) * (a * x0 + b * eps), i.float(), condition
    output, wanted = network(*given), target(prediction, x0, eps, a, b).float()
    if output.shape != x0.shape:
        raise ValueError(f"the network answered {tuple(output.shape)} to {tuple(x0.shape)}: expected the same shape")
    if teacher is not None:
        with torch.no_grad():
            wanted = torch.where(_like(teacher[1], x0), teacher[0](*given).float(), wanted)
    error = _mean((output.float() - wanted).square())
    return error if weight is None else error * prediction_weight(weight, alpha, sigma, prediction)


def hybrid(
    network: Network,
    condition: Any,
    x0: Tensor,
    i: Tensor,
    eps: Tensor,
    schedule: Schedule,
    prediction: Prediction,
    weight: Weight | None = None,
    bound_weight: float | None = None,
) -> Tensor:
    """`simple` plus the variational bound that teaches the network its variance: (B,) (arXiv 2102.09672, eq. 16).

    network: answers with twice the channels on axis 1, the prediction and the variance mix. The bound does not reach
        the prediction: its gradient stops at the mean (section 3.1).
    bound_weight: factor on the bound of one step, nats per entry;
    by default 0.001 T, the paper's 0.001 on the sum over T.
    """
    alpha, sigma = schedule.alpha_sigma(i)
    a, b = _like(alpha, x0), _like(sigma, x0)
    x = a * x0 + b * eps
    output, mix = split_variance(network(read_scale(prediction, a, b) * x, i.float(), condition), x)
    error = _mean((output.float() - target(prediction, x0, eps, a, b).float()).square())
    if weight is not None:
        error = error * prediction_weight(weight, alpha, sigma, prediction)
    guess = to_x0(prediction, output.detach().float(), x, a, b)
    factor = 0.001 * schedule.length if bound_weight is None else bound_weight
    return error + factor * _mean(bound(guess, mix.float(), x0, i, schedule))


def bound(guess: Tensor, mix: Tensor, x0: Tensor, i: Tensor, schedule: Schedule) -> Tensor:
    """The term of the variational bound that belongs to the step i -> i - 1, nats per entry, shaped like x0.

    KL(q(x_{i-1} | x_i, x0) || p(x_{i-1} | x_i)) (arXiv 2006.11239, eq. 5-7), both Gaussian;
    the model's has the mean that `guess` of x0 gives and the log-variance (1 - m) log small +
    m log large, m = (mix + 1)/2 (arXiv 2102.09672, eq. 15). For i = 0, where q has no spread,
    it is -log p(x0 | x_0), and the small variance is that of i = 1, so as to be finite.
    """
    gain, log_small, log_large = (_like(column, x0) for column in _steps(schedule).to(i.device)[:, i])
    log_model = log_small + (mix + 1) / 2 * (log_large - log_small)
    surprise = (gain * (x0 - guess)).square() * torch.exp(-log_model)
    divergence = 0.5 * (log_model - log_small - 1 + torch.exp(log_small - log_model) + surprise)
    decoder = 0.5 * (math.log(2 * math.pi) + log_model + surprise)
    return torch.where(_like(i, x0) == 0, decoder, divergence)


@lru_cache(maxsize=8)
def _steps(schedule: Schedule) -> Tensor:
    """(3, T) float32 for the steps i -> i - 1: how far an error of x0 moves the mean, and the log of the small and of
    the large variance. Worked out in float64, since each is a difference of nearly equal numbers."""
    rows = []
    for i in range(schedule.length):
        t, s = schedule.level(i), schedule.level(i - 1)
        small = posterior_spread(t, s)
        floor = posterior_spread(schedule.level(1), schedule.level(0)) if i == 0 else small
        rows.append((s.alpha - t.alpha * kept(t, s, small), 2 * math.log(floor), 2 * math.log(transition_spread(t, s))))
    return torch.tensor(rows).T


def prediction_weight(weight: Weight, alpha: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
    """The factor on the squared error of this prediction that makes an error of x0 count weight(SNR): (B,).

    At fixed x an error d of x0 is an error (p - q alpha/sigma) d of p x0 + q eps: SNR d² in eps, (SNR + 1) d² in v.
    """
    # At alpha = 0 an eps weight is 0/0; its limit exists for the weights below, and a tiny SNR reaches it to rounding.
    snr = (alpha / sigma).square().clamp_min(1e-12)
    p, q = mixture(prediction, alpha, sigma)
    return weight(snr) / (p - q * snr.sqrt()) ** 2


def min_snr(gamma: float = 5.0) -> Weight:
    """min(SNR, gamma) on x0: easy, nearly clean levels do not drown the others (Hang et al. 2023, arXiv 2303.09556)."""
    if not gamma > 0:
        raise ValueError(f"gamma {gamma}: give a positive number, 5 in the paper")
    return lambda snr: snr.clamp(max=gamma)


def p2(k: float = 1.0, gamma: float = 1.0) -> Weight:
    """SNR / (k + SNR)^gamma on x0: more weight where content is decided (Choi et al. 2022, arXiv 2204.00227, eq. 8)."""
    return lambda snr: snr / (k + snr) ** gamma


def snr(truncate: float = 0.0) -> Weight:
    """max(SNR, truncate) on x0: 0 is the plain eps loss, 1 the truncated
    SNR of Salimans & Ho 2022 (arXiv 2202.00512, section 4)."""
    return lambda ratio: ratio.clamp(min=truncate)


def _like(per_sample: Tensor, x: Tensor) -> Tensor:
    return per_sample.view(-1, *[1] * (x.ndim - 1))


def _mean(x: Tensor) -> Tensor:
    """The mean over everything but the batch: (B, ...) -> (B,)."""
    return x.flatten(1).mean(1)
