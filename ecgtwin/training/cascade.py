"""The stage from 102.4 to 500 Hz: pairs of recordings at 500 Hz with themselves at 102.4 Hz, as they are and
auto-encoded, some with a pacemaker's spikes.

Shapes: N recordings · 8 leads · L samples at 500 Hz.
"""

from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from scipy.signal import welch
from torch import Tensor

from ..ecg.leads import INDEPENDENT
from ..ecg.record import resample
from ..ecg.store.recordings import Recordings
from ..nets.unet import Stage
from ..train.cascade import CascadeStage, Fine
from ..train.plan import Fraction, Plan, Positive
from ..train.strict import Strict, parse, read_yaml
from ..twin.codec import Codec
from ..twin.upsampling import Upsampler, UpsamplerConfig, build, cascade_of, joined, low, residual, shown

BLOCKS = (Stage,)


class SpikesConfig(Strict):
    """A pacemaker's spikes that are added to copies of recordings, so that there are enough of them."""

    share: Fraction = 0.15
    """Copies beside the recordings, in parts of their number."""
    heights: tuple[float, float] = (0.15, 3.0)
    """mV in the lead that shows them best, drawn evenly on a logarithmic scale."""


class CascadeTraining(Plan):
    chunk: Positive = 1024
    """Samples at the fine rate that are seen at once; a multiple of the network's factor."""
    encoded: Fraction = 0.5
    """Of the pairs, those whose coarse ECG went through the auto-encoder, as twins have."""
    spikes: SpikesConfig = SpikesConfig()


class CascadeSettings(Strict):
    """One YAML file: the stage and its training."""

    cascade: UpsamplerConfig = UpsamplerConfig()
    train: CascadeTraining = Field(...)


def read_settings(path: Path, overrides: list[str]) -> CascadeSettings:
    return parse(CascadeSettings, read_yaml(path, overrides), str(path))


def ratio(config: UpsamplerConfig) -> tuple[int, int]:
    """The fine rate over the coarse one, in lowest terms."""
    from fractions import Fraction as Exact

    return (
        Exact(config.rate).limit_denominator(10_000) / Exact(config.coarse_rate).limit_denominator(10_000)
    ).as_integer_ratio()


def with_spikes(x: np.ndarray, config: SpikesConfig, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Signals (n, 8, L) with a spike of 2-6 ms before each of regular beats, in a direction of each one's own; what
    follows it decays within some ms to a small afterpotential of the other sign."""
    x = x.copy()
    time = np.arange(0.06 * rate) / rate
    for one in x:
        height = np.exp(rng.uniform(*np.log(config.heights)))
        lead = rng.normal(size=len(INDEPENDENT))
        lead *= height / np.abs(lead).max()
        width, decay = rng.uniform(0.001, 0.0025), rng.uniform(0.004, 0.02)
        after = rng.uniform(0.0, 0.12)
        beat = rng.uniform(0.5, 1.2)
        for at in np.arange(rng.uniform(0, beat), one.shape[-1] / rate - 0.1, beat):
            start, offset = int(at * rate), at * rate % 1 / rate
            t = time - 0.01 - offset
            pulse = np.exp(-0.5 * (t / width) ** 2) - after * np.exp(-t / decay) * (t > 0)
            one[:, start : start + len(time)] += lead[:, None] * pulse
    return x


class ECGPool:
    """Recordings as pairs of a residual above the crossover and what the network is shown of the coarse ECG."""

    def __init__(
        self, signals: np.ndarray, names: list[str], codec: Codec, config: UpsamplerConfig, plan: CascadeTraining
    ):
        """signals: (N, 8, L) in mV at the fine rate."""
        up, down = ratio(config)
        self.names, self.chunk, self.encoded = names, plan.chunk, plan.encoded
        n, leads, samples = signals.shape
        if not plan.chunk <= samples:
            raise ValueError(f"train.chunk {plan.chunk}: the recordings have {samples} samples")
        self.fine = np.empty((n, leads, samples), np.float16)
        self.seen = np.empty((n, 2, 2 * leads, samples), np.float16)
        device = next(codec.parameters()).device
        for k, x in enumerate(signals):
            coarse = resample(x, down, up)
            with torch.inference_mode():
                even = coarse.shape[-1] // codec.vae.factor * codec.vae.factor
                z = codec.encode(torch.from_numpy(coarse[None, :, :even]).to(device))
                made = np.concatenate([codec.decode(z)[0].float().cpu().numpy(), coarse[:, even:]], -1)
            self.fine[k] = residual(x, config)
            for v, one in enumerate((coarse, made)):
                self.seen[k, v] = shown(resample(one, up, down)[:, :samples], config)
        self.shape, self.coarse = (leads, plan.chunk), (2 * leads, plan.chunk)

    @staticmethod
    def of(
        recordings: Recordings, split: str, codec: Codec, config: UpsamplerConfig, plan: CascadeTraining
    ) -> "ECGPool":
        """Those of a split, each lead's median at zero, and copies of some with spikes."""
        places = recordings.places(split)
        x = recordings.millivolts(places)
        x -= np.median(x, -1, keepdims=True)
        rng = np.random.default_rng([plan.seed, len(places)])
        copied = rng.choice(len(x), round(plan.spikes.share * len(x)), replace=False)
        names = [recordings.name(int(k)) for k in places]
        x = np.concatenate([x, with_spikes(x[copied], plan.spikes, config.rate, rng)])
        return ECGPool(x, [*names, *(f"{names[k]} with spikes" for k in copied)], codec, config, plan)

    def __len__(self) -> int:
        return len(self.names)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 3): recording, whether its coarse ECG is auto-encoded, and the chunk's first sample."""
        free = self.fine.shape[-1] - self.chunk + 1
        rows = torch.randint(len(self), (n,), generator=generator)
        encoded = torch.rand(n, generator=generator) < self.encoded
        return torch.stack([rows, encoded.long(), torch.randint(free, (n,), generator=generator)], 1)

    def load(self, chosen: Tensor) -> Fine:
        fine, seen = [], []
        for row, encoded, first in chosen.tolist():
            fine.append(self.fine[row, :, first : first + self.chunk])
            seen.append(self.seen[row, encoded, :, first : first + self.chunk])
        return Fine(*(torch.from_numpy(np.stack(a).astype(np.float32)) for a in (fine, seen)))

    def name(self, chosen: Tensor) -> str:
        return self.names[int(chosen[0])]


