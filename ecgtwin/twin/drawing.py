"""Signals drawn for requests: the guided denoiser, walked from noise. Each function is a method of `ECGTwin`."""

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..diffusion.denoiser import Denoiser
from ..diffusion.guidance import classify, two_ways, weigh, within
from ..diffusion.inpaint import partway, renoise
from ..diffusion.levels import Spacing, trailing
from ..diffusion.sample import seeded_noise, trajectory
from ..diffusion.schedule import Level
from ..diffusion.solvers import DpmPP, Fitted, Solver
from ..nets.attention import Control
from ..nets.noisy import LOWEST, NoisyClassifier
from . import fast as quick
from .beat_noise import steadied
from .condition import Condition, join
from .lean import run_of
from .noise_floor import with_noise
from .request import Request, check_options, check_seed

if TYPE_CHECKING:
    from .twin import ECGTwin

FULL = {"cpu": 16, "cuda": 256}
"""Requests in a batch that fill a processor, or an accelerator."""


def denoiser(
    model: "ECGTwin",
    requests: Sequence[Request],
    *,
    guidance: float | None = None,
    base_guidance: float | None = None,
    rescale: float = 0.0,
    interval: tuple[float, float] | None = None,
    negative: Condition | None = None,
    classifier: tuple[NoisyClassifier, float] | None = None,
    steer: Callable[[Level], Control] | None = None,
    visited: Sequence[Level] = (),
) -> Denoiser:
    """The guided denoiser on latents (B, Z, T) for requests, for use with anything in `ecgtwin.diffusion`.

    x0 = nothing + base_guidance (base - nothing) + guidance (condition and base - base), after
    InstructPix2Pix (arXiv 2211.09800, eq. 3): `guidance` scales the state, `base_guidance` the identity.
    rescale (0 to 1) takes back how much larger that makes an ECG (arXiv 2305.08891, section 3.4). None: the
    scale that the model was tuned with. interval: log-SNR within which guidance acts (arXiv 2404.07724), None: always.
    negative: a state to go away from, in the place of no state: + guidance (condition and base - negative and base).
    classifier: one of noisy latents (`ECGTwin.load_classifier`) and how strongly it acts: towards those of a request's
    statements that it knows, beside the other guidance (arXiv 2105.05233).
    steer: what the attention to the statements is under at a level, see `nets.attention`.
    visited: the levels that it will be asked for, where they are known: then what depends on them alone is worked out
    now. Others may be asked for.
    """
    tuned = model.config.sampling
    guidance = tuned.guidance if guidance is None else guidance
    base_guidance = tuned.base_guidance if base_guidance is None else base_guidance
    c = model.asked(requests)
    none = torch.zeros_like(c.keep_base)
    base_only = c._replace(keep_condition=none)
    nothing = base_only._replace(keep_base=none, keep_draft=None if c.draft is None else none)
    scales = two_ways(base_guidance, guidance, rescale=rescale)
    away = [base_only]
    if negative is not None:
        away.append(model.asked([r._replace(condition=negative) for r in requests]))
        scales = (scales[0], base_guidance, -guidance, guidance)
    terms = zip((nothing, *away, c), scales, strict=True)
    branches, weights = zip(*((branch, weight) for branch, weight in terms if weight != 0), strict=True)
    network, asked = model.parts.denoiser, (model.latent[1], model.objective.prediction, visited)
    how = {"dtype": model.operands, "steer": steer}
    denoise = run_of(network, join(branches), *asked, **how)
    guided = denoise if weights == (1,) else weigh(denoise, weights, rescale=rescale)
    if interval is not None:
        guided = within(guided, run_of(network, c, *asked, **how), *interval)
    if classifier is None:
        return guided
    judge, scale = classifier
    names = [[name for name in model.normalise(r.condition.reports) if name in judge.names] for r in requests]
    return within(classify(guided, judge.toward(names), scale), guided, LOWEST, inf)


