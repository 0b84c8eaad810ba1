"""The heart as one moving dipole: waves that are sums of Gaussians in three dimensions, seen by the leads.

Each wave of the vectorcardiogram is a sum of Gaussian bumps, as in McSharry et al., IEEE Trans Biomed Eng 2003;
50:289, and with a vector for each bump as in Sameni et al., EURASIP J Adv Signal Process 2007; 043407. Their bumps
live in cardiac phase; here each beat has its own clock in seconds, so that intervals are what was asked and do not
stretch with the RR interval.
"""

from dataclasses import dataclass

import numpy as np

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
"""Lead field: mV in each of `INDEPENDENT` (I, II, V1-V6) for 1 mV of Frank's X (to the left), Y (down), Z (to the
back). Dower, Machado and Osborne, Clin Cardiol 1980; 3:87-95."""

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


def frontal(field: np.ndarray) -> np.ndarray:
    """What the limb leads make of a dipole: (2, 3), to the left and down, from I and aVF = II
    - I/2 of a lead field (8, 3).

    Left = I, down = 2 aVF / sqrt 3: the hexaxial system of Einthoven and Goldberger.
    """
    return np.stack([field[0], 2 * (field[1] - field[0] / 2) / np.sqrt(3)])


def frontal_axis(area: np.ndarray, field: np.ndarray) -> float:
    """Frontal axis in degrees (0 = to the left, 90 = down) of a dipole area (3,) under a lead field (8,
    3): of net areas of leads."""
    left, down = frontal(field) @ area
    return float(np.degrees(np.arctan2(down, left)))


def turn_to_axis(area: np.ndarray, field: np.ndarray, axis: float) -> np.ndarray:
    """Rotation (3, 3) that gives a dipole area (3,) the frontal axis `axis` in degrees under `field`.

    About the direction that leads I and II do not see, so that every axis can be reached: Z,
    were the field an ideal one.
    """
    unseen = np.cross(field[0], field[1])
    unseen /= np.linalg.norm(unseen)
    plane = frontal(field)
    wanted = np.array([np.cos(np.radians(axis)), np.sin(np.radians(axis))])
    now, quarter = (
        plane @ area,
        plane @ np.cross(unseen, area),
    )  # seen after a turn by phi: now cos(phi) + quarter sin(phi)
    across = np.array([-wanted[1], wanted[0]])
    angle = np.arctan2(-(now @ across), quarter @ across)
    if (now * np.cos(angle) + quarter * np.sin(angle)) @ wanted < 0:
        angle += np.pi
    return rotation(unseen, angle)


def rotation(about: np.ndarray, angle: float) -> np.ndarray:
    """Rotation (3, 3) by `angle` in radians about a unit vector (Rodrigues' formula)."""
    x, y, z = about
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
