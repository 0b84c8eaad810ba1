"""ECGs at 500 Hz: what lies above 40 Hz, drawn by a small diffusion of its own over the resampled ECG.

The band below the crossover is the ECG's own; above it, where an ECG at 102.4 Hz ends, the cascade draws the residual.
It is diffused whitened, so that each frequency counts alike, and as asinh(residual / unit), so that noise and a QRS
complex both are numbers of a few units. Eight leads are drawn; the others follow by Einthoven's law.

Shapes: B batch · 8 leads I, II, V1-V6 · L samples at the fine rate.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field
from scipy.signal import fftconvolve, firwin, firwin2

from ..diffusion.cascade import Cascade
from ..diffusion.objective import Objective
from ..diffusion.sample import seeded_noise
from ..ecg.leads import INDEPENDENT, LEADS
from ..ecg.record import ECG, refuse_rate
from ..nets.cascade import SuperResolution, filled, read, save
from ..train.cascade import CascadeConfig
from ..train.device import pick_device
from ..train.strict import parse

if TYPE_CHECKING:
    from .twin import ECGTwin

POWERS = (
    *(-47.5, -47.5, -47.5, -47.5, -47.5, -49.4, -53.2, -56.2, -58.7, -60.7, -62.2, -63.6, -65.0),
    *(-66.3, -67.3, -67.6, -69.5, -70.7, -71.9, -73.3, -74.7, -76.7, -78.6, -80.8, -82.5, -82.5),
)
"""Of 200 training recordings of PTB-XL at 500 Hz, every 10 Hz."""
CLEAN = 0.8
"""Of the crossover: frequencies below it are not drawn; above it, a residual passes whole."""
DEFAULT = Path(__file__).parent.parent / "upsampler"
"""The stage inside the package."""


class UpsamplerConfig(CascadeConfig):
    rate: float = Field(500.0, gt=0, le=10_000)
    """Hz, of what is drawn."""
    coarse_rate: float = Field(102.4, gt=0, le=10_000)
    """Hz, of what is given."""
    crossover: float = Field(40.0, gt=0)
    """Hz, below which the given ECG stays."""
    detail: float = Field(15.0, gt=0)
    """Hz: the given ECG above this is shown to the network once more, companded."""
    taps: int = Field(251, ge=3, le=10_001)
    """Of the filters, an odd number."""
    powers: tuple[float, ...] = Field(POWERS, min_length=2, max_length=1000)
    """dB of mV²/Hz of the residual on average, evenly from 0 Hz to half the fine rate: what it is whitened by, to a
    standard deviation of 1 altogether."""
    correction: tuple[float, ...] | None = None
    """dB, at the frequencies of `powers`, by which recordings surpass what it draws of their coarse ECGs: added
    to what is drawn. None: nothing is."""
    unit: float = Field(0.5, gt=0)
    """From which on the whitened residual is companded."""
    coarse_unit: float = Field(0.01, gt=0)
    """mV from which on the detail is."""
    scale: float = Field(0.25, gt=0)
    """mV of the given ECG that the network sees as 1."""


@lru_cache(16)
def kernel(cutoff: float, rate: float, taps: int) -> np.ndarray:
    return firwin(taps, cutoff, fs=rate, window=("kaiser", 6.0))


@lru_cache(16)
def whitening(powers: tuple[float, ...], rate: float, taps: int, back: bool) -> np.ndarray:
    """The kernel that whitens a residual, or (back) the one that undoes it."""
    gain = 10 ** (-np.asarray(powers) / 20) / np.sqrt(rate / 2)
    return firwin2(taps, np.linspace(0, rate / 2, len(powers)), 1 / gain if back else gain, fs=rate)


def low(x: np.ndarray, cutoff: float, config: UpsamplerConfig) -> np.ndarray:
    """x (..., L) below a frequency in Hz, without delay; float64. Both ends are continued by point reflection."""
    return filtered(x, kernel(cutoff, config.rate, config.taps))


def filtered(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    half = len(weights) // 2
    padded = np.pad(x.astype(np.float64), [(0, 0)] * (x.ndim - 1) + [(half, half)], mode="reflect", reflect_type="odd")
    shape = [1] * (x.ndim - 1) + [-1]
    return fftconvolve(padded, weights.reshape(shape), mode="valid", axes=-1)


def residual(x: np.ndarray, config: UpsamplerConfig) -> np.ndarray:
    """What is diffused of an ECG (..., L) in mV at the fine rate: asinh(white above the crossover / unit), float32."""
    white = whitening(config.powers, config.rate, config.taps, False)
    return np.arcsinh(filtered(x - low(x, config.crossover, config), white) / config.unit).astype(np.float32)


def shown(x: np.ndarray, config: UpsamplerConfig) -> np.ndarray:
    """What the network sees (..., 16, L) of a resampled ECG (..., 8, L) in mV: it, and its companded detail."""
    x = x - np.median(x, -1, keepdims=True)
    detail = np.arcsinh((x - low(x, config.detail, config)) / config.coarse_unit)
    return np.concatenate([x / config.scale, detail], -2).astype(np.float32)


def joined(x: np.ndarray, y: np.ndarray, config: UpsamplerConfig) -> np.ndarray:
    """The resampled ECG (..., 8, L) below the crossover, and a residual y (..., 8, L) above it: in mV."""
    more = config.correction or (0.0,) * len(config.powers)
    powers = tuple(p + c for p, c in zip(config.powers, more, strict=True))
    back = whitening(powers, config.rate, config.taps, True)
    drawn = filtered(config.unit * np.sinh(y.astype(np.float64)), back)
    # What a network draws below the band in which it was shown anything is its error.
    drawn -= low(drawn, CLEAN * config.crossover, config)
    return (low(x, config.crossover, config) + drawn).astype(np.float32)


def build(config: UpsamplerConfig) -> SuperResolution:
    c, leads = config.network, len(INDEPENDENT)
    return SuperResolution(
        leads,
        2 * leads,
        width=c.width,
        widths=c.widths,
        heads=c.heads,
        blocks=c.blocks,
        groups=c.groups,
    )


def cascade_of(config: CascadeConfig) -> Cascade:
    return Cascade(Objective.of(config.diffusion), config.strongest, config.limit, config.fraction)


class Upsampler:
    """A trained stage from 102.4 to 500 Hz. Get one by `Upsampler.from_pretrained()`."""

    def __init__(self, config: UpsamplerConfig, network: SuperResolution, device: str | torch.device = "cpu"):
        self.config, self.cascade, self.device = config, cascade_of(config), torch.device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None, *, device: str | torch.device = "auto") -> "Upsampler":
        """Load a folder that `save_pretrained` wrote; None: the one inside the package. FileNotFoundError where there
        is none, ValueError where it is damaged."""
        folder = DEFAULT if path is None else Path(path)
        tree, tensors = read(folder)
        config = parse(UpsamplerConfig, tree, str(folder / "config.json"))
        return cls(config, filled(build(config), tensors, folder), pick_device(device))

    def save_pretrained(self, path: str | Path, *, half: bool = False) -> Path:
        """Write config.json and weights.safetensors into the folder `path`; half: as float16."""
        return save(self.network, self.config.model_dump(), Path(path), half=half)

    @torch.inference_mode()
    def residuals(
        self, x: np.ndarray, seeds: Sequence[int], *, steps: int | None = None, strength: float | None = None
    ) -> np.ndarray:
        """Drawn residuals (B, 8, L) for resampled ECGs (B, 8, L) in mV, one seed for each."""
        c, whole = self.config, self.network.unet.factor
        more = -x.shape[-1] % whole
        seen = torch.from_numpy(np.pad(shown(x, c), ((0, 0), (0, 0), (0, more)), mode="edge")).to(self.device)
        y = self.cascade.sample(
            self.network,
            seen,
            len(INDEPENDENT),
            noise=seeded_noise(seeds),
            steps=c.steps if steps is None else steps,
            strength=c.strength if strength is None else strength,
        )
        return y[..., : x.shape[-1]].cpu().numpy()

    def upsample(self, ecg: ECG, *, seed: int = 0, steps: int | None = None, strength: float | None = None) -> ECG:
        """The ECG at the fine rate, with 12 leads. Below 40 Hz it is the ECG's own; what lies above is drawn from
        `seed`.

        steps: of the diffusion; strength: of the noise that its coarse sample is given first, 0 … what it was trained
        with; both None: the stage's own. ValueError: leads I, II, V1-V6 are not all there, or samples are missing.
        """
        x = ecg.select(INDEPENDENT).resample(self.config.coarse_rate).resample(self.config.rate).signal
        if not np.isfinite(x).all():
            raise ValueError("the ECG has missing samples: fill them in first (see `ECGTwin.fill`)")
        if x.shape[1] <= self.config.taps:
            raise ValueError(f"{ecg.seconds:.2f} s: expected more than {self.config.taps / self.config.rate:g} s")
        y = self.residuals(x[None], [seed], steps=steps, strength=strength)
        made = joined(x, y[0], self.config)
        one = replace(ecg, signal=made, rate=self.config.rate, leads=INDEPENDENT)
        return one.select(LEADS)


def at_rate(model: "ECGTwin", ecg: ECG, rate: float | None, seed: int = 0) -> ECG:
    """An ECG of the model's at another rate in Hz; None: as it is. Above its own rate the stage in the package draws
    what lies above 40 Hz, from `seed`; rates other than the stage's are resampled from that."""
    if rate is None or rate == ecg.rate:
        return ecg
    refuse_rate(rate)
    if rate > ecg.rate:
        ecg = model.upsampler.upsample(ecg, seed=seed)
    # The limb leads are derived anew, so that their identities hold to the last digit.
    return ecg if rate == ecg.rate else ecg.select(INDEPENDENT).resample(rate).select(LEADS)
