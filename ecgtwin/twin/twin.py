"""The product: a real ECG and a wanted condition in, ECGs of the same person under that condition out."""

from collections.abc import Sequence
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from reprlib import repr as brief

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..diffusion.guidance import guide
from ..diffusion.levels import Spacing, linspace, trailing
from ..diffusion.objective import Objective
from ..diffusion.sample import edit
from ..diffusion.solvers import Heun, Solver
from ..ecg.beats import Beats
from ..ecg.leads import INDEPENDENT
from ..ecg.record import ECG
from ..nets import adapters, noisy
from ..nets.control import Controlled
from ..nets.noisy import NoisyClassifier
from ..text.statements import Vocabulary
from ..train.device import pick_device
from . import asking, attention, control, drawing, filling, inputs, subject, upsampling
from .condition import Condition
from .fast import Fast, FittedSolvers, fast_of, fitted_of
from .lean import Precision, operands
from .model import DEFAULT, Parts, load, named, save
from .noise_floor import in_place
from .request import check_options, check_seed, each, fingerprint, same, seed_of
from .rhythm import atria_stay


class ECGTwin:
    """A trained model. Get one by `ECGTwin.from_pretrained()`; research use only, not for clinical diagnosis."""

    def __init__(self, parts: Parts, device: str | torch.device = "cpu", *, precision: Precision = "float32"):
        self.parts, self.config, self.device = parts, parts.config, torch.device(device)
        for network in (parts.vae, parts.base, parts.denoiser):
            network.eval().requires_grad_(False).to(self.device)
        self.operands = operands(precision, parts.denoiser, self.device)
        self.objective, self.table = Objective.of(parts.config.diffusion), parts.table
        self.schedule = self.objective.schedule
        self.control: Controlled | None = None

    def __repr__(self) -> str:
        c, tensors = self.config, self.parts.tensors().values()
        size = sum(t.numel() for t in tensors) / 1e6
        reads = ", reads beats" if c.denoiser.draft else ""
        what = f"{size:.1f} million weights, {len(self.statements)} statements{reads}"
        return f"<ECGTwin {what}, {c.signal.samples / c.signal.rate:.4g} s at {c.signal.rate:g} Hz, on {self.device}>"

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path | None = None, *, device: str = "auto", precision: Precision = "float32"
    ) -> "ECGTwin":
        """Load a folder that `save_pretrained` wrote; None or "default" is the model inside the
        package. No network is asked.

        device: "auto" (CUDA, else Apple's MPS, else the CPU) or a torch device. precision: "bfloat16" is several times
        as fast where the machine has instructions for it, and moves a twin by less than a microvolt (RMS); float32 with
        a warning elsewhere. Raises FileNotFoundError where there is no model, ValueError where it is of another format.
        """
        parts = load(DEFAULT if path_or_name is None else named(path_or_name))
        return cls(parts, pick_device(device), precision=precision)

    def save_pretrained(self, path: str | Path, *, half: bool = False) -> Path:
        """Write configuration, weights (safetensors) and statement embeddings into the folder `path`.

        half: weights as float16, half the size, for sharing; else float32, the exact inverse of `from_pretrained`.
        """
        with adapters.merged(self.parts.denoiser):
            return save(self.parts, Path(path), half=half)

    def load_adapter(self, path: str | Path, *, weight: float = 1.0, name: str | None = None) -> str:
        """Add an adapter of the denoiser, as `train_denoiser.py --adapter` writes it; returns its name, the file's.

        weight: how much of it, 1 as learned; several adapters add up. ValueError: it is none, belongs to another model,
        or its name is taken. `remove_adapter` takes it away, bit for bit; `save_pretrained` writes the sum.
        """
        return adapters.load(self.parts.denoiser, Path(path), name=name, strength=weight, frozen=True)

    def remove_adapter(self, name: str) -> None:
        """Take an adapter away again. ValueError where there is none of that name."""
        adapters.remove(self.parts.denoiser, name)

    def load_statement(self, path: str | Path) -> str:
        """Add a statement that `scripts/train_subject.py` learned, such as a patient; returns its name, to be asked for
        in a `Condition` like any other. ValueError: it is none, belongs to another model, or is known already.

        `remove_statement` takes it away. `save_pretrained` does not write it: it stays a file of its own.
        """
        self.table = subject.load(path, self.table, adapters.fingerprint(self.parts.denoiser))
        return self.table.learned[-1][0]

    def remove_statement(self, name: str) -> None:
        """Take a learned statement away again. ValueError where there is none of that name."""
        self.table = self.table.without(name)

    def load_classifier(self, path: str | Path) -> NoisyClassifier:
        """A classifier of noisy latents that `scripts/train_classifier.py` trained for this model's auto-encoder, for
        `generate(classifier=(…, scale))`. ValueError: it is none, or another auto-encoder's."""
        return noisy.load(Path(path), self.latent_space).to(self.device)

    @cached_property
    def latent_space(self) -> str:
        """What the auto-encoder is known by."""
        return adapters.fingerprint(self.parts.vae)

    @property
    def weights_hash(self) -> str:
        """What the weights that answer are known by: the file's digest, with adapters and learned statements one of it
        and of theirs."""
        return subject.fingerprint_with(
            self.table, adapters.fingerprint_with(self.parts.denoiser, self.parts.weights_hash)
        )

    @property
    def adapters(self) -> dict[str, float]:
        """Names of the adapters with how much of each is added."""
        return adapters.strengths(self.parts.denoiser)

    @property
    def precision(self) -> Precision:
        """In which the network's large products are computed: where bfloat16 was asked for, it may be float32."""
        return "bfloat16" if self.operands == torch.bfloat16 else "float32"

    @property
    def vocabulary(self) -> Vocabulary:
        """What the model understands as its statements."""
        return self.table.vocabulary

    @property
    def statements(self) -> tuple[str, ...]:
        """The report statements that this model knows."""
        return self.table.names

    @property
    def latent(self) -> tuple[int, int]:
        """Shape (Z, T) of a latent."""
        return self.config.vae.latent, self.config.signal.samples // self.parts.vae.vae.factor

    @property
    def full(self) -> int:
        """Requests in a batch that fill the machine: more of them take longer in proportion."""
        return drawing.FULL.get(self.device.type, drawing.FULL["cuda"])

    signals, conditions, normalise = inputs.signals, inputs.conditions, inputs.normalise
    base_of, seen, asked, with_beats = inputs.base_of, inputs.seen, inputs.asked, inputs.with_beats
    wanted, given, taken, planned = asking.wanted, asking.given, asking.taken, asking.planned
    requests, requests_of, requests_for = asking.requests, asking.requests_of, asking.requests_for
    change, keeps_rhythm = asking.change, asking.keeps_rhythm
    denoiser, sample, scales, steps_of = drawing.denoiser, drawing.sample, drawing.scales, drawing.steps_of
    sample_apart, sample_in_parts = drawing.sample_apart, drawing.sample_in_parts
    load_control, follow = control.load_control, control.follow
    fill, vary, at_rate = filling.fill, filling.vary, upsampling.at_rate
    attention, rewrite = attention.attention, attention.rewrite

    @cached_property
    def fast(self) -> Fast:
        """The model's student; ValueError where it has none."""
        return fast_of(self)

    @cached_property
    def fitted(self) -> FittedSolvers | None:
        """Solvers that were fitted to the model (scripts/fit_solver.py); None where there are none."""
        return fitted_of(self.parts)

    @cached_property
    def upsampler(self) -> upsampling.Upsampler:
        """The stage that takes ECGs to 500 Hz, of the package; it is loaded when it is first asked for."""
        return upsampling.Upsampler.from_pretrained(device=self.device)

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
        levels: Spacing = trailing,
        interval: tuple[float, float] | None = None,
        negative: Condition | None = None,
        classifier: tuple[NoisyClassifier, float] | None = None,
        variety: float | None = None,
        fast: bool = False,
        noise_floor: bool = True,
        rate: float | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> list[ECG] | list[list[ECG]]:
        """`n` ECGs of the reference's person under `condition`: 12 leads in mV, 10 s, at the model's rate or another.

        A list of references gives a list of such lists, the same ECGs in fewer and fuller calls of the network;
        condition and reference_condition are then one for all of them, or a list with one for each.

        condition: sex and age that it leaves out are the reference's. reference_condition: the reference's own state,
        or None (unknown). beats: when the beats shall come: `Beats`, or an ECG whose rhythm is taken over; None:
        planned for the condition, from the reference's own rhythm where its kind stays. guidance, base_guidance: how
        strongly condition and identity act, 1 = as learned; these and `steps` are the model's own where they are None.
        rescale, interval, negative (a state to go away from), classifier (with its scale): see `denoiser`. solver,
        levels: any of `ecgtwin.diffusion.solvers` and `ecgtwin.diffusion.levels`. variety: 0 draws the beat that is
        most typical of the person in that state, 1 lets beats differ between samples as learned, so that their spread
        says what is not known. fast: in few steps, 4 by the solver that was fitted to the model
        (scripts/fit_solver.py), 6 by UniPC where it has none, or by its student where it has one (scripts/distill.py).
        noise_floor: whether the noise of the reference's recording that the auto-encoder takes out is put back in other
        phases (by a model with `sampling.noise_floor`). rate: Hz, None: the model's own; above it, such as 500,
        a cascade draws what lies above 40 Hz (`twin.upsampling`). Sample k is drawn from `seed + k` and the reference's
        signal: it is the same alone or among n, and under two conditions it is drawn from the same noise, but no two
        people share noise or beat times. Raises ValueError for a reference that cannot be used (it says why) or a
        statement that is not known, TypeError for what is no ECG or no condition; warns `Contradiction` where the
        condition contradicts itself, `Assumption` where its statements name no rhythm.
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
            "levels": levels,
            "interval": interval,
            "negative": negative,
            "classifier": classifier,
            "variety": variety,
            "fast": fast,
            "noise_floor": noise_floor,
        }
        if many or len(requests) > self.full:
            signals = self.sample_in_parts(requests, progress=progress, **options)
        else:
            signals = self.sample(requests, progress=progress, **options)
        twins, noises = [], iter(requests)
        for who, c, was, drawn in zip(references, now, own, signals.split(n), strict=True):
            wanted = self.wanted(who, c, was)[0]
            made = [self.as_ecg(x, wanted, who, f"seed {seed + k}") for k, x in enumerate(drawn)]
            twins.append([self.at_rate(ecg, rate, next(noises).seed) for ecg in made])
        return twins if many else twins[0]

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
        noise_floor: bool = True,
        rate: float | None = None,
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
        there, and above 40 Hz where another rate is asked for. noise_floor: whether the noise that the auto-encoder
        takes out between the reference's complexes is put back as it was. guidance None: the model's own; see also
        `SamplingConfig.edit_depth`. The other arguments and errors: `generate`.
        """
        check_options(steps=steps, guidance=guidance, base_guidance=base_guidance, rescale=rescale)
        check_seed(seed)
        if not isinstance(strength, Real) or not 0 <= strength <= 1:
            raise ValueError(f"strength {brief(strength)}: expected 0 (nothing changes) to 1 (the whole change)")
        before, after = self.change(reference, condition, seed, reference_condition=reference_condition, beats=beats)
        depth, tuned = 1.0, self.config.sampling
        if before.beats is after.beats and not self.config.denoiser.draft:
            depth = tuned.edit_depth
            guidance = tuned.edit_guidance * tuned.guidance if guidance is None else guidance
        scales = {"guidance": guidance, "base_guidance": base_guidance, "rescale": rescale}
        levels = linspace(self.schedule, round(steps / depth) + 1)[-steps - 2 : -1]
        up, down = (self.denoiser([one], **scales, visited=levels) for one in (before, after))
        x = self.signals([reference])
        z = self.parts.vae.encode(x)
        walk = edit(up, up if same(before, after) else guide(down, up, strength), z, levels, Heun())
        for moment in tqdm(walk, total=len(levels) - 1, desc="denoising", disable=not progress):
            z = moment.x
        drawn = self.parts.vae.decode(z)[0]
        if noise_floor and self.config.sampling.noise_floor is not None:
            own, wanted = (self.normalise(one.condition.reports) for one in (before, after))
            drawn = drawn + in_place(self, x[0], atria_stay(own, wanted))
        made = self.as_ecg(drawn, after.condition, reference, "counterfactual")
        return made if rate is None else self.at_rate(made, rate, seed_of(seed, fingerprint(reference)))

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
