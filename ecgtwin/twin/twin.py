"""The product: a real ECG and a wanted condition in, ECGs of the same person under that condition out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..diffusion.denoiser import Denoiser, bind
from ..diffusion.guidance import guide, guide_two_ways
from ..diffusion.levels import linspace, trailing
from ..diffusion.sample import edit, seeded_noise, trajectory
from ..diffusion.solvers import DpmPP, Heun, Solver
from ..ecg.leads import INDEPENDENT
from ..ecg.quality import prepare
from ..ecg.record import ECG
from ..train.device import pick_device
from .condition import Condition, Conditions, stack
from .model import DEFAULT, Parts, load, save

GUIDANCE, BASE_GUIDANCE = 2.5, 1.5


class Request(NamedTuple):
    """One wanted ECG: whose (base vector (E,) or None for nobody's), in which state, from which seed."""

    base: Tensor | None
    condition: Condition
    seed: int


class ECGTwin:
    """A trained model. Get one by `ECGTwin.from_pretrained()`; research use only, not for clinical diagnosis."""

    def __init__(self, parts: Parts, device: str | torch.device = "cpu"):
        self.parts, self.config, self.device = parts, parts.config, torch.device(device)
        self.codec = parts.codec.eval().requires_grad_(False).to(self.device)
        self.extractor = parts.extractor.eval().requires_grad_(False).to(self.device)
        self.network = parts.network.eval().requires_grad_(False).to(self.device)
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
        return stack(clean, embed, self.config.text.width, self.config.text.statements, base).to(self.device)

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
        return self.extractor(self.codec.encode(signals.to(self.device)), self.conditions(own))

    def denoiser(
        self, requests: Sequence[Request], *, guidance: float = GUIDANCE, base_guidance: float = BASE_GUIDANCE, rescale: float = 0.0
    ) -> Denoiser:
        """The guided denoiser on latents (B, Z, T) for requests, for use with anything in `ecgtwin.diffusion`.

        x0 = nothing + base_guidance (base - nothing) + guidance (condition and base - base), after InstructPix2Pix
        (arXiv 2211.09800, eq. 3): `guidance` scales the state, `base_guidance` the identity. rescale (0 to 1) takes back how much
        larger that makes an ECG (arXiv 2305.08891, section 3.4).
        """
        width = self.config.base.base
        base = torch.stack([torch.zeros(width) if r.base is None else r.base.cpu() for r in requests]).to(self.device)
        given = torch.tensor([r.base is not None for r in requests], device=self.device)
        c = self.conditions([r.condition for r in requests], base)._replace(keep_base=given)
        none = torch.zeros_like(c.keep_base)

        def at(c: Conditions) -> Denoiser:
            return bind(self.network, self.network.prepare(c), self.config.diffusion.prediction)

        nothing = c._replace(keep_condition=none, keep_base=none)
        return guide_two_ways(at(nothing), at(c._replace(keep_condition=none)), at(c), base_guidance, guidance, rescale=rescale)

    @torch.inference_mode()
    def sample(
        self,
        requests: Sequence[Request],
        *,
        steps: int = 20,
        guidance: float = GUIDANCE,
        base_guidance: float = BASE_GUIDANCE,
        rescale: float = 0.0,
        solver: Solver | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Signals (B, 8, L) in mV, leads I, II, V1-V6. Each sample's noise comes from its own seed alone."""
        if steps < 1:
            raise ValueError(f"steps {steps}: expected 1 or more")
        noise = seeded_noise([r.seed for r in requests])
        shape = (len(requests), self.config.vae.latent, self.config.signal.samples // self.codec.vae.factor)
        x = noise(torch.empty(shape, device=self.device))
        denoise = self.denoiser(requests, guidance=guidance, base_guidance=base_guidance, rescale=rescale)
        walk = trajectory(denoise, x, trailing(self.schedule, steps), solver or DpmPP(2), noise)
        for moment in tqdm(walk, total=steps, desc="denoising", disable=not progress):
            x = moment.x
        return self.codec.decode(x)

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
        steps: int = 20,
        guidance: float = GUIDANCE,
        base_guidance: float = BASE_GUIDANCE,
        rescale: float = 0.0,
        solver: Solver | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> list[ECG]:
        """`n` ECGs of the reference's person under `condition`: 12 leads in mV, 10 s, at the model's rate.

        reference_condition: the reference's own state, or None (unknown). guidance, base_guidance: how strongly
        condition and identity act, 1 = as learned; rescale: see `denoiser`. Sample k has seed `seed + k`, so it is the same
        alone or among n.
        Raises ValueError for a reference that cannot be used (it says why) or a statement that is not known.
        """
        if n < 1:
            raise ValueError(f"n {n}: expected 1 or more twins")
        base = self.base(reference, reference_condition)[0]
        requests = [Request(base, condition, seed + k) for k in range(n)]
        signals = self.sample(
            requests, steps=steps, guidance=guidance, base_guidance=base_guidance, rescale=rescale, solver=solver, progress=progress
        )
        return [self.as_ecg(x, condition, reference, f"seed {seed + k}") for k, x in enumerate(signals)]

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
        z = self.codec.encode(self.signals([reference]))
        levels = linspace(self.schedule, steps + 1)[:-1]
        states = was or Condition(), now
        before, after = (self.denoiser([Request(base, c, 0)], guidance=1.0, base_guidance=1.0) for c in states)
        walk = edit(before, guide(after, before, guidance), z, levels, Heun())
        for moment in tqdm(walk, total=steps, disable=not progress):
            z = moment.x
        return self.as_ecg(self.codec.decode(z)[0], now, reference, "counterfactual")

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
