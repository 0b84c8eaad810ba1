"""The loop: walk down a list of levels with a solver, or up again (inversion, editing), with one seed per sample."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import index
from typing import NamedTuple

import torch
from torch import Tensor

from .denoiser import Denoised, Denoiser
from .schedule import Level
from .solvers.solver import Evaluation, History, Noise, Solver


class Moment(NamedTuple):
    """Where a run is after a step: x at level `at`, and the estimate of x0 that the step used (for pictures)."""

    step: int
    at: Level
    x: Tensor
    x0: Tensor


def seeded_noise(seeds: Sequence[int]) -> Noise:
    """A replacement for torch.randn_like with one generator per sample, so sample k never depends on its neighbours.

    seeds: one per sample of the batch, 0 … 2**64 - 1, at least one; ValueError else. The noise is drawn on the CPU in
    float32 and is the same for every device and type; each further call goes on in the same B streams. x_T: `noise =
    seeded_noise(seeds); x = noise(torch.empty(B, 4, 128))`.
    """
    if len(seeds) == 0:
        raise ValueError("no seeds: give one for each sample, and at least one sample")
    for seed in seeds:
        if index(seed) != seed or not 0 <= seed < 2**64:
            raise ValueError(f"seed {seed}: give a whole number from 0 to 2**64 - 1")
    generators = [torch.Generator().manual_seed(index(seed)) for seed in seeds]

    def noise(like: Tensor) -> Tensor:
        if like.shape[0] != len(generators):
            raise ValueError(f"{like.shape[0]} samples but {len(generators)} seeds: give one seed per sample")
        drawn = torch.empty(like.shape)
        for row, generator in zip(drawn, generators, strict=True):
            row.normal_(generator=generator)
        return drawn.to(device=like.device, dtype=like.dtype)

    return noise


def trajectory(
    denoise: Denoiser, x: Tensor, levels: Sequence[Level], solver: Solver, noise: Noise = torch.randn_like
) -> Iterator[Moment]:
    """Each step of the run, as it is made: for progress bars, pictures and early stops.

    x: (B, ...) at levels[0]; for a variance-preserving schedule simply noise. levels: two or more, noise falling
    strictly; the last may be clean. noise: draws fresh noise shaped like its argument; `seeded_noise(seeds)` gives one
    stream per sample. Gradients flow unless the caller turns them off (torch.inference_mode() saves memory and time).
    """
    check_levels(levels)
    _refuse_empty(x)
    return _walk(denoise, x, levels, solver, noise)


def sample(
    denoise: Denoiser, x: Tensor, levels: Sequence[Level], solver: Solver, noise: Noise = torch.randn_like
) -> Tensor:
    """x at the last level of the run: the end of `trajectory`, which documents the arguments."""
    for moment in trajectory(denoise, x, levels, solver, noise):
        x = moment.x
    return x


def invert(
    denoise: Denoiser,
    x: Tensor,
    levels: Sequence[Level],
    solver: Solver,
    *,
    tolerance: float | None = None,
    most: int = 100,
) -> Tensor:
    """The noise at levels[0] from which `solver` would lead to x at levels[-1]: a sampling run backwards.

    By default the solver itself walks up, which is the inverse to its order (DDIM inversion; Heun is far closer). With
    a `tolerance` every step is solved as an equation by fixed-point iteration until the step down from the answer
    meets x within tolerance (largest absolute difference, each sample by itself): then it is the exact inverse. Where
    steps are too large for that, it raises RuntimeError after `most` iterations. Exact inverses need a deterministic
    solver without memory: DDIM(), Euler() or Heun(), else ValueError. To change a sample, `edit` is exact at a lower
    price, with any number of steps.

    levels: those of the run, noisiest first, without the clean end (ValueError): at sigma = 0 the noise is gone and
    nothing can be inverted. Use levels[:-1] both here and for the way back, and treat x as a sample at levels[-1].
    """
    _refuse_clean(levels)
    _refuse_empty(x)
    if tolerance is None:
        *_, x = _ascend(denoise, x, levels, solver)
        return x
    _refuse_memory(solver, levels)
    for s, t in pairwise(reversed(levels)):
        up, _past = solver.step(denoise, x, s, t, (), _no_noise)
        x = _solve(denoise, x, up, t, s, solver, tolerance, most)
    return x


def edit(before: Denoiser, after: Denoiser, x: Tensor, levels: Sequence[Level], solver: Solver) -> Iterator[Moment]:
    """x changed by the difference between two denoisers: up under `before`, down under
    `after`, yielding every step down.

    With after = before it returns to x, to rounding, with any number of steps: on the way down each step adds what
    `before` misses of its own way up (direct inversion, Ju et al. 2023, arXiv 2310.01506, algorithm 1). Only what the
    two disagree on changes. levels, solver: as in `invert`, without memory (ValueError).
    """
    _refuse_clean(levels)
    _refuse_empty(x)
    _refuse_memory(solver, levels)
    ups = [x, *_ascend(before, x, levels, solver)]
    return _descend(before, after, ups[::-1], levels, solver)


def check_levels(levels: Sequence[Level]) -> None:
    """ValueError unless there are two or more levels and the noise falls strictly from each to the next."""
    if len(levels) < 2:
        raise ValueError(f"{len(levels)} levels: a run needs at least a start and an end")
    for before, after in pairwise(levels):
        if not after.logsnr > before.logsnr:
            raise ValueError(
                f"level t = {after.t:g} (log-SNR {after.logsnr:.6g}) follows t = {before.t:g} ({before.logsnr:.6g}): "
                "the noise must fall strictly from each level to the next"
            )


def _walk(denoise: Denoiser, x: Tensor, levels: Sequence[Level], solver: Solver, noise: Noise) -> Iterator[Moment]:
    past: History = ()
    for step, (t, s) in enumerate(pairwise(levels)):
        x, past = solver.step(denoise, x, t, s, past, noise)
        yield Moment(step, s, x, past[0].x0)


def _ascend(denoise: Denoiser, x: Tensor, levels: Sequence[Level], solver: Solver) -> Iterator[Tensor]:
    """x at each level above the last, by the solver's own steps upwards."""
    history: History = ()
    for s, t in pairwise(reversed(levels)):
        x, history = solver.step(denoise, x, s, t, history, _no_noise)
        yield x


