"""Solvers of few calls fitted to a model, on what its guided denoiser draws of real references in many steps."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..diffusion import fitting
from ..diffusion.denoiser import Denoised, Denoiser
from ..diffusion.distill import path_of
from ..diffusion.levels import trailing
from ..diffusion.sample import sample, seeded_noise
from ..diffusion.schedule import Level
from ..ecg.store.recordings import Recordings
from ..twin.fast import SOLVER, FittedSolvers
from ..twin.twin import ECGTwin
from .distill import Group, groups

STEPS, BATCH = 20, 16
"""Of the long run, whose levels the short ones are chosen from; requests at the same scales in a group."""
LATER = 1.5
"""Calls are first tried at the (k / calls) ** LATER-th part of the long run: closer together where there is much noise.
"""


class Taught(NamedTuple):
    """The denoiser of a batch of requests, each at its own scales, and their long runs (B, K + 1, Z, T)."""

    denoise: Denoiser
    path: Tensor


def taught(model: ECGTwin, asked: Iterable[Group], levels: Sequence[Level]) -> Taught:
    """What groups of requests are answered in many steps."""
    parts, paths = [], []
    for group in asked:
        scales = {"guidance": group.guidance, "base_guidance": group.base_guidance}
        parts.append(model.denoiser(group.requests, **scales, visited=levels))
        x = seeded_noise([r.seed for r in group.requests])(torch.empty(len(group.requests), *model.latent))
        paths.append(path_of(parts[-1], x.to(model.device), levels, SOLVER))

    def denoise(x: Tensor, at: Level) -> Denoised:
        sizes = [len(path) for path in paths]
        return Denoised(torch.cat([one(rows, at).x0 for one, rows in zip(parts, x.split(sizes), strict=True)]))

    return Taught(denoise, torch.cat(paths))


@torch.inference_mode()
def fitted(
    model: ECGTwin,
    recordings: Recordings,
    calls: Sequence[int],
    *,
    usual: int,
    references: int = 320,
    seed: int = 0,
    told: Callable[[str], None] = lambda words: None,
) -> tuple[FittedSolvers, dict[str, Any]]:
    """A solver for each number of calls, and how far from the long run of held-out patients' references it ends beside
    UniPC with as many: median over references of the root mean square over leads, in uV.

    usual: the number of calls of `fast` where nobody says one. references: of training patients; a quarter as many
    others are enough to choose levels by, and to tell of validation patients.
    """
    if usual not in calls:
        raise ValueError(f"usual {usual}: expected one of the calls that are fitted, {', '.join(map(str, calls))}")
    levels, made = trailing(model.schedule, STEPS), {}
    for name, split, n, k in (
        ("tried", "train", references // 4, 0),
        ("all", "train", references, 1),
        ("held", "validation", references // 4, 2),
    ):
        chosen = recordings.only(split, simulated=False)
        chosen = chosen if len(chosen) else recordings.only(split)
        if not len(chosen):
            raise ValueError(f"no usable ECG in split {split}: prepare a store with such patients")
        made[name] = taught(model, islice(groups(model, chosen, BATCH, 3 * seed + k), -(-n // BATCH)), levels)
        told(f"{name}: {len(made[name].path)} long runs")
    ends = microvolts(model, made["held"].path[:, -1])
    solvers, rows = {}, {}
    for n in calls:
        start = tuple(round(STEPS * (k / n) ** LATER) for k in range(n))
        asked = fitting.search(*made["tried"], levels, n, start=start, told=lambda a, e: told(f"{a}: {e:.4f}"))
        solvers[n], _ = fitting.fit(*made["all"], levels, asked)
        x = made["held"].path[:, 0]
        rows[str(n)] = {"asked": list(asked), "t": list(solvers[n].indices)}
        for name, one, spacing in (("fitted", solvers[n], solvers[n].levels), ("unipc", SOLVER, trailing)):
            z = sample(made["held"].denoise, x, spacing(model.schedule, n), one)
            apart = (microvolts(model, z) - ends).square().mean((1, 2)).sqrt()
            rows[str(n)][f"{name}_uv"] = float(apart.median())
        told(f"{n} calls: {rows[str(n)]}")
    counts = {name: len(one.path) for name, one in made.items()}
    return FittedSolvers(usual, solvers), {"calls": rows, "references": counts, "seed": seed, "steps": STEPS}


def microvolts(model: ECGTwin, z: Tensor) -> Tensor:
    return 1000 * torch.cat([model.parts.vae.decode(part) for part in z.split(BATCH)])
