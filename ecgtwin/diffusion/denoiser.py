"""What a network predicts, and the one contract that solvers see: a Denoiser maps (x, level) to an estimate of x0.

Every prediction is a mixture p * x0 + q * eps with p, q known
from the level, so one linear solve turns any of them into x0:

    eps: (0, 1)    x0: (1, 0)    v: (-sigma, alpha)    score: (0, -1/sigma)    flow: (-1, 1)
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from .schedule import Level

Prediction = Literal["eps", "x0", "v", "score", "flow"]
Network = Callable[[Tensor, Tensor, Any], Tensor]


class Denoised(NamedTuple):
    """An estimate of the clean x0, shaped like x; `variance_mix`
    in [-1, 1] where the network also learned its variance."""

    x0: Tensor
    variance_mix: Tensor | None = None


class Denoiser(Protocol):
    """Estimates the clean x0 behind x, where the whole batch x (B, ...) is at one level."""

    def __call__(self, x: Tensor, at: Level) -> Denoised: ...


def mixture(prediction: Prediction, alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """(p, q) with prediction = p * x0 + q * eps; alpha and sigma are floats or tensors.

    v: Salimans & Ho 2022 (arXiv 2202.00512, appendix D). flow: the velocity eps - x0 of the straight path
    (Liu et al. 2022, arXiv 2209.03003, eq. 1; Lipman et al. 2022, arXiv 2210.02747).
    """
    match prediction:
        case "eps":
            return 0.0, 1.0
        case "x0":
            return 1.0, 0.0
        case "v":
            return -sigma, alpha
        case "score":
            return 0.0, -1 / sigma
        case "flow":
            return -1.0, 1.0
    raise ValueError(f"prediction {prediction!r}: give one of {', '.join(get_args(Prediction))}")


def target(prediction: Prediction, x0: Tensor, eps: Tensor, alpha: Any, sigma: Any) -> Tensor:
    """What a network with this prediction should answer; alpha, sigma: floats, or tensors that broadcast against x0."""
    p, q = mixture(prediction, alpha, sigma)
    return p * x0 + q * eps


def to_x0(prediction: Prediction, output: Tensor, x: Tensor, alpha: Any, sigma: Any) -> Tensor:
    """The x0 that this output stands for, in the type of x: (q x - sigma output) / (alpha q - sigma p), the solution of
    x = alpha x0 + sigma eps, output = p x0 + q eps. alpha, sigma: floats, or tensors that broadcast against x.

    In eps and score the divisor vanishes with alpha, so large numbers are subtracted before the division, and half
    precision is widened to float32 for it.
    """
    if prediction == "x0":
        return output.to(x.dtype)
    p, q = mixture(prediction, alpha, sigma)
    determinant = alpha * q - sigma * p
    before, after = (1.0, determinant) if prediction in ("eps", "score") else (determinant, 1.0)
    a, b = q / before, -sigma / before
    first, second = a * _wide(x), _wide(output)
    total = first.add_(b * second) if isinstance(b, Tensor) else first.add_(second, alpha=b)
    return total.div_(after).to(x.dtype)


def to_eps(x: Tensor, x0: Tensor, alpha: Any, sigma: Any) -> Tensor:
    """The noise in x if x0 is what lies behind it, in the type of x: eps = (x - alpha x0) / sigma."""
    return (_wide(x) - alpha * _wide(x0)).div_(sigma).to(x.dtype)


def to_score(x: Tensor, x0: Tensor, alpha: Any, sigma: Any) -> Tensor:
    """The gradient of the log-density of noisy x, in the type of x: score = (alpha x0 - x) / sigma² = -eps / sigma."""
    return (alpha * _wide(x0) - _wide(x)).div_(sigma**2).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    """bfloat16 and float16 as float32; wider types as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def bind(network: Network, condition: Any, prediction: Prediction, *, learned_variance: bool = False) -> Denoiser:
    """The denoiser that a network is under one condition.

    network: called as network(x, t, condition), x (B, ...), t (B,) float32 indices; answers like x, or with twice the
        channels on axis 1 (prediction, then variance mix) when `learned_variance`.
    condition: handed through untouched.
    Calling the result where alpha = 0 with eps or score raises ValueError: such an output says nothing about x0 there.
    """
    mixture(prediction, 1.0, 1.0)  # an unknown name is an error here, not at the first step

    def denoise(x: Tensor, at: Level) -> Denoised:
        if at.alpha == 0 and prediction in ("eps", "score"):
            raise ValueError(
                f"a network that predicts {prediction} was asked at alpha = 0 (t = {at.t:g}), where its answer holds "
                "nothing about x0: start from a level with alpha > 0, or train with prediction v or x0"
            )
        t = torch.full((x.shape[0],), at.t, dtype=torch.float32, device=x.device)
        output = network(x, t, condition)
        mix = None
        if learned_variance:
            output, mix = split_variance(output, x)
        elif output.shape != x.shape:
            raise ValueError(
                f"the network answered {tuple(output.shape)} to {tuple(x.shape)}: expected the same shape "
                "(twice the channels need learned_variance=True)"
            )
        return Denoised(to_x0(prediction, output, x, at.alpha, at.sigma), mix)

    return denoise


def split_variance(output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(prediction, variance mix) of a network that answers with twice the channels: (B, 2C, ...) -> two (B, C, ...)."""
    if output.ndim != x.ndim or output.shape[1] != 2 * x.shape[1] or output.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"the network answered {tuple(output.shape)} to {tuple(x.shape)}: "
            "learned_variance=True expects twice the channels"
        )
    prediction, mix = output.chunk(2, dim=1)
    return prediction, mix


def clamp_x0(denoise: Denoiser, low: float, high: float) -> Denoiser:
    """The same denoiser with every x0 held inside [low, high]: for pixels. Never done unless asked for."""
    if not low < high:
        raise ValueError(f"clamp to {low} … {high}: the lower number comes first")

    def clamped(x: Tensor, at: Level) -> Denoised:
        x0, mix = denoise(x, at)
        return Denoised(x0.clamp(low, high), mix)

    return clamped
