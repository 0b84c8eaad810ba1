"""What a network predicts, and the one contract that solvers see: a Denoiser maps (x, level) to an estimate of x0.

Every prediction is a mixture p * x0 + q * eps with p, q known
from the level, so one linear solve turns any of them into x0:

    eps: (0, 1)    x0: (1, 0)    v: (-sigma, alpha)    score: (0, -1/sigma)    flow: (-1, 1)    EDM: see there
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from .schedule import Level

Named = Literal["eps", "x0", "v", "score", "flow"]
Network = Callable[[Tensor, Tensor, Any], Tensor]


@dataclass(frozen=True)
class EDM:
    """Preconditioning after Karras et al. 2022 (arXiv 2206.00364, section 5 and table 1): c_skip, c_out and c_in such
    that what the network reads and what it answers have variance 1, for data of standard deviation `data_std`.

    In this package's x = alpha x0 + sigma eps, with n = sqrt(sigma² + alpha² data_std²): it reads x / n and
    answers sigma/(data_std n) x0 - alpha data_std/n eps, so the plain loss is the paper's, with lambda =
    1/c_out². On a variance-preserving schedule with data_std 1 it is -v. In the place of c_noise the
    network is told the level's index.
    """

    data_std: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.data_std < float("inf"):
            raise ValueError(f"data_std {self.data_std}: give a positive number, the data's standard deviation")


Prediction = Named | EDM


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
    if isinstance(prediction, EDM):
        n = (sigma**2 + (alpha * prediction.data_std) ** 2) ** 0.5
        return sigma / (prediction.data_std * n), -alpha * prediction.data_std / n
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
    raise ValueError(f"prediction {prediction!r}: give one of {', '.join(get_args(Named))}")


def read_scale(prediction: Prediction, alpha: Any, sigma: Any) -> Any:
    """What x is multiplied by before the network reads it: 1/n of EDM, 1 of all others."""
    if not isinstance(prediction, EDM):
        return 1.0
    return (sigma**2 + (alpha * prediction.data_std) ** 2) ** -0.5


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

    def answer(x: Tensor, at: Level) -> Tensor:
        return network(x, torch.full((x.shape[0],), at.t, dtype=torch.float32, device=x.device), condition)

    return read(answer, prediction, learned_variance=learned_variance)


def read(
    answer: Callable[[Tensor, Level], Tensor], prediction: Prediction, *, learned_variance: bool = False
) -> Denoiser:
    """As `bind`, of a network whose conditions are bound already: called as answer(x, level)."""
    mixture(prediction, 1.0, 1.0)  # an unknown name is an error here, not at the first step

    def denoise(x: Tensor, at: Level) -> Denoised:
        if at.alpha == 0 and prediction in ("eps", "score"):
            raise ValueError(
                f"a network that predicts {prediction} was asked at alpha = 0 (t = {at.t:g}), where its answer holds "
                "nothing about x0: start from a level with alpha > 0, or train with prediction v or x0"
            )
        scale = read_scale(prediction, at.alpha, at.sigma)
        output = answer(x if scale == 1.0 else x * scale, at)
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


def threshold_x0(denoise: Denoiser, fraction: float = 0.995, least: float = 1.0) -> Denoiser:
    """Dynamic thresholding (Saharia et al. 2022, arXiv 2205.11487, section 2.3): of each sample, s is the `fraction`
    quantile of |x0|; where s exceeds `least`, x0 is held inside [-s, s] and divided by s/least. Strong guidance then
    bends what is too large in place of cutting it off. For pixels in [-least, least]."""
    if not 0 < fraction <= 1 or not least > 0:
        raise ValueError(f"fraction {fraction}, least {least}: give a quantile in 0 … 1, and a positive limit")

    def held(x: Tensor, at: Level) -> Denoised:
        x0, mix = denoise(x, at)
        s = (
            _wide(x0)
            .abs()
            .flatten(1)
            .quantile(fraction, dim=1)
            .clamp_min(least)
            .view(-1, *[1] * (x0.ndim - 1))
            .to(x0.dtype)
        )
        return Denoised(x0.clamp(-s, s) * (least / s), mix)

    return held
