"""What a training shows while it runs: example ECGs beside what they should be. Figures of matplotlib."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..diffusion.levels import trailing
from ..diffusion.sample import sample, seeded_noise
from ..diffusion.solvers import DpmPP
from ..ecg.leads import INDEPENDENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .denoiser import DenoiserStage

SHOWN = ("I", "II", "V1", "V5")


def compared(rows: list[tuple[str, np.ndarray, np.ndarray]], labels: tuple[str, str], rate: float = 102.4) -> "Figure":
    """One column for each row's pair of signals (8, L) in mV, one line for each shown lead."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(rows), 7), layout="constrained")
    axes = figure.subplots(len(SHOWN), len(rows), squeeze=False, sharex=True)
    for column, (title, first, second) in enumerate(rows):
        for line, lead in enumerate(SHOWN):
            k, ax = INDEPENDENT.index(lead), axes[line, column]
            time = np.arange(first.shape[-1]) / rate
            ax.plot(time, first[k], color="black", linewidth=0.8, label=labels[0])
            ax.plot(time, second[k], color="tab:red", linewidth=0.8, label=labels[1])
            ax.set_ylabel(f"{lead}, mV")
        axes[0, column].set_title(title, fontsize=9)
        axes[-1, column].set_xlabel("s")
    axes[0, 0].legend(fontsize=8)
    return figure


@torch.no_grad()
def reconstructions(network: nn.Module, signals: np.ndarray, scale: float, device: torch.device) -> "Figure":
    """ECGs (n, 8, L) in mV and what the auto-encoder makes of them."""
    x = torch.from_numpy(signals).to(device)
    y = network(x / scale)[0].float() * scale
    pairs = zip(signals, y.cpu().numpy(), strict=True)
    return compared([(f"validation ECG {k}", a, b) for k, (a, b) in enumerate(pairs)], ("real", "decoded"))


@torch.no_grad()
def twins(network: nn.Module, stage: "DenoiserStage", n: int = 2, steps: int = 20) -> "Figure":
    """The first samples of a validation batch, generated from noise under their target's
    condition, beside the target."""
    batch = stage.held
    z, reference = (x[:n].float() for x in batch.latents)
    c, own = (c.mapped(lambda t: t[:n]) for c in batch.conditions)
    beats = None if batch.beats is None else batch.beats[:n]
    c = c._replace(base=stage.base(reference, own, beats).float())
    noise = seeded_noise(range(n))
    denoise = stage.objective.bind(network, network.prepare(c))
    made = sample(
        denoise,
        noise(torch.empty_like(z)),
        trailing(stage.schedule, min(steps, stage.schedule.length)),
        DpmPP(2),
        noise,
    )
    names = [stage.recordings.name(r)[:60] for r in batch.target[:n].tolist()]
    signals = [stage.vae.decode(latent).cpu().numpy() for latent in (z, made)]
    return compared(list(zip(names, *signals, strict=True)), ("target", "generated"))
