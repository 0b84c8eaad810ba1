"""ECGs that follow a structure: a few of their leads, as of a watch or of a digitised sheet; the state comes from
statements, the other leads from what the control has learned of how leads go together.

Shapes: B batch · 8 leads I, II, V1-V6 · L samples.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..diffusion.guidance import guide
from ..diffusion.levels import trailing
from ..diffusion.sample import sample, seeded_noise
from ..diffusion.solvers import DpmPP
from ..ecg.leads import INDEPENDENT
from ..ecg.record import ECG
from ..nets import control
from ..nets.control import ControlConfig
from .condition import Condition
from .filling import with_blank_leads
from .request import Request, check_options, check_seed

if TYPE_CHECKING:
    from .twin import ECGTwin

KIND = "leads"
"""What these controls read."""


def config_of(factor: int, copies: int, hidden: int) -> ControlConfig:
    """factor: samples of the signal to one of the latent."""
    return ControlConfig(2 * len(INDEPENDENT), factor, copies, hidden)


def structure_of(signal: Tensor, known: Tensor, scale: float) -> Tensor:
    """What a control reads, (B, 16, L): the known leads of signals (B, 8, L) in mV, zeros for the others, and which
    they are, of known (B, 8)."""
    mask = known.to(signal.dtype)[..., None].expand_as(signal)
    return torch.cat([signal / scale * mask, mask], 1)


def load_control(model: "ECGTwin", path: str | Path) -> None:
    """Give the model a control, as scripts/train_control.py writes it, for `follow`; one at a time.

    FileNotFoundError: there is none; ValueError: it is none, or belongs to another model.
    """
    denoiser = model.parts.denoiser
    model.control = control.load(denoiser, denoiser.body, Path(path), KIND)


@torch.inference_mode()
def follow(
    model: "ECGTwin",
    structure: ECG,
    condition: Condition | None = None,
    *,
    leads: tuple[str, ...] | None = None,
    n: int = 1,
    seed: int = 0,
    steps: int | None = None,
    guidance: float = 1.0,
    keep: bool = True,
) -> list[ECG]:
    """n ECGs of 12 leads that follow the leads of `structure`, in the state that `condition` describes.

    structure: any of the leads I, II, V1-V6, 10 s or more, of which the first 10 are used. leads: only these of it.
    condition: None: nothing is said of the state. guidance: of the condition, 1 = as learned. keep: the given leads
    come back as they are; False: as the model draws them, such as without the noise of a scribble. Sample k has seed
    `seed + k`. ValueError: no control is loaded, or the structure has none of these leads, missing samples or too few.
    """
    if model.control is None:
        raise ValueError("no control is loaded: load_control(path) first (on the command line --control FILE)")
    steps = model.config.sampling.steps if steps is None else steps
    check_options(steps=steps, guidance=guidance, base_guidance=None, rescale=0.0)
    check_seed(seed, n)
    signal, known = read(model, structure, leads)
    condition = (condition or Condition()).or_of(structure)
    seeds = [seed + k for k in range(n)]
    x = torch.from_numpy(signal)[None].expand(n, -1, -1).to(model.device)
    seen = structure_of(x, torch.from_numpy(known)[None].expand(n, -1).to(model.device), model.config.signal.scale)
    c = model.asked([Request(None, condition, s) for s in seeds])
    nothing = c._replace(keep_condition=torch.zeros_like(c.keep_condition))
    told, told_nothing = (model.objective.bind(model.control, (model.control.prepare(a), seen)) for a in (c, nothing))
    noise = seeded_noise(seeds)
    z = noise(torch.empty(n, *model.latent, device=model.device))
    levels = trailing(model.schedule, steps)
    z = sample(guide(told, told_nothing, guidance), z, levels, DpmPP(2), noise)
    made = model.parts.vae.decode(z).cpu()
    if keep:
        made = torch.where(torch.from_numpy(known)[:, None], x.cpu(), made)
    return [
        model.as_ecg(one, condition, structure, f"following {structure.name}, seed {s}")
        for one, s in zip(made, seeds, strict=True)
    ]


def read(model: "ECGTwin", ecg: ECG, leads: tuple[str, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    """The signal (8, L) of a structure in mV at the model's rate, each lead's median at zero, and which leads are
    known (8,)."""
    rate, samples = model.config.signal.rate, model.config.signal.samples
    if leads is not None:
        ecg = ecg.select(leads)
    known = np.array([name in ecg.leads for name in INDEPENDENT])
    if not known.any():
        raise ValueError(
            f"the structure has leads {', '.join(ecg.leads)}: expected one or more of {', '.join(INDEPENDENT)}"
        )
    if ecg.signal.shape[1] / ecg.rate < samples / rate - 0.05:
        raise ValueError(f"the structure is {ecg.seconds:.1f} s long: expected {samples / rate:g} s or more")
    ecg = with_blank_leads(replace(ecg, signal=ecg.signal[:, : round(ecg.rate * (samples / rate + 0.2))]))
    if not np.isfinite(ecg.signal).all():
        raise ValueError("the structure has missing samples: fill them in first (see `ECGTwin.fill`)")
    x = ecg.resample(rate).signal[:, :samples]
    x = np.pad(x, ((0, 0), (0, samples - x.shape[1])), mode="edge")
    return (x - np.median(x, -1, keepdims=True)).astype(np.float32), known
