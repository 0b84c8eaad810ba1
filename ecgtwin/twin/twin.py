"""The product: a real ECG and a wanted condition in, ECGs of the same person under that condition out."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from reprlib import repr as brief
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..diffusion.denoiser import Denoiser, bind
from ..diffusion.guidance import guide, two_ways, weigh
from ..diffusion.levels import linspace, trailing
from ..diffusion.sample import edit, seeded_noise, trajectory
from ..diffusion.solvers import DpmPP, Heun, Solver
from ..ecg.beats import Beats, Heartbeat, lay, take
from ..ecg.canonical_beat import canonical_beat, period
from ..ecg.leads import INDEPENDENT
from ..ecg.quality import prepare
from ..ecg.record import ECG, wrong_source
from ..train.device import pick_device
from .condition import Condition, Conditions, expect_condition, join, stack
from .contradictions import Contradiction, allows, contradictions
from .model import DEFAULT, Parts, load, named, save
from .rhythm import beat_track, kind_of, plan, same_rhythm

ALIKE = 0.05
"""Difference from the measured heart rate, relative to it, up to which a counterfactual keeps
the reference's own beats."""
FULL = {"cpu": 16, "cuda": 256}
"""Requests in a batch that fill a processor, or an accelerator."""


NORMAL = "normal ECG"
SINUS = ("sinus rhythm", "sinus bradycardia", "sinus tachycardia", "sinus arrhythmia")


SHALLOW, FIRMER = 0.75, 2.4
"""A model that is not told when beats come decides that at its noisiest levels: where the rhythm stays, only
this fraction of the levels is gone up, and the condition acts so many times as strongly there. On simulated
people, to left bundle branch block: 79 % of the beats stay (30 % of them over all levels), with a relative error
to the truth of 0.60 (0.72)."""


class Request(NamedTuple):
    """One wanted ECG: whose (base vector (E,) or None for nobody's), in which state, from which seed.

    beats: when its beats come; heartbeat: what a beat of the reference looks like. None, or a model that
    was not trained with them: the network decides. leaves: whether a normal ECG is wanted of somebody
    whose reference was not normal.
    """

    base: Tensor | None
    condition: Condition
    seed: int
    beats: Beats | None = None
    heartbeat: Heartbeat | None = None
    leaves: bool = False