def _descend(
    before: Denoiser, after: Denoiser, way: Sequence[Tensor], levels: Sequence[Level], solver: Solver
) -> Iterator[Moment]:
    """The steps down under `after`, each with what `before` misses of `way`, the states at the levels."""
    x = way[0]
    for step, (t, s) in enumerate(pairwise(levels)):
        missed = way[step + 1] - solver.step(before, way[step], t, s, (), _no_noise)[0]
        moved, past = solver.step(after, x, t, s, (), _no_noise)
        x = moved.add_(missed)
        yield Moment(step, s, x, past[0].x0)


def _solve(
    denoise: Denoiser, goal: Tensor, x: Tensor, t: Level, s: Level, solver: Solver, tolerance: float, most: int
) -> Tensor:
    """x at the noisier t from which one step leads to `goal` at s, starting from a first guess x.

    In x / hypot(alpha, sigma) a step is a small change, so what it misses of the goal is nearly
    what its start must change by.
    """
    scale = math.hypot(t.alpha, t.sigma) / math.hypot(s.alpha, s.sigma)
    for _ in range(most):
        gap = goal - solver.step(denoise, x, t, s, (), _no_noise)[0]
        open_ = gap.flatten(1).abs().amax(1) > tolerance  # (B,); a sample that has arrived moves no more
        if not bool(open_.any()):
            return x
        x = x.add(gap * open_.view(-1, *[1] * (x.ndim - 1)), alpha=scale)
    raise RuntimeError(
        f"the step from t = {t.t:g} to {s.t:g} was not inverted to {tolerance:g} in {most} iterations: "
        "take more steps, a lower guidance scale, or a larger tolerance"
    )


def _refuse_clean(levels: Sequence[Level]) -> None:
    check_levels(levels)
    if levels[-1].sigma == 0:
        raise ValueError("inversion cannot start at the clean level: use levels[:-1] both to invert and to regenerate")


def _refuse_empty(x: Tensor) -> None:
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(f"x of shape {tuple(x.shape)}: give (B, ...) with one sample or more")


def _refuse_memory(solver: Solver, levels: Sequence[Level]) -> None:
    """A step that depends on the past cannot be solved for on its own, and would be inverted wrongly without a word."""
    t, s = levels[:2]
    x = torch.ones(1, 1, dtype=torch.float64)

    def half(x: Tensor, at: Level) -> Denoised:
        return Denoised(x / 2)

    fresh, _ = solver.step(half, x, t, s, (), _no_noise)
    informed, _ = solver.step(half, x, t, s, (Evaluation(s, 2 * x, 3 * x),), _no_noise)
    if not torch.equal(fresh, informed):
        raise ValueError(f"{solver} remembers earlier steps, so it has no exact inverse: use DDIM(), Euler() or Heun()")


def _no_noise(like: Tensor) -> Tensor:
    raise ValueError("a solver that asks for noise cannot be inverted: use DDIM(), Euler() or Heun() without churn")