def stage_of(settings: CascadeSettings, recordings: Recordings, codec: Codec, key: str) -> CascadeStage:
    """The stage on recordings at the fine rate. key: the auto-encoder's fingerprint."""
    config, plan = settings.cascade, settings.train
    torch.manual_seed(plan.seed)
    network = build(config)
    if plan.chunk % network.unet.factor:
        raise ValueError(f"train.chunk {plan.chunk}: expected a multiple of {network.unet.factor}")
    seen, held = (ECGPool.of(recordings, split, codec, config, plan) for split in ("train", "validation"))
    inputs = {"data": recordings.digest, "vae": key, "cascade": config.model_dump_json()}
    return CascadeStage(
        network, plan, cascade_of(config), seen, held, blocks=BLOCKS, config=settings.model_dump(), inputs=inputs
    )


def calibrated(stage: Upsampler, recordings: Recordings, most: int = 48) -> Upsampler:
    """The same stage, what it draws set to the mean spectrum of recordings: `most` of the training split.

    A network that has not learned everything draws too much, or too little, noise; how much is the same for all ECGs.
    """
    config, (up, down) = stage.config, ratio(stage.config)
    places = recordings.places("train")
    x = recordings.millivolts(places[:: max(1, len(places) // most)][:most])
    grid = np.linspace(0, config.rate / 2, len(config.powers))
    powers = np.zeros((2, len(grid)))
    for k, one in enumerate(x):
        coarse = resample(resample(one, down, up), up, down)[:, : one.shape[-1]]
        made = joined(coarse, stage.residuals(coarse[None], [k])[0], config) - low(coarse, config.crossover, config)
        f, ours = welch(made, config.rate, nperseg=500)
        theirs = welch(one - low(one, config.crossover, config), config.rate, nperseg=500)[1]
        width = grid[1] / 2
        bands = [(f >= at - width) & (f < at + width) for at in np.maximum(grid, config.crossover + width)]
        powers += [[power[:, b].mean() for b in bands] for power in (ours, theirs)]
    before = np.zeros(len(grid)) if config.correction is None else np.asarray(config.correction)
    correction = tuple(round(float(v), 2) for v in before + 10 * np.log10(powers[1] / powers[0]))
    return Upsampler(config.model_copy(update={"correction": correction}), stage.network, stage.device)
