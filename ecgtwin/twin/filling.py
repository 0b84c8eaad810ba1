"""What is missing of an ECG, filled in: leads, stretches of time, the seconds that follow;
and variations of a whole one.

Where all leads are unknown for a while, the diffusion's latents there are drawn, and those of known times are held in
place (replacement with resampling). Leads that are unknown where others are known share latents with these, so a mask
on latents cannot part them: there the decoder's signal is compared with the known leads (reconstruction guidance). Base
vector, median beats and the level at which the run begins are those of such leads as they are expected from the known
ones (`ecg.expected`): the diffusion draws what is in doubt.

Shapes: L samples · Z latent channels · T latent samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..diffusion.inpaint import inpaint, partway, reconstructed, renoise
from ..diffusion.levels import trailing
from ..diffusion.sample import sample, seeded_noise, trajectory
from ..diffusion.schedule import Level
from ..diffusion.solvers import DDIM, DpmPP
from ..ecg.beats import Beats, Heartbeat, lay
from ..ecg.expected import shipped
from ..ecg.leads import INDEPENDENT
from ..ecg.record import ECG
from .condition import Condition
from .gaps import continued, pieces, seen
from .request import Request

if TYPE_CHECKING:
    from .twin import ECGTwin

MARGIN = 0.16
"""Seconds beside what is unknown whose latents are drawn too: a latent sample reads that far."""
FADE = 0.25
"""Seconds within which an offset between what is drawn and what is known is gone."""
NOISE = 0.02
"""mV: of what is known, beside what the auto-encoder cannot show."""


class Span(NamedTuple):
    """Seconds from `start` to `stop` that are unknown, of these leads; None: of all."""

    start: float
    stop: float
    leads: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Unknown:
    """What of an ECG is not known: whole leads, and stretches of time."""

    leads: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()

    def mask(self, rate: float, samples: int) -> np.ndarray:
        """(8, L) True = known, of the leads I, II, V1-V6. ValueError: leads that are not these, a span outside the ECG,
        nothing that is unknown, or nothing that is left."""
        known = np.ones((len(INDEPENDENT), samples), bool)
        seconds = samples / rate
        for span in (*(Span(0.0, seconds, (lead,)) for lead in self.leads), *self.spans):
            names = INDEPENDENT if span.leads is None else span.leads
            if wrong := [name for name in names if name not in INDEPENDENT]:
                raise ValueError(
                    f"lead {wrong[0]!r} cannot be filled in by itself: give leads of {', '.join(INDEPENDENT)} (the "
                    "others follow from I and II)"
                )
            if not 0 <= span.start < span.stop <= seconds + 1e-6:
                raise ValueError(
                    f"from {span.start:g} to {span.stop:g} s: expected a stretch within 0 to {seconds:g} s"
                )
            rows = [INDEPENDENT.index(name) for name in names]
            known[rows, round(span.start * rate) : round(span.stop * rate)] = False
        if known.all() or not known.any():
            raise ValueError(
                f"{'nothing' if known.all() else 'everything'} is unknown: name some leads or stretches of time"
            )
        return known


def fill(
    model: "ECGTwin",
    ecg: ECG,
    unknown: Unknown,
    condition: Condition | None = None,
    *,
    n: int = 1,
    seed: int = 0,
    steps: int = 20,
    resample: int = 4,
    guidance: float | None = None,
    base_guidance: float | None = None,
    strength: float = 1.0,
    rhythm: Literal["expected", "drawn"] = "expected",
) -> list[ECG]:
    """n ECGs that are `ecg` where it is known, with the rest drawn for the same person; what lies there is never read.

    condition: the state, as the ECG's report says it; None: its statements and numbers are unknown. resample: times
    that each step is made, for what is drawn to fit what is known (arXiv 2201.09865). strength: of the reconstruction
    guidance, for leads that are unknown where others are known. rhythm: whether the beats of unknown times are those to
    be expected, or, of an irregular rhythm, drawn. Samples k differ by their seed, `seed + k`, alone.
    ValueError: see `Unknown.mask`; fewer than three beats are known, or no piece of 3 s of all leads that are known at
        all.
    """
    rate, samples = model.config.signal.rate, model.config.signal.samples
    known = unknown.mask(rate, samples)
    signal = only_known(model, ecg, known)
    condition = (condition or Condition()).or_of(ecg)
    seeds, scales = [seed + k for k in range(n)], {"guidance": guidance, "base_guidance": base_guidance}
    partly = known.any(1)  # leads of which something is known
    steady = known[partly].all(0)  # times at which these are
    beats, heartbeat = seen(signal, steady, rate)
    draws = [None if rhythm == "expected" else np.random.default_rng([s, 0xF111]) for s in seeds]
    planned = [continued(beats, steady, rate, rng) for rng in draws]

    if not partly.all():
        heartbeat = shipped().beat(heartbeat, partly)
    shown = []
    for each in planned:
        laid = np.where(known, signal, lay(heartbeat, each, rate, samples)).astype(np.float32)
        shown.append(laid if partly.all() else shipped().complete(laid, partly, each, heartbeat, rate))
    rows = zip(shown, seeds, planned, strict=True)
    requests = [asked(model, x, condition, s, b, heartbeat) for x, s, b in rows]
    made = drawn(model, signal, known, np.stack(shown), requests, steps, resample, strength, scales)
    return [
        model.as_ecg(torch.from_numpy(x), condition, ecg, f"filled in, seed {s}")
        for x, s in zip(made, seeds, strict=True)
    ]


def vary(
    model: "ECGTwin",
    ecg: ECG,
    condition: Condition | None = None,
    *,
    strength: float = 0.5,
    n: int = 1,
    seed: int = 0,
    steps: int = 20,
    guidance: float | None = None,
    base_guidance: float | None = None,
) -> list[ECG]:
    """n variations of an ECG: noise is added, and taken away again under `condition` (SDEdit, arXiv 2108.01073).

    strength: 0 … 1, how far up the noise levels: small keeps nearly every beat as it is, 1 is a new ECG of the person.
    Other than `counterfactual` it changes what the condition does not name, too. Beats stay where they are.
    """
    condition = (condition or Condition()).or_of(ecg)
    signal = model.signals([ecg])
    own = model.taken(signal[0], condition)[0] if model.config.denoiser.draft else None
    seeds = [seed + k for k in range(n)]
    requests = model.requests_of(signal[0], condition, seeds, None, own)
    noise = seeded_noise(seeds)
    levels = partway(trailing(model.schedule, steps), strength)
    with torch.no_grad():
        z = model.parts.vae.encode(signal).expand(n, -1, -1)
        denoise = model.denoiser(requests, guidance=guidance, base_guidance=base_guidance)
        clean = model.schedule.level(model.schedule.clean)
        z = sample(denoise, renoise(z, clean, levels[0], noise), levels, DpmPP(2), noise)
        made = model.parts.vae.decode(z)
    return [model.as_ecg(x, condition, ecg, f"variation {s}") for x, s in zip(made, seeds, strict=True)]


def only_known(model: "ECGTwin", ecg: ECG, known: np.ndarray) -> np.ndarray:
    """The signal (8, L) float32 in mV at the model's rate, each lead's median at zero; zeros where it is not known."""
    rate, samples = model.config.signal.rate, known.shape[1]
    ecg = ecg.select(INDEPENDENT) if set(INDEPENDENT) <= set(ecg.leads) else with_blank_leads(ecg)
    x = ecg.resample(rate).signal[:, :samples].astype(np.float64)
    if x.shape[1] < samples:
        if known[:, x.shape[1] + 1 :].any():
            raise ValueError(
                f"the ECG is {ecg.seconds:.1f} s long, and {samples / rate:g} s are wanted: say that the rest is "
                f"unknown, Span({ecg.seconds:.1f}, {samples / rate:g})"
            )
        x = np.pad(x, ((0, 0), (0, samples - x.shape[1])), mode="edge")
    if not np.isfinite(x[known]).all():
        raise ValueError("samples that are said to be known are not finite: add their stretch to what is unknown")
    for row, mask in zip(x, known, strict=True):
        row[~mask] = 0.0
        row[mask] -= np.median(row[mask]) if mask.any() else 0.0
    return x.astype(np.float32)


def with_blank_leads(ecg: ECG) -> ECG:
    """With leads of zeros where an ECG lacks some of the eight; `Unknown.leads` must name them."""
    rows = [
        ecg.signal[ecg.leads.index(name)] if name in ecg.leads else np.zeros(ecg.signal.shape[1])
        for name in INDEPENDENT
    ]
    return replace(ecg, signal=np.stack(rows).astype(np.float32), leads=INDEPENDENT)


def asked(
    model: "ECGTwin",
    shown: np.ndarray,
    condition: Condition,
    seed: int,
    beats: Beats,
    shape: Heartbeat,
) -> Request:
    """A request of the person in a complete signal (8, L), with these beats and median beats."""
    base = model.base_of(torch.from_numpy(shown)[None]).clone()[0]
    heart_rate = condition.heart_rate if condition.heart_rate is not None else beats.heart_rate
    return Request(base, replace(condition, heart_rate=heart_rate), seed, beats, shape)


def drawn(
    model: "ECGTwin",
    signal: np.ndarray,
    known: np.ndarray,
    shown: np.ndarray,
    requests: Sequence[Request],
    steps: int,
    resample: int,
    strength: float,
    scales: dict[str, float | None],
) -> list[np.ndarray]:
    """Signals (n, 8, L): the known samples, and what is drawn for the others. shown (n, 8, L): complete signals, of
    which the latents of known times are taken."""
    vae, noise, unit = model.parts.vae, seeded_noise([r.seed for r in requests]), model.config.signal.scale
    rate, factor = model.config.signal.rate, vae.vae.factor
    held = held_times(known, round(MARGIN * rate), factor).to(model.device)  # (T,)
    levels, partly = trailing(model.schedule, steps), known.any(1)
    with torch.no_grad():
        z = vae.encode(torch.from_numpy(shown).to(model.device))
        denoise = model.denoiser(requests, **scales)
        compared = torch.from_numpy(known).to(model.device) & ~held.repeat_interleave(factor)
        if compared.any():

            def measure(z: Tensor) -> Tensor:
                return vae.decode(z) / unit * compared

            gain = largest_gain(measure, torch.zeros_like(z[:1]))
            denoise = reconstructed(
                denoise,
                measure,
                torch.from_numpy(signal / unit).to(model.device) * compared,
                scale=strength,
                noise=NOISE / unit,
                through=False,
                variance=lambda at: gain * at.sigma**2 / (at.alpha**2 + at.sigma**2),
            )
        if known[partly].all():
            levels = doubted(levels, shipped().doubt(partly))
        start = renoise(z, model.schedule.level(model.schedule.clean), levels[0], noise)
        if held.any():
            walk = inpaint(denoise, z, held.expand_as(z), start, levels, DDIM(eta=1.0), noise, resample=resample)
        else:
            walk = trajectory(denoise, start, levels, DDIM(), noise)
        for moment in walk:
            start = moment.x
        made = vae.decode(start).cpu().numpy()
    if not partly.all():
        made = [closer(signal, known, x, rate) for x in made]
    return [joined(signal, known, x, rate) for x in made]


def doubted(levels: Sequence[Level], doubt: float) -> Sequence[Level]:
    """The part of a run at whose beginning noise covers as much of the variance as is in doubt: at least its last step,
    the whole run for 1."""
    covered = (at.sigma**2 / (at.alpha**2 + at.sigma**2) for at in levels)
    return levels[min(next(k for k, share in enumerate(covered) if share <= doubt), len(levels) - 2) :]


def closer(signal: np.ndarray, known: np.ndarray, made: np.ndarray, rate: float) -> np.ndarray:
    """What was drawn (8, L), with what it missed of the known leads carried over to those of which nothing is known."""
    partly = known.any(1)
    out = made.copy()
    out[~partly] += shipped().carried(np.where(known, signal - made, 0.0)[partly], partly, rate)
    return out


def held_times(known: np.ndarray, margin: int, factor: int) -> Tensor:
    """(T,) True: latents whose samples are known in all leads, and `margin` samples beside them."""
    unknown = np.convolve(~known.all(0), np.ones(2 * margin + 1), mode="same") > 0.5
    return torch.from_numpy(~unknown.reshape(-1, factor).any(1))


def largest_gain(measure: Callable[[Tensor], Tensor], z: Tensor, turns: int = 6) -> float:
    """The largest squared singular value of a function's Jacobian at z, by power iteration."""
    v = torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).to(z)
    for _ in range(turns):
        v = v / v.norm()
        along = (measure(z + 1e-2 * v) - measure(z - 1e-2 * v)) / 2e-2
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            (v,) = torch.autograd.grad((measure(leaf) * along).sum(), leaf)
    return float(v.norm())


def joined(signal: np.ndarray, known: np.ndarray, made: np.ndarray, rate: float) -> np.ndarray:
    """What is known as it is; what is drawn, moved to meet it: an offset at each end, which fades within `FADE` s."""
    out = np.where(known, signal, made).astype(np.float32)
    reach = max(1, round(FADE * rate))
    for row, (lead, mask) in enumerate(zip(made, known, strict=True)):
        for start, stop in pieces(~mask):
            edges = [(start - 1, np.arange(stop - start))] if start else []
            edges += [(stop, np.arange(stop - start)[::-1])] if stop < len(mask) else []
            for edge, far in edges:
                out[row, start:stop] += (signal[row, edge] - lead[edge]) * np.clip(1 - far / reach, 0, None)
    return out
