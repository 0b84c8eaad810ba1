"""The heart as one moving dipole: waves that are sums of Gaussians in three dimensions, seen by the leads.

Each wave of the vectorcardiogram is a sum of Gaussian bumps, as in McSharry et al., IEEE Trans Biomed Eng 2003; 50:289, and with
a vector for each bump as in Sameni et al., EURASIP J Adv Signal Process 2007; 043407. Their bumps live in cardiac phase; here
each beat has its own clock in seconds, so that intervals are what was asked and do not stretch with the RR interval.
"""

from dataclasses import dataclass

import numpy as np

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The eight independent leads, the rows of `DOWER`."""

DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
"""Lead field: mV in each of `LEADS` for 1 mV of Frank's X (to the left), Y (down), Z (to the back).
Dower, Machado and Osborne, Clin Cardiol 1980; 3:87-95."""

ROOT_TWO_PI = float(np.sqrt(2 * np.pi))


@dataclass(frozen=True)
class Wave:
    """A sum of Gaussian bumps: centres (n,) and widths (n,) in s, vectors (n, 3) in mV along X, Y, Z."""

    centres: np.ndarray
    widths: np.ndarray
    vectors: np.ndarray

    def __call__(self, time: np.ndarray) -> np.ndarray:
        """The dipole (3, samples) in mV at `time` (samples,) in s."""
        distance = (np.asarray(time)[None] - self.centres[:, None]) / self.widths[:, None]
        return self.vectors.T @ np.exp(-0.5 * distance**2)

    def __add__(self, other: "Wave") -> "Wave":
        return Wave(
            np.concatenate([self.centres, other.centres]),
            np.concatenate([self.widths, other.widths]),
            np.concatenate([self.vectors, other.vectors]),
        )

    def moved(self, shift: float, stretch: float = 1.0) -> "Wave":
        """The same wave `stretch` times as long (about time 0), then `shift` s later."""
        return Wave(self.centres * stretch + shift, self.widths * stretch, self.vectors)

    def turned(self, matrix: np.ndarray) -> "Wave":
        """Every vector replaced by `matrix` (3, 3) times it."""
        return Wave(self.centres, self.widths, self.vectors @ np.asarray(matrix).T)

    def scaled(self, factor: float | np.ndarray) -> "Wave":
        """Vectors times `factor`: a number, or one for each bump."""
        return Wave(self.centres, self.widths, self.vectors * np.reshape(factor, (-1, 1)))

    def area(self) -> np.ndarray:
        """Time integral of the dipole, (3,) in mV s."""
        return ROOT_TWO_PI * self.widths @ self.vectors

    def span(self) -> tuple[float, float]:
        """A time before which, and one after which, there is nothing to see (4 widths)."""
        return float(np.min(self.centres - 4 * self.widths)), float(np.max(self.centres + 4 * self.widths))


def wave(*bumps: tuple[float, float, tuple[float, float, float]]) -> Wave:
    """A wave written out as (centre in s, width in s, (x, y, z) in mV) for each bump."""
    centres, widths, vectors = zip(*bumps, strict=True)
    return Wave(np.array(centres, float), np.array(widths, float), np.array(vectors, float))


def frontal_axis(area: np.ndarray, field: np.ndarray) -> float:
    """Frontal axis in degrees (0 = to the left, 90 = down) of a dipole area (3,) seen by a lead field (8, 3) in the order `LEADS`.

    From the net areas of leads I and aVF = II - I/2: axis = atan2(2 aVF / sqrt 3, I), the hexaxial system of Einthoven and Goldberger.
    """
    one, two = field[0] @ area, field[1] @ area
    return float(np.degrees(np.arctan2(2 * (two - one / 2) / np.sqrt(3), one)))


def turn_to_axis(area: np.ndarray, field: np.ndarray, axis: float) -> np.ndarray:
    """Rotation (3, 3) about Z, the smallest that gives an area the frontal axis `axis` in degrees under `field`."""
    angles = np.radians(np.arange(-180.0, 180.0, 0.5))
    cos, sin = np.cos(angles), np.sin(angles)
    turned = np.stack([cos * area[0] - sin * area[1], sin * area[0] + cos * area[1], np.full_like(cos, area[2])])
    one, two = field[0] @ turned, field[1] @ turned
    reached = np.degrees(np.arctan2(2 * (two - one / 2) / np.sqrt(3), one))
    missed = np.abs((reached - axis + 180) % 360 - 180)
    near = np.flatnonzero(missed <= missed.min() + 0.5)
    best = near[np.argmin(np.abs(angles[near]))]
    return np.array([[cos[best], -sin[best], 0.0], [sin[best], cos[best], 0.0], [0.0, 0.0, 1.0]])
