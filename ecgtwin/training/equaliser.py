"""What a decoder draws too weak or too strong at each frequency, measured on training ECGs (no gradient, no labels).

An auto-encoder trained on squared errors loses the highest frequencies, and its convolutions leave rounding noise above
the recordings' anti-alias filter, where real ECGs hold nothing: a classifier tells twins from real ECGs by that alone.
"""

import numpy as np
import torch

from ..ecg.store.recordings import Recordings
from ..twin.codec import Codec
from ..twin.config import EqualiserConfig

EDGES = np.r_[0.39, 0.49, 0.55, 0.61, 0.66, 0.70, 0.74:0.97:0.02, 1.0]
"""Of the bands, as fractions of half the sampling rate: finer where the anti-alias filter bends."""
MOST = 800
"""Training ECGs that are enough: the median gain of a band then has a standard error below 0.2 dB."""
QUIET = 1e-9
"""mV^2 added to the power of each band: what is below is nothing."""


@torch.inference_mode()
def measure(codec: Codec, recordings: Recordings, seed: int = 0) -> EqualiserConfig:
    """The gains with which reconstructions have the mean log spectrum of the recordings, lead by lead.

    codec: without an equaliser of its own. ValueError where it has one, or where there is no recording.
    """
    if codec.taps is not None:
        raise ValueError("the decoder has an equaliser already: measure it without (equaliser: null)")
    rows = np.sort(np.random.default_rng(seed).permutation(len(recordings))[:MOST])
    if not len(rows):
        raise ValueError("no recordings: an equaliser is measured on training ECGs")
    device, gains = codec.mean.device, []
    for part in np.array_split(rows, -(-len(rows) // 32)):
        x = recordings.millivolts(part)  # (n, 8, L)
        y = codec.decode(codec.encode(torch.from_numpy(x).to(device))).cpu().numpy()
        gains.append(10 * (np.log10(power(x)) - np.log10(power(y))))
    db = np.concatenate(gains).mean(0).clip(-60, 20)  # (8, bands)
    middles = (EDGES[:-1] + EDGES[1:]) / 2 * recordings.rate / 2
    return EqualiserConfig(hz=tuple(middles.round(2).tolist()), db=tuple(map(tuple, db.round(2).tolist())))


def power(signals: np.ndarray) -> np.ndarray:
    """Mean power (n, leads, bands) of signals (n, leads, L) in mV, in the bands between `EDGES`."""
    n = signals.shape[-1]
    spectrum = np.abs(np.fft.rfft(signals * np.hanning(n), axis=-1)) ** 2 / n
    place = np.digitize(np.linspace(0, 1, spectrum.shape[-1]), EDGES[:-1]) - 1
    return np.stack([spectrum[..., place == k].mean(-1) for k in range(len(EDGES) - 1)], -1) + QUIET