@torch.inference_mode()
def sample(
    model: "ECGTwin",
    requests: Sequence[Request],
    *,
    steps: int | None = None,
    guidance: float | None = None,
    base_guidance: float | None = None,
    rescale: float = 0.0,
    solver: Solver | None = None,
    levels: Spacing = trailing,
    interval: tuple[float, float] | None = None,
    negative: Condition | None = None,
    classifier: tuple[NoisyClassifier, float] | None = None,
    steer: Callable[[Level], Control] | None = None,
    variety: float | None = None,
    fast: bool = False,
    noise_floor: bool = True,
    progress: bool = False,
) -> Tensor:
    """Signals (B, 8, L) in mV, leads I, II, V1-V6. Each sample's noise comes from its own seed alone. levels: which are
    visited, of `ecgtwin.diffusion.levels`. variety: how much of the noise that its beats share a sample starts from
    (`twin.beat_noise`); None: the model's own. fast: in few steps, see `twin.fast`. noise_floor: whether the noise of
    the references' recordings is put back (`twin.noise_floor`), where the model's configuration has it. The others: see
    `denoiser`."""
    if not len(requests):
        raise ValueError("no requests: give one or more")
    if fast and solver is not None:
        raise ValueError("fast has a solver of its own: leave one of them out")
    steps, student = model.steps_of(steps, fast=fast), fast and model.parts.student is not None
    if student and (rescale or levels is not trailing or interval is not None or negative or steer or classifier):
        raise ValueError("fast goes with steps and scales alone: the student has learned runs of its own")
    if fast and not student:
        solver, levels = quick.walk_of(model, steps, levels)
    elif student:
        solver = quick.SOLVER
    variety = model.config.sampling.variety if variety is None else variety
    check_options(steps=steps, guidance=guidance, base_guidance=base_guidance, rescale=rescale, variety=variety)
    for request in requests:
        check_seed(request.seed)
    scales = [model.scales(r, guidance, base_guidance) for r in requests]
    begun = [r.start is not None and not student for r in requests]
    if not student and len(set(zip(scales, begun, strict=True))) > 1:
        if steer is not None:
            raise ValueError("steer goes with the same scales for all requests: give guidance and base_guidance")
        same = {"steps": steps, "rescale": rescale, "solver": solver, "levels": levels, "interval": interval}
        same |= {"classifier": classifier, "variety": variety, "noise_floor": noise_floor}
        return model.sample_apart(requests, scales, negative=negative, progress=progress, **same)
    if begun[0]:
        if isinstance(solver, Fitted):  # to whole runs
            solver, levels = quick.SOLVER, trailing
        visited = partway(levels(model.schedule, steps), model.config.sampling.expected_depth)
    else:
        visited = levels(model.schedule, steps)
    if student:
        denoise = quick.denoiser(model, requests, scales, visited)
    else:
        guidance, base_guidance = scales[0]
        how = {"rescale": rescale, "interval": interval, "negative": negative, "classifier": classifier, "steer": steer}
        denoise = model.denoiser(requests, guidance=guidance, base_guidance=base_guidance, **how, visited=visited)
    noise = seeded_noise([r.seed for r in requests])
    first = noise(torch.empty(len(requests), *model.latent, device=model.device))
    x = first = steadied(first, requests, model.config.signal.rate, model.config.signal.samples, variety)
    if begun[0]:
        starts = torch.from_numpy(np.stack([r.start for r in requests])).to(model.device)
        clean = model.schedule.level(model.schedule.clean)
        x = renoise(model.parts.vae.encode(starts), clean, visited[0], lambda like: first)
    walk = trajectory(denoise, x, visited, solver or DpmPP(2), noise)
    for moment in tqdm(walk, total=len(visited) - 1, desc="denoising", disable=not progress):
        x = moment.x
    signals = model.parts.vae.decode(x)
    if not noise_floor or model.config.sampling.noise_floor is None:
        return signals
    return with_noise(model, signals, requests)


def steps_of(model: "ECGTwin", steps: int | None, *, fast: bool = False) -> int:
    """How many steps a run has; None: the model's own number. ValueError for one that its student has not learned."""
    if fast and model.parts.student is not None:
        return model.fast.steps(steps)
    if steps is not None:
        return steps
    tuned = model.config.sampling
    if not fast:
        return tuned.steps
    return tuned.fast_steps if model.fitted is None else model.fitted.calls


def scales(
    model: "ECGTwin", request: Request, guidance: float | None, base_guidance: float | None
) -> tuple[float, float]:
    """Scales of the condition and of the identity for a request; None: those that the model was tuned with."""
    tuned = model.config.sampling
    own, own_base = tuned.guidance, tuned.base_guidance
    if request.leaves:
        own = own if tuned.leaving_guidance is None else tuned.leaving_guidance
        own_base = own_base if tuned.leaving_base_guidance is None else tuned.leaving_base_guidance
    elif request.expected and tuned.expected is not None:
        own, own_base = tuned.expected
    elif firm := [tuned.new_statements[name] for name in request.new if name in tuned.new_statements]:
        own, own_base = max(firm)
    return own if guidance is None else guidance, own_base if base_guidance is None else base_guidance


def sample_apart(
    model: "ECGTwin", requests: Sequence[Request], scales: Sequence[tuple[float, float]], **options: Any
) -> Tensor:
    """`sample` of requests whose scales or beginnings differ, those alike together."""
    found: dict[int, Tensor] = {}
    ways = [(scale, r.start is None) for scale, r in zip(scales, requests, strict=True)]
    for way in dict.fromkeys(ways):
        scale, rows = way[0], [k for k, own in enumerate(ways) if own == way]
        drawn = model.sample([requests[k] for k in rows], guidance=scale[0], base_guidance=scale[1], **options)
        found |= dict(zip(rows, drawn, strict=True))
    return torch.stack([found[k] for k in range(len(requests))])


def sample_in_parts(
    model: "ECGTwin", requests: Sequence[Request], size: int | None = None, *, progress: bool = False, **options: Any
) -> Tensor:
    """`sample`, `size` requests at a time (None: as many as fill the machine): the same ECGs with less memory."""
    if not len(requests):
        raise ValueError("no requests: give one or more")
    size = model.full if size is None else size
    starts = tqdm(range(0, len(requests), size), desc="batches", disable=not progress)
    return torch.cat([model.sample(requests[k : k + size], **options) for k in starts])