class ECGTwin:
    """A trained model. Get one by `ECGTwin.from_pretrained()`; research use only, not for clinical diagnosis."""

    def __init__(self, parts: Parts, device: str | torch.device = "cpu"):
        self.parts, self.config, self.device = parts, parts.config, torch.device(device)
        for network in (parts.vae, parts.base, parts.denoiser):
            network.eval().requires_grad_(False).to(self.device)
        self.schedule, self.table = parts.schedule, parts.table
        self.vocabulary = parts.table.vocabulary

    def __repr__(self) -> str:
        c, tensors = self.config, self.parts.tensors().values()
        size = sum(t.numel() for t in tensors) / 1e6
        reads = ", reads beats" if c.denoiser.draft else ""
        what = f"{size:.1f} million weights, {len(self.statements)} statements{reads}"
        return f"<ECGTwin {what}, {c.signal.samples / c.signal.rate:.4g} s at {c.signal.rate:g} Hz, on {self.device}>"

    @classmethod
    def from_pretrained(cls, path_or_name: str | Path | None = None, *, device: str = "auto") -> "ECGTwin":
        """Load a folder that `save_pretrained` wrote; None or "default" is the model inside the
        package. No network is asked.

        device: "auto" (CUDA, else Apple's MPS, else the CPU) or a torch device. Raises FileNotFoundError where there
        is no model, ValueError where it is of another format.
        """
        return cls(load(DEFAULT if path_or_name is None else named(path_or_name)), pick_device(device))

    def save_pretrained(self, path: str | Path, *, half: bool = False) -> Path:
        """Write configuration, weights (safetensors) and statement embeddings into the folder `path`.

        half: weights as float16, half the size, for sharing; else float32, the exact inverse of `from_pretrained`.
        """
        return save(self.parts, Path(path), half=half)

    @property
    def statements(self) -> tuple[str, ...]:
        """The report statements that this model knows."""
        return tuple(self.table.statements)

    def signals(self, references: Sequence[ECG]) -> Tensor:
        """Checked, resampled signals (B, 8, L) in mV of references; ValueError where one cannot be used."""
        c = self.config.signal
        rows = []
        if not len(references):
            raise ValueError("no references: give one ECG or more")
        for ecg in references:
            expect_ecg(ecg)
            ecg = prepare(ecg, seconds=c.samples / c.rate, leads=INDEPENDENT)
            x = ecg.resample(c.rate).signal[:, : c.samples]
            x = np.pad(x, ((0, 0), (0, c.samples - x.shape[1])), mode="edge")
            rows.append(x - np.median(x, axis=-1, keepdims=True))
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def conditions(self, conditions: Sequence[Condition], base: Tensor | None = None) -> Conditions:
        """Conditions as tensors; statements outside the vocabulary raise ValueError with the nearest known ones."""
        for one in conditions:
            expect_condition(one)
        clean = [Condition(self.normalise(c.reports), c.sex, c.age, c.heart_rate) for c in conditions]
        embed = self.table.lookup
        return stack(clean, embed, self.config, base).to(self.device)

    def normalise(self, reports: Sequence[str]) -> tuple[str, ...]:
        """Statements as the model knows them, in the order in which it learned them."""
        order = {name: i for i, name in enumerate(self.table.statements)}
        return tuple(sorted({self.vocabulary.normalise(r) for r in reports}, key=order.__getitem__))

    @torch.inference_mode()
    def base(self, reference: ECG | Sequence[ECG], condition: Condition | Sequence[Condition] | None = None) -> Tensor:
        """Individual base vectors (B, E): who the patient is, apart from the state that `condition` describes.

        condition: the reference's own; None puts the learned condition-free token in its place.
        """
        references = list(reference) if isinstance(reference, list | tuple) else [reference]
        own = list(condition) if isinstance(condition, list | tuple) else [condition] * len(references)
        if len(own) != len(references):
            raise ValueError(f"{len(own)} conditions for {len(references)} references: give one for each, or none")
        return self.base_of(self.signals(references), [Condition() if c is None else c for c in own])

    @torch.inference_mode()
    def base_of(self, signals: Tensor, conditions: Sequence[Condition] | None = None) -> Tensor:
        """As `base`, of signals (B, 8, L) in mV as `signals` makes them. conditions: one for
        each; None: unknown of all."""
        own = [Condition()] * len(signals) if conditions is None else conditions
        return self.parts.base(self.seen(signals), self.conditions(own))

    @torch.inference_mode()
    def seen(self, signals: Tensor) -> Tensor:
        """What the extractor reads of signals (B, 8, L) in mV: latents (B, Z, T) of these, or of their canonical beats.

        ValueError for a recording with fewer than three beats, where beats are read.
        """
        if self.config.base.sees == "recording":
            return self.parts.vae.encode(signals.to(self.device))
        rate = self.config.signal.rate
        samples = period(rate, self.parts.vae.vae.factor)
        beats = np.stack([canonical_beat(x, rate, samples) for x in signals.cpu().numpy()])
        return self.parts.vae.encode_beat(torch.from_numpy(beats).to(self.device))

    def denoiser(
        self,
        requests: Sequence[Request],
        *,
        guidance: float | None = None,
        base_guidance: float | None = None,
        rescale: float = 0.0,
    ) -> Denoiser:
        """The guided denoiser on latents (B, Z, T) for requests, for use with anything in `ecgtwin.diffusion`.

        x0 = nothing + base_guidance (base - nothing) + guidance (condition and base - base), after
        InstructPix2Pix (arXiv 2211.09800, eq. 3): `guidance` scales the state, `base_guidance` the identity.
        rescale (0 to 1) takes back how much larger that makes an ECG (arXiv 2305.08891, section 3.4). None: the
        scale that the model was tuned with.
        """
        tuned = self.config.sampling
        guidance = tuned.guidance if guidance is None else guidance
        base_guidance = tuned.base_guidance if base_guidance is None else base_guidance
        width = self.config.base.base
        base = torch.stack([torch.zeros(width) if r.base is None else r.base.cpu() for r in requests]).to(self.device)
        given = torch.tensor([r.base is not None for r in requests], device=self.device)
        c = self.conditions([r.condition for r in requests], base)._replace(keep_base=given)
        c = self.with_beats(c, requests)
        none = torch.zeros_like(c.keep_base)
        base_only = c._replace(keep_condition=none)
        nothing = base_only._replace(keep_base=none, keep_draft=None if c.draft is None else none)
        terms = zip((nothing, base_only, c), two_ways(base_guidance, guidance, rescale=rescale), strict=True)
        branches, weights = zip(*((branch, weight) for branch, weight in terms if weight != 0), strict=True)
        network = self.parts.denoiser
        denoise = bind(network, network.prepare(join(branches)), self.config.diffusion.prediction)
        return denoise if weights == (1,) else weigh(denoise, weights, rescale=rescale)

    def with_beats(self, c: Conditions, requests: Sequence[Request]) -> Conditions:
        """The conditions of requests with their beat tracks and drafts, where this model reads them."""
        if not self.config.denoiser.draft:
            return c
        rate, samples = self.config.signal.rate, self.config.signal.samples
        told = [r.beats is not None for r in requests]
        shown = [r.beats is not None and r.heartbeat is not None for r in requests]
        blank = np.zeros((len(INDEPENDENT), samples), np.float32)
        drafts = [
            lay(r.heartbeat, r.beats, rate, samples) if s else blank for r, s in zip(requests, shown, strict=True)
        ]
        draft = self.parts.vae.encode(torch.from_numpy(np.stack(drafts)).to(self.device))
        track = torch.stack([beat_track(r.beats, rate, samples) for r in requests]).to(self.device)
        keep = [torch.tensor(flags, device=self.device) for flags in (told, shown)]
        return c._replace(track=track, draft=draft, keep_track=keep[0], keep_draft=keep[1])

    @torch.inference_mode()
    def sample(
        self,
        requests: Sequence[Request],
        *,
        steps: int | None = None,
        guidance: float | None = None,
        base_guidance: float | None = None,
        rescale: float = 0.0,
        solver: Solver | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Signals (B, 8, L) in mV, leads I, II, V1-V6. Each sample's noise comes from its own seed alone."""
        if not len(requests):
            raise ValueError("no requests: give one or more")
        steps = self.config.sampling.steps if steps is None else steps
        check_options(steps=steps, guidance=guidance, base_guidance=base_guidance, rescale=rescale)
        for request in requests:
            check_seed(request.seed)
        scales = [self.scales(r, guidance, base_guidance) for r in requests]
        if len(set(scales)) > 1:
            return self.sample_apart(requests, scales, steps=steps, rescale=rescale, solver=solver, progress=progress)
        guidance, base_guidance = scales[0]
        noise = seeded_noise([r.seed for r in requests])
        shape = (len(requests), self.config.vae.latent, self.config.signal.samples // self.parts.vae.vae.factor)
        x = noise(torch.empty(shape, device=self.device))
        denoise = self.denoiser(requests, guidance=guidance, base_guidance=base_guidance, rescale=rescale)
        walk = trajectory(denoise, x, trailing(self.schedule, steps), solver or DpmPP(2), noise)
        for moment in tqdm(walk, total=steps, desc="denoising", disable=not progress):
            x = moment.x
        return self.parts.vae.decode(x)

    def scales(self, request: Request, guidance: float | None, base_guidance: float | None) -> tuple[float, float]:
        """Scales of the condition and of the identity for a request; None: those that the model was tuned with."""
        tuned = self.config.sampling
        own, own_base = tuned.guidance, tuned.base_guidance
        if request.leaves:
            own = own if tuned.leaving_guidance is None else tuned.leaving_guidance
            own_base = own_base if tuned.leaving_base_guidance is None else tuned.leaving_base_guidance
        return own if guidance is None else guidance, own_base if base_guidance is None else base_guidance

    def sample_apart(
        self, requests: Sequence[Request], scales: Sequence[tuple[float, float]], **options: Any
    ) -> Tensor:
        """`sample` of requests whose scales differ, those alike together."""
        found: dict[int, Tensor] = {}
        for scale in dict.fromkeys(scales):
            rows = [k for k, own in enumerate(scales) if own == scale]
            drawn = self.sample([requests[k] for k in rows], guidance=scale[0], base_guidance=scale[1], **options)
            found |= dict(zip(rows, drawn, strict=True))
        return torch.stack([found[k] for k in range(len(requests))])

    def sample_in_parts(
        self, requests: Sequence[Request], size: int | None = None, *, progress: bool = False, **options: Any
    ) -> Tensor:
        """`sample`, `size` requests at a time (None: as many as fill the machine): the same ECGs with less memory."""
        if not len(requests):
            raise ValueError("no requests: give one or more")
        size = self.full if size is None else size
        starts = tqdm(range(0, len(requests), size), desc="batches", disable=not progress)
        return torch.cat([self.sample(requests[k : k + size], **options) for k in starts])

    @property
    def full(self) -> int:
        """Requests in a batch that fill the machine: more of them take longer in proportion."""
        return FULL.get(self.device.type, FULL["cuda"])

    def generate(
        self,
        reference: ECG | Sequence[ECG],
        condition: Condition | Sequence[Condition],
        *,
        reference_condition: Condition | Sequence[Condition | None] | None = None,
        n: int = 1,
        beats: Beats | ECG | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        base_guidance: float | None = None,
        rescale: float = 0.0,
        solver: Solver | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> list[ECG] | list[list[ECG]]:
        """`n` ECGs of the reference's person under `condition`: 12 leads in mV, 10 s, at the model's rate.

        A list of references gives a list of such lists, the same ECGs in fewer and fuller calls of the network;
        condition and reference_condition are then one for all of them, or a list with one for each.

        condition: sex and age that it leaves out are the reference's. reference_condition: the reference's own state,
        or None (unknown). beats: when the beats shall come: `Beats`, or an ECG whose rhythm is taken over; None:
        planned for the condition, from the reference's own rhythm where its kind stays. guidance, base_guidance: how
        strongly condition and identity act, 1 = as learned; these and `steps` are the model's own where they are None.
        rescale: see `denoiser`. Sample k is drawn from `seed + k` and the reference's signal: it is the same alone or
        among n, and under two conditions it is drawn from the same noise, but no two people share noise or beat times.
        Raises ValueError for a reference that cannot be used (it says why) or a statement that is not known, TypeError
        for what is no ECG or no condition; warns `Contradiction` where the condition contradicts itself.
        """
        if not isinstance(n, Integral) or n < 1:
            raise ValueError(f"n {brief(n)}: expected 1 or more twins")
        check_seed(seed, n)
        many = isinstance(reference, list | tuple)
        references = list(reference) if many else [reference]
        now, own = (each(c, len(references) if many else None) for c in (condition, reference_condition))
        seeds = [seed + k for k in range(n)]
        requests = []
        for who, c, was in zip(references, now, own, strict=True):
            requests += self.requests(who, c, seeds, reference_condition=was, beats=beats)
        options = {
            "steps": steps,
            "guidance": guidance,
            "base_guidance": base_guidance,
            "rescale": rescale,
            "solver": solver,
        }
        if many:
            signals = self.sample_in_parts(requests, progress=progress, **options)
        else:
            signals = self.sample(requests, progress=progress, **options)
        twins = []
        for who, c, was, drawn in zip(references, now, own, signals.split(n), strict=True):
            wanted = self.wanted(who, c, was)[0]
            twins.append([self.as_ecg(x, wanted, who, f"seed {seed + k}") for k, x in enumerate(drawn)])
        return twins if many else twins[0]

    def wanted(self, reference: ECG, condition: Condition, own: Condition | None) -> tuple[Condition, Condition]:
        """The wanted and the reference's own condition, with sex and age from where they are
        known; own None stays unknown."""
        expect_ecg(reference)
        expect_condition(condition)
        if own is None:
            return condition.or_of(reference), Condition()
        expect_condition(own, "reference_condition")
        return condition.or_of(own, reference), own if own.empty else own.or_of(reference)

    def requests(
        self,
        reference: ECG,
        condition: Condition,
        seeds: Sequence[int],
        *,
        reference_condition: Condition | None = None,
        beats: Beats | ECG | None = None,
    ) -> list[Request]:
        """What `generate` asks for, one request for each seed: whose base and beats, in which
        state, and when they come."""
        condition, own = self.wanted(reference, condition, reference_condition)
        for line in contradictions(self.normalise(condition.reports), condition.heart_rate):
            warnings.warn(line, Contradiction, stacklevel=3)
        seeds = [seed_of(seed, fingerprint(reference)) for seed in seeds]
        own = None if reference_condition is None else own
        return self.requests_of(self.signals([reference])[0], condition, seeds, own, self.given(beats))

    def requests_of(
        self,
        signal: Tensor | np.ndarray,
        condition: Condition,
        seeds: Sequence[int],
        reference_condition: Condition | None = None,
        beats: Beats | None = None,
    ) -> list[Request]:
        """As `requests`, of a reference's signal (8, L) in mV as `signals` makes it; the seeds are
        those of the noise itself."""
        signal = torch.as_tensor(signal)
        was = set(self.normalise(reference_condition.reports)) if reference_condition is not None else set()
        leaves = NORMAL in self.normalise(condition.reports) and bool(was - {NORMAL, *SINUS})
        base = self.base_of(signal[None], [reference_condition or Condition()])[0]
        if not self.config.denoiser.draft:
            return [Request(base, condition, seed, leaves=leaves) for seed in seeds]
        own, heartbeat = self.taken(signal, reference_condition)
        found = []
        for seed in seeds:
            planned = beats if beats is not None else self.planned(condition, seed, own, reference_condition)
            found.append(Request(base, paced_by(condition, planned), seed, planned, heartbeat, leaves))
        return found

    def requests_for(
        self,
        signals: Tensor | np.ndarray,
        conditions: Sequence[Condition],
        seed: int = 0,
        reference_conditions: Sequence[Condition] | None = None,
    ) -> list[Request]:
        """One request for each of many references' signals (B, 8, L) in mV, with seeds `seed`, `seed + 1`, ..."""
        own = [None] * len(conditions) if reference_conditions is None else reference_conditions
        rows = zip(torch.as_tensor(signals), conditions, own, strict=True)
        return [self.requests_of(x, c, [seed + k], was)[0] for k, (x, c, was) in enumerate(rows)]

    def given(self, beats: Beats | ECG | None) -> Beats | None:
        """The beats that a user gives."""
        if beats is None:
            return None
        if not isinstance(beats, Beats | ECG):
            raise TypeError(
                f"beats {brief(beats)}: expected Beats(times in s, kinds), or an ECG whose rhythm is taken over"
            )
        if not self.config.denoiser.draft:
            raise ValueError(
                "beats were given, but this model decides itself when they come: ask for a heart_rate, or "
                "take another model"
            )
        return beats if isinstance(beats, Beats) else self.taken(self.signals([beats])[0])[0]

    def taken(self, signal: Tensor, condition: Condition | None = None) -> tuple[Beats, Heartbeat]:
        """Beats and median beats of a signal (8, L) in mV."""
        paced = condition is not None and "paced rhythm" in self.normalise(condition.reports)
        return take(signal.cpu().numpy(), self.config.signal.rate, paced=paced)

    def planned(self, condition: Condition, seed: int, own: Beats | None = None, was: Condition | None = None) -> Beats:
        """When the beats of a twin come; the same for the same seed."""
        c = self.config.signal
        rng = np.random.default_rng([seed, crc32(b"beats")])
        own_reports = self.normalise(was.reports) if was is not None else None
        return plan(self.normalise(condition.reports), condition.heart_rate, c.samples / c.rate, rng, own, own_reports)

    @torch.inference_mode()
    def counterfactual(
        self,
        reference: ECG,
        condition: Condition,
        *,
        reference_condition: Condition | None = None,
        strength: float = 1.0,
        beats: Beats | ECG | None = None,
        steps: int = 20,
        guidance: float | None = None,
        base_guidance: float | None = None,
        rescale: float = 0.0,
        seed: int = 0,
        progress: bool = False,
    ) -> ECG:
        """The reference itself under another condition: only what the condition changes
        changes; rhythm and baseline stay.

        Its noise is found under its own condition, then denoised under the wanted one, by Heun's steps up and down the
        probability-flow ODE, each step down corrected by what the way up missed (arXiv 2310.01506). So with the
        condition unchanged it is the reference up to the auto-encoder, at any guidance and with any number of steps.
        condition: statements, sex, age and heart rate that it leaves out are the reference's (a heart rate that the new
        statements exclude is not). strength: 0 is the reference up to the auto-encoder, 1 the whole change; between
        them the estimates of every step are mixed. beats: as for `generate`; None: the reference's own, unless another
        rate or rhythm is asked for. Nothing but the beats of such a new rhythm is drawn by chance, so `seed` matters
        only there. guidance None: the model's own; see also `SHALLOW`. The other arguments and errors: `generate`.
        """
        check_options(steps=steps, guidance=guidance, base_guidance=base_guidance, rescale=rescale)
        check_seed(seed)
        if not isinstance(strength, Real) or not 0 <= strength <= 1:
            raise ValueError(f"strength {brief(strength)}: expected 0 (nothing changes) to 1 (the whole change)")
        before, after = self.change(reference, condition, seed, reference_condition=reference_condition, beats=beats)
        depth = SHALLOW if before.beats is after.beats and not self.config.denoiser.draft else 1.0
        if guidance is None and depth < 1:
            guidance = FIRMER * self.config.sampling.guidance
        scales = {"guidance": guidance, "base_guidance": base_guidance, "rescale": rescale}
        up, down = self.denoiser([before], **scales), self.denoiser([after], **scales)
        z = self.parts.vae.encode(self.signals([reference]))
        levels = linspace(self.schedule, round(steps / depth) + 1)[-steps - 2 : -1]
        walk = edit(up, up if same(before, after) else guide(down, up, strength), z, levels, Heun())
        for moment in tqdm(walk, total=len(levels) - 1, desc="denoising", disable=not progress):
            z = moment.x
        return self.as_ecg(self.parts.vae.decode(z)[0], after.condition, reference, "counterfactual")

    def change(
        self,
        reference: ECG,
        condition: Condition,
        seed: int,
        *,
        reference_condition: Condition | None = None,
        beats: Beats | ECG | None = None,
    ) -> tuple[Request, Request]:
        """What `counterfactual` goes up under and comes down under: the reference's own state and the wanted one."""
        now, was = self.wanted(reference, condition, reference_condition)
        if condition.empty:
            now = was
        now = replace(now, reports=now.reports or was.reports)
        reports = self.normalise(now.reports)
        if now.heart_rate is None and allows(reports, was.heart_rate):
            now = replace(now, heart_rate=was.heart_rate)
        for line in contradictions(reports, now.heart_rate):
            warnings.warn(line, Contradiction, stacklevel=4)
        signal = self.signals([reference])
        base, beats = self.base_of(signal, [was])[0], self.given(beats)
        if not self.config.denoiser.draft and reference.heart_rate() is None:
            return Request(base, was, seed), Request(base, now, seed)
        own, heartbeat = self.taken(signal[0], was)
        if not self.config.denoiser.draft:
            return Request(base, was, seed, own), Request(
                base, now, seed, own if self.keeps_rhythm(now, was, own) else None
            )
        if beats is None and self.keeps_rhythm(now, was, own):
            beats = own
        elif beats is None:
            beats = self.planned(now, seed_of(seed, fingerprint(reference)), own, reference_condition and was)
        states = (was, own), (now, beats)
        before, after = (Request(base, paced_by(state, when), seed, when, heartbeat) for state, when in states)
        return before, after

    def keeps_rhythm(self, now: Condition, was: Condition, own: Beats) -> bool:
        """Whether a wanted state can have the reference's own beats."""
        reports, told = self.normalise(now.reports), now.heart_rate
        measured = own.heart_rate
        if (
            told is not None
            and told != was.heart_rate
            and (measured is None or abs(told - measured) > ALIKE * measured)
        ):
            return False
        if set(reports) == set(self.normalise(was.reports)):
            return True
        if was.reports:
            return kind_of(reports) == kind_of(self.normalise(was.reports)) and allows(reports, measured)
        return same_rhythm(kind_of(reports), own, None) and allows(reports, measured)

    def as_ecg(self, signal: Tensor, condition: Condition, reference: ECG, name: str) -> ECG:
        """A generated signal (8, L) as a 12-lead ECG, the limb leads by Einthoven's law."""
        ecg = ECG(
            signal.cpu().numpy().astype(np.float32),
            self.config.signal.rate,
            INDEPENDENT,
            patient=reference.patient,
            sex=condition.sex,
            age=condition.age,
            reports=self.normalise(condition.reports),
            name=f"twin of {reference.name or 'reference'}, {name}",
            synthetic=True,
        )
        return ecg.twelve()


def each(given: Any, count: int | None) -> list[Any]:
    """What is given for each of `count` references: a list as it is, anything else for all of them.
    count None: one reference."""
    if count is None:
        return [given]
    found = list(given) if isinstance(given, list | tuple) else [given] * count
    if len(found) != count:
        raise ValueError(f"{len(found)} conditions for {count} references: give one for each, or one for all")
    return found


def expect_ecg(given: Any) -> None:
    """TypeError with what to write instead, unless it is an ECG."""
    if not isinstance(given, ECG):
        raise TypeError(f"reference: {wrong_source(given)}")


def check_options(*, steps: int, guidance: float | None, base_guidance: float | None, rescale: float) -> None:
    """ValueError for what no run can follow."""
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"steps {brief(steps)}: expected 1 or more")
    for name, value in (("guidance", guidance), ("base_guidance", base_guidance)):
        if value is not None and not (isinstance(value, Real) and isfinite(value)):
            raise ValueError(f"{name} {brief(value)}: expected a finite number; 1 is as learned")
    if not isinstance(rescale, Real) or not 0 <= rescale <= 1:
        raise ValueError(f"rescale {brief(rescale)}: expected 0 (off) to 1")


def check_seed(seed: int, n: int = 1) -> None:
    """ValueError unless seeds `seed` to `seed + n - 1` are ones of 64 bits."""
    if not isinstance(seed, Integral) or not 0 <= seed <= 2**64 - n:
        raise ValueError(f"seed {brief(seed)}: expected a whole number from 0 to {2**64 - n}")


def fingerprint(reference: ECG) -> str:
    """What a reference's signal is known by: a hash of its 10 s as they were recorded, the same on every machine."""
    ecg = prepare(reference, leads=INDEPENDENT)
    return blake2b(ecg.signal.tobytes() + np.float64(ecg.rate).tobytes(), digest_size=16).hexdigest()


def seed_of(seed: int, fingerprint: str) -> int:
    """The seed, of 63 bits, of a reference's sample."""
    return int.from_bytes(blake2b(f"{seed} {fingerprint}".encode(), digest_size=8).digest(), "big") >> 1


def paced_by(condition: Condition, beats: Beats) -> Condition:
    """A condition at the rate of beats, where it names none."""
    return condition if condition.heart_rate is not None else replace(condition, heart_rate=beats.heart_rate)


def same(a: Request, b: Request) -> bool:
    """Whether two requests of one person ask for the same."""
    return a.condition == b.condition and a.beats is b.beats
