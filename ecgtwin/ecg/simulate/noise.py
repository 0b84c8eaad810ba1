"""What electrodes, muscles and the mains add to an ECG, apart from the heart, so that the
clean truth stays available."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")


@dataclass(frozen=True)
class Noise:
    """Typical size of each kind of noise at one electrode, root mean square in mV; a recording's own size varies about
    it. The sizes given here are those of normal ECGs in PTB-XL.

    wander: baseline, by breathing and drift, below 0.5 Hz. muscle: 15 to 150 Hz, in bursts. mains: at mains_hz.
    motion: electrode motion, sudden shifts that decay within a second; 0.0 leaves a kind out.
    """

    wander: float = 0.085
    muscle: float = 0.0024
    mains: float = 0.002
    motion: float = 0.01
    mains_hz: float = 50.0

    def __post_init__(self) -> None:
        for name in ("wander", "muscle", "mains", "motion"):
            if not 0 <= getattr(self, name) < 5:
                raise ValueError(f"noise {name} is {getattr(self, name)} mV, expected a size from 0 to 5 mV")

    def draw(self, rng: np.random.Generator, samples: int, rate: float, breaths: float) -> np.ndarray:
        """Noise of the eight independent leads (I, II, V1-V6), (8, samples) in mV.

        Drawn at the nine electrodes, so that leads which share one share its noise. rate: Hz; breaths: per minute.
        """
        size = np.exp(rng.normal(0.0, 0.45, (4, 1, 1)) + rng.normal(0.0, 0.6, (4, len(ELECTRODES), 1)))
        at = (
            self.wander * size[0] * _wander(rng, samples, rate, breaths)
            + self.muscle * size[1] * _muscle(rng, samples, rate)
            + self.mains * size[2] * _mains(rng, samples, rate, self.mains_hz)
            + self.motion * size[3] * _motion(rng, samples, rate)
        )
        right, left, foot = at[:3]
        return np.concatenate([[left - right, foot - right], at[3:] - (right + left + foot) / 3])


def _wander(rng: np.random.Generator, samples: int, rate: float, breaths: float) -> np.ndarray:
    time = np.arange(samples) / rate
    n = len(ELECTRODES)
    breathing = np.sin(2 * np.pi * breaths / 60 * time + rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.5, (n, 1)))
    drift = np.zeros((n, samples))
    for frequency in rng.uniform(0.02, 0.45, 6):
        drift += rng.normal(0, 0.05 / (frequency + 0.1), (n, 1)) * np.sin(
            2 * np.pi * frequency * time + rng.uniform(0, 2 * np.pi)
        )
    return 0.6 * breathing * rng.uniform(0.3, 1, (n, 1)) + drift


def _muscle(rng: np.random.Generator, samples: int, rate: float) -> np.ndarray:
    lead_in = int(0.2 * rate)
    white = rng.standard_normal((len(ELECTRODES), samples + lead_in))
    high = min(150.0, 0.45 * rate)
    band = sosfilt(butter(2, (min(15.0, 0.5 * high), high), "bandpass", fs=rate, output="sos"), white, axis=1)[
        :, lead_in:
    ]
    knots = np.exp(rng.normal(0, 0.35, (len(ELECTRODES), 12)))
    bursts = np.stack([np.interp(np.linspace(0, 11, samples), np.arange(12), k) for k in knots])
    return band / band.std() * bursts


def _mains(rng: np.random.Generator, samples: int, rate: float, hertz: float) -> np.ndarray:
    if hertz >= 0.5 * rate:
        return np.zeros((len(ELECTRODES), samples))
    time = np.arange(samples) / rate
    phase = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.4, (len(ELECTRODES), 1))
    return np.sqrt(2) * np.sin(2 * np.pi * hertz * time + phase)


def _motion(rng: np.random.Generator, samples: int, rate: float) -> np.ndarray:
    out = np.zeros((len(ELECTRODES), samples))
    time = np.arange(samples) / rate
    for electrode in range(len(ELECTRODES)):
        for start in rng.uniform(0, samples / rate, rng.poisson(samples / rate / 12)):
            after = np.clip(time - start, 0, None)
            rise, fall = rng.uniform(0.03, 0.1), rng.uniform(0.2, 0.8)
            out[electrode] += rng.normal(0, 3) * (1 - np.exp(-after / rise)) * np.exp(-after / fall)
    return out
