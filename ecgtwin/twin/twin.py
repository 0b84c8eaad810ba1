"""The product: a real ECG and a wanted condition in, ECGs of the same person under that condition out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..diffusion.denoiser import Denoiser, bind
from ..diffusion.guidance import guide, guide_two_ways
from ..diffusion.levels import linspace, trailing
from ..diffusion.sample import edit, seeded_noise, trajectory
from ..diffusion.solvers import DpmPP, Heun, Solver
from ..ecg.beats import Beats, Heartbeat, lay, take
from ..ecg.leads import INDEPENDENT
from ..ecg.quality import prepare
from ..ecg.record import ECG
from ..train.device import pick_device
from .condition import Condition, Conditions, stack
from .model import DEFAULT, Parts, load, save
from .rhythm import beat_track, plan


class Request(NamedTuple):
    """One wanted ECG: whose (base vector (E,) or None for nobody's), in which state, from which seed.

    beats: when its beats come; heartbeat: what a beat of the reference looks like. None, or a model that was not trained with them:
    the network decides.
    """

    base: Tensor | None
    condition: Condition
    seed: int
    beats: Beats | None = None
    heartbeat: Heartbeat | None = None


class ECGTwin:
    """A trained model. Get one by `ECGTwin.from_pretrained()`; research use only, not for clinical diagnosis."""

    def __init__(self, parts: Parts, device: str | torch.device = "cpu"):
        self.parts, self.config, self.device = parts, parts.config, torch.device(device)
        for network in (parts.vae, parts.base, parts.denoiser):
            network.eval().requires_grad_(False).to(self.device)
        self.schedule, self.table = parts.schedule, parts.table
        self.vocabulary = parts.table.vocabulary

    @classmethod
    def from_pretrained(cls, path_or_name: str | Path | None = None, *, device: str = "auto") -> "ECGTwin":
        """Load a folder that `save_pretrained` wrote; None is the model inside the package. No network is asked.

        device: "auto" (CUDA, else Apple's MPS, else the CPU) or a torch device. Raises FileNotFoundError where there
        is no model, ValueError where it is of another format.
        """
        return cls(load(DEFAULT if path_or_name is None else Path(path_or_name)), pick_device(device))

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
        for ecg in references:
            ecg = prepare(ecg, seconds=c.samples / c.rate, leads=INDEPENDENT)
            x = ecg.resample(c.rate).signal[:, : c.samples]
            x = np.pad(x, ((0, 0), (0, c.samples - x.shape[1])), mode="edge")
            rows.append(x - np.median(x, axis=-1, keepdims=True))
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def conditions(self, conditions: Sequence[Condition], base: Tensor | None = None) -> Conditions:
        """Conditions as tensors; statements outside the vocabulary raise ValueError with the nearest known ones."""
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
        references = [reference] if isinstance(reference, ECG) else list(reference)
        own = [condition] * len(references) if isinstance(condition, Condition | None) else list(condition)
        if len(own) != len(references):
            raise ValueError(f"{len(own)} conditions for {len(references)} references: give one for each, or none")
        return self.base_of(self.signals(references), [c or Condition() for c in own])

    @torch.inference_mode()
    def base_of(self, signals: Tensor, conditions: Sequence[Condition] | None = None) -> Tensor:
        """As `base`, of signals (B, 8, L) in mV as `signals` makes them. conditions: one for each; None: unknown of all."""
        own = [Condition()] * len(signals) if conditions is None else conditions
        return self.parts.base(self.parts.vae.encode(signals.to(self.device)), self.conditions(own))

    def denoiser(
        self, requests: Sequence[Request], *, guidance: float | None = None, base_guidance: float | None = None, rescale: float = 0.0
    ) -> Denoiser:
        """The guided denoiser on latents (B, Z, T) for requests, for use with anything in `ecgtwin.diffusion`.

        x0 = nothing + base_guidance (base - nothing) + guidance (condition and base - base), after InstructPix2Pix
        (arXiv 2211.09800, eq. 3): `guidance` scales the state, `base_guidance` the identity. rescale (0 to 1) takes back how much
        larger that makes an ECG (arXiv 2305.08891, section 3.4). None: the scale that the model was tuned with.
        """
        tuned = self.config.sampling
        guidance = tuned.guidance if guidance is None else guidance
        base_guidance = tuned.base_guidance if base_guidance is None else base_guidance
        width = self.config.base.base
        base = torch.stack([torch.zeros(width) if r.base is None else r.base.cpu() for r in requests]).to(self.device)
        given = torch.tensor([r.base is not None for r in requests], device=self.device)
        c = self.conditions([r.condition for r in requests], base)._replace(keep_base=given)
        none = torch.zeros_like(c.keep_base)

        def at(c: Conditions) -> Denoiser:
            network = self.parts.denoiser
            return bind(network, network.prepare(c), self.config.diffusion.prediction)

        c = self.with_beats(c, requests)
        nothing = c._replace(keep_condition=none, keep_base=none, keep_draft=None if c.draft is None else none)
        return guide_two_ways(at(nothing), at(c._replace(keep_condition=none)), at(c), base_guidance, guidance, rescale=rescale)

    def with_beats(self, c: Conditions, requests: Sequence[Request]) -> Conditions:
        """The conditions of requests with their beat tracks and drafts, where this model reads them."""
        if not self.config.denoiser.draft:
            return c
        rate, samples = self.config.signal.rate, self.config.signal.samples
        told = [r.beats is not None for r in requests]
        shown = [r.beats is not None and r.heartbeat is not None for r in requests]
        blank = np.zeros((len(INDEPENDENT), samples), np.float32)
        drafts = [lay(r.heartbeat, r.beats, rate, samples) if s else blank for r, s in zip(requests, shown, strict=True)]
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
        steps = self.config.sampling.steps if steps is None else steps
        if steps < 1:
            raise ValueError(f"steps {steps}: expected 1 or more")
        noise = seeded_noise([r.seed for r in requests])
        shape = (len(requests), self.config.vae.latent, self.config.signal.samples // self.parts.vae.vae.factor)
        x = noise(torch.empty(shape, device=self.device))
        denoise = self.denoiser(requests, guidance=guidance, base_guidance=base_guidance, rescale=rescale)
        walk = trajectory(denoise, x, trailing(self.schedule, steps), solver or DpmPP(2), noise)
        for moment in tqdm(walk, total=steps, desc="denoising", disable=not progress):
            x = moment.x
        return self.parts.vae.decode(x)

    def sample_in_parts(self, requests: Sequence[Request], size: int = 16, **options: Any) -> Tensor:
        """`sample`, `size` requests at a time: the same ECGs with less memory."""
        return torch.cat([self.sample(requests[k : k + size], **options) for k in range(0, len(requests), size)])

    def generate(
        self,
        reference: ECG,
        condition: Condition,
        *,
        reference_condition: Condition | None = None,
        n: int = 1,
        beats: Beats | ECG | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        base_guidance: float | None = None,
        rescale: float = 0.0,
        solver: Solver | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> list[ECG]:
        """`n` ECGs of the reference's person under `condition`: 12 leads in mV, 10 s, at the model's rate.

        reference_condition: the reference's own state, or None (unknown). beats: when the beats shall come: `Beats`, or an ECG whose
        rhythm is taken over; None: planned for the condition, from the reference's own rhythm where its kind stays.
        guidance, base_guidance: how strongly condition and identity act, 1 = as learned; these and `steps` are the model's own where
        they are None. rescale: see `denoiser`. Sample k has seed `seed + k`, so it is the same alone or among n.
        Raises ValueError for a reference that cannot be used (it says why) or a statement that is not known.
        """
        if n < 1:
            raise ValueError(f"n {n}: expected 1 or more twins")
        seeds = [seed + k for k in range(n)]
        requests = self.requests(reference, condition, seeds, reference_condition=reference_condition, beats=beats)
        signals = self.sample(
            requests, steps=steps, guidance=guidance, base_guidance=base_guidance, rescale=rescale, solver=solver, progress=progress
        )
        return [self.as_ecg(x, condition, reference, f"seed {seed + k}") for k, x in enumerate(signals)]

    def requests(
        self, reference: ECG, condition: Condition, seeds: Sequence[int], *, reference_condition: Condition | None = None,
        beats: Beats | ECG | None = None,
    ) -> list[Request]:
        """What `generate` asks for, one request for each seed: whose base and beats, in which state, and when they come."""
        if isinstance(beats, ECG):
            beats = self.taken(self.signals([beats])[0])[0]
        return self.requests_of(self.signals([reference])[0], condition, seeds, reference_condition, beats)

    def requests_of(
        self, signal: Tensor | np.ndarray, condition: Condition, seeds: Sequence[int], reference_condition: Condition | None = None,
        beats: Beats | None = None,
    ) -> list[Request]:
        """As `requests`, of a reference's signal (8, L) in mV as `signals` makes it."""
        signal = torch.as_tensor(signal)
        base = self.base_of(signal[None], [reference_condition or Condition()])[0]
        if not self.config.denoiser.draft:
            return [Request(base, condition, seed) for seed in seeds]
        own, heartbeat = self.taken(signal, reference_condition)
        found = []
        for seed in seeds:
            planned = beats if beats is not None else self.planned(condition, seed, own, reference_condition)
            told = condition if condition.heart_rate is not None else replace(condition, heart_rate=planned.heart_rate)
            found.append(Request(base, told, seed, planned, heartbeat))
        return found

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
        now: Condition,
        *,
        was: Condition | None = None,
        steps: int = 20,
        guidance: float = 1.0,
        progress: bool = False,
    ) -> ECG:
        """The reference itself under another condition: its noise is found under `was`, then denoised under `now`.

        Deterministic: Heun's steps up and down the probability-flow ODE, each step down corrected by what the way up missed
        (arXiv 2310.01506), so with now = was it returns the reference up to the auto-encoder; what the change of condition does
        not touch stays. guidance: how far to go from `was` towards `now`, 1 = as learned (was + guidance (now - was)).
        """
        base = self.base(reference, was)[0]
        z = self.parts.vae.encode(self.signals([reference]))
        levels = linspace(self.schedule, steps + 1)[:-1]
        states = was or Condition(), now
        before, after = (self.denoiser([Request(base, c, 0)], guidance=1.0, base_guidance=1.0) for c in states)
        walk = edit(before, guide(after, before, guidance), z, levels, Heun())
        for moment in tqdm(walk, total=steps, disable=not progress):
            z = moment.x
        return self.as_ecg(self.parts.vae.decode(z)[0], now, reference, "counterfactual")

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
