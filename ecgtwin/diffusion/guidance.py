"""Guidance: functions from denoisers to denoisers. Written on x0, they are the same in eps, v and score."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .denoiser import Denoised, Denoiser
from .schedule import Level


def guide(toward: Denoiser, away: Denoiser, scale: float, *, rescale: float = 0.0) -> Denoiser:
    """x0 = away + scale * (toward - away): further along the direction from one denoiser to another.

    Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, eq. 6 with w = scale - 1): toward has the condition,
    away has none. Autoguidance (Karras et al. 2024, arXiv 2406.02507): away is a smaller or less trained network with
    the same condition. scale 1 is `toward` itself and 0 is `away` itself, each at the price of one network; others call
    both.
    rescale: 0 … 1, how far to bring the spread of each sample back
    to that of `toward` (arXiv 2305.08891, section 3.4, on x0).
    """
    check(rescale, scale)
    if scale == 1:
        return toward
    if scale == 0:
        return away

    def guided(x: Tensor, at: Level) -> Denoised:
        wanted = toward(x, at)
        x0 = wanted.x0.mul(scale).add_(away(x, at).x0, alpha=1 - scale)
        return Denoised(rescaled(x0, wanted.x0, rescale), wanted.variance_mix)

    return guided


def check(rescale: float, *scales: float) -> None:
    """ValueError for a rescale outside 0 … 1 and for scales that are not finite, which would draw nothing but NaN."""
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale {rescale}: give 0 (off) to 1 (the spread of the conditional estimate)")
    for scale in scales:
        if not math.isfinite(scale):
            raise ValueError(f"guidance {scale}: give a finite number; 1 = as learned")


def rescaled(x0: Tensor, wanted: Tensor, share: float) -> Tensor:
    """x0 with the spread of each sample brought back to that of `wanted`, as far as `share` says."""
    if not share:
        return x0
    dims = tuple(range(1, x0.ndim))
    ratio = wanted.std(dims, keepdim=True) / x0.std(dims, keepdim=True)
    return x0 * (1 - share + share * ratio)


def guide_two_ways(
    nothing: Denoiser, first: Denoiser, both: Denoiser, first_scale: float, second_scale: float, *, rescale: float = 0.0
) -> Denoiser:
    """x0 = nothing + first_scale * (first - nothing) + second_scale
    * (both - first): one scale for each of two conditions.

    `first` knows the first condition alone, `both` knows both (Brooks et al. 2023, arXiv 2211.09800, eq. 3). For a
    twin: the first condition is the identity, the second the state of the heart. A denoiser whose weight is 0 is not
    called. rescale: as in `guide`, to the spread of `both`.
    """
    terms = zip((nothing, first, both), two_ways(first_scale, second_scale, rescale=rescale), strict=True)
    used = [(denoise, weight) for denoise, weight in terms if weight != 0]
    if len(used) == 1 and used[0][1] == 1:
        return used[0][0]

    def guided(x: Tensor, at: Level) -> Denoised:
        (denoise, weight), *others = reversed(used)
        wanted, mix = denoise(x, at)
        x0 = wanted.mul(weight)
        for denoise, weight in others:
            x0 = x0.add_(denoise(x, at).x0, alpha=weight)
        return Denoised(rescaled(x0, wanted, rescale), mix)

    return guided


def two_ways(first_scale: float, second_scale: float, *, rescale: float = 0.0) -> tuple[float, float, float]:
    """The weights of (nothing, first, both) in `guide_two_ways`, with its errors. They add up to 1."""
    check(rescale, first_scale, second_scale)
    if rescale and second_scale == 0:
        raise ValueError(
            f"rescale {rescale} takes the spread of what knows both, but second_scale 0 leaves that out: give 0"
        )
    return 1 - first_scale, first_scale - second_scale, second_scale


def weigh(denoise: Denoiser, weights: Sequence[float], *, rescale: float = 0.0) -> Denoiser:
    """x0 = sum of weights[k] x0_k over K conditions, in one call of the network in place of K.

    denoise: knows K B conditions, those of x (B, ...) under the first weight, then those under the second, and so on;
    it is asked for x repeated K times. The same as calling it for each k, to the rounding of batched products, and
    faster where the batch alone leaves a machine idle. rescale: as in `guide`, to the spread under the last weight.
    """
    check(rescale, *weights)
    if not len(weights):
        raise ValueError("no weights: give one for each condition, and at least one")

    def guided(x: Tensor, at: Level) -> Denoised:
        found, mix = denoise(x.repeat(len(weights), *[1] * (x.ndim - 1)), at)
        parts = found.chunk(len(weights))
        x0 = parts[-1].mul(weights[-1])
        for part, weight in zip(parts[:-1], weights[:-1], strict=True):
            x0 = x0.add_(part, alpha=weight)
        return Denoised(rescaled(x0, parts[-1], rescale), None if mix is None else mix.chunk(len(weights))[-1])

    return guided


def within(guided: Denoiser, plain: Denoiser, low: float, high: float) -> Denoiser:
    """`guided` where low <= log-SNR <= high and `plain` elsewhere,
    called alone there (Kynkäänniemi et al. 2024, arXiv 2404.07724)."""
    if not low < high:
        raise ValueError(f"interval {low} … {high}: the lower log-SNR (more noise) comes first")

    def chosen(x: Tensor, at: Level) -> Denoised:
        return guided(x, at) if low <= at.logsnr <= high else plain(x, at)

    return chosen


def classify(denoise: Denoiser, log_prob: Callable[[Tensor, Level], Tensor], scale: float = 1.0) -> Denoiser:
    """Classifier guidance: score + scale * gradient of log p(y | x), that is x0 + scale * sigma²/alpha * gradient.

    (Dhariwal & Nichol 2021, arXiv 2105.05233, eq. 10-14.)
    log_prob: (x, level) -> (B,), the log-probability of the wanted label given the *noisy* x; must be differentiable.
    At alpha = 0 this raises ValueError: a classifier can know nothing there; wrap it in `within`.
    """
    check(0.0, scale)

    def guided(x: Tensor, at: Level) -> Denoised:
        if at.alpha == 0:
            raise ValueError(
                f"classifier guidance was asked at alpha = 0 (t = {at.t:g}), where x says nothing of its label: "
                "use within(classify(…), denoise, low, high) with a finite low, or start from a level with alpha > 0"
            )
        with torch.inference_mode(False), torch.enable_grad():
            leaf = x.clone().detach().requires_grad_()  # a copy: what inference made has no gradients
            (gradient,) = torch.autograd.grad(log_prob(leaf, at).sum(), leaf)
        x0, mix = denoise(x, at)
        return Denoised(x0.add(gradient, alpha=scale * at.sigma**2 / at.alpha), mix)

    return guided
