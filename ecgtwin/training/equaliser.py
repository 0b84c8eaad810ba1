"""What a decoder draws too weak or too strong at each frequency, measured on training ECGs (no gradient, no labels).

An auto-encoder trained on squared errors loses the highest frequencies, and its convolutions leave rounding noise above
the recordings' anti-alias filter, where real ECGs hold nothing: a classifier tells twins from real ECGs by that alone.
"""

import numpy as np
import torch

from ..ecg.store.recordings import Recordings
from ..twin.codec import Codec, filtered, impulse
from ..twin.config import EqualiserConfig
from ..twin.noise_floor import spectrum_lost, turned

EDGES = np.r_[0.39, 0.49, 0.55, 0.61, 0.66, 0.70, 0.74:0.97:0.02, 1.0]
"""Of the bands, as fractions of half the sampling rate: finer where the anti-alias filter bends."""
MOST = 800
"""Training ECGs that are enough: the median gain of a band then has a standard error below 0.2 dB."""
QUIET = 1e-9
"""mV^2 added to the power of each band: what is below is nothing."""


ROUNDS = 4
"""Of measuring beside noise, which itself depends on the gains: bands are then within 0.1 dB."""


@torch.inference_mode()
def measure(
    codec: Codec, recordings: Recordings, seed: int = 0, *, band: tuple[float, float] | None = None
) -> EqualiserConfig:
    """The gains with which reconstructions have the mean log spectrum of the recordings, lead by lead.

    codec: without an equaliser of its own. band: where the recordings' noise is put back behind the equaliser
    (`sampling.noise_floor`), so that it is not counted twice. ValueError where the codec has an equaliser, or where
    there is no recording.
    """
    if codec.taps is not None:
        raise ValueError("the decoder has an equaliser already: measure it without (equaliser: null)")
    rows = np.sort(np.random.default_rng(seed).permutation(len(recordings))[:MOST])
    if not len(rows):
        raise ValueError("no recordings: an equaliser is measured on training ECGs")
    device, rate = codec.mean.device, recordings.rate
    real, decoded = [], []
    for part in np.array_split(rows, -(-len(rows) // 32)):
        x = recordings.millivolts(part)  # (n, 8, L)
        real.append(x)
        decoded.append(codec.decode(codec.encode(torch.from_numpy(x).to(device))).cpu().numpy())
    wanted = [np.log10(power(x)) for x in real]
    db = np.zeros(wanted[0].shape[1:])  # (8, bands)
    for _ in range(ROUNDS if band else 1):
        made = decoded
        if band:
            taps = torch.from_numpy(impulse(gains_of(db, rate), rate))
            made = [filtered(torch.from_numpy(y), taps).numpy() for y in decoded]
            made = [noisy(x, y, rate, band, seed) for x, y in zip(real, made, strict=True)]
        missing = [10 * (a - np.log10(power(y))) for a, y in zip(wanted, made, strict=True)]
        db = (db + np.concatenate(missing).mean(0)).clip(-60, 20)
    return gains_of(db, rate)


def gains_of(db: np.ndarray, rate: float) -> EqualiserConfig:
    """The equaliser with gains (8, bands) in dB in the bands between `EDGES`."""
    middles = (EDGES[:-1] + EDGES[1:]) / 2 * rate / 2
    return EqualiserConfig(hz=tuple(middles.round(2).tolist()), db=tuple(map(tuple, db.round(2).tolist())))


def noisy(x: np.ndarray, y: np.ndarray, rate: float, band: tuple[float, float], seed: int) -> np.ndarray:
    """What was decoded (n, 8, L) of recordings x, with their noise as twins get it."""
    return np.stack(
        [b + turned(spectrum_lost(a, b, rate, band), seed + k) for k, (a, b) in enumerate(zip(x, y, strict=True))]
    )


def power(signals: np.ndarray) -> np.ndarray:
    """Mean power (n, leads, bands) of signals (n, leads, L) in mV, in the bands between `EDGES`."""
    n = signals.shape[-1]
    spectrum = np.abs(np.fft.rfft(signals * np.hanning(n), axis=-1)) ** 2 / n
    place = np.digitize(np.linspace(0, 1, spectrum.shape[-1]), EDGES[:-1]) - 1
    return np.stack([spectrum[..., place == k].mean(-1) for k in range(len(EDGES) - 1)], -1) + QUIET
