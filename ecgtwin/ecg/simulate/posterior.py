"""The waves and lead fields that explain a median beat best, as the mode of their posterior.

A beat is Gaussian bumps of P, QRS and ST-T in three dimensions seen by a lead field. Given where the waves begin and
end, bumps and field are found together (Gauss and Newton): the population that `Person.draw` draws from is the prior,
white noise of `NOISE` the likelihood.
"""

from functools import cache

import numpy as np

from ..median_beat import BEFORE, RATE
from .dipole import DOWER, Wave
from .person import SIZES, population
from .read import Ends

NOISE = 0.02  # mV: of a median beat, and of what no dipole explains, in each sample at 250 Hz
FREE = 0.25  # of each trait's variance: what the principal components of the population leave free
LEVEL = 0.03  # mV: typical size of the baseline's shift after P
USUAL = 1.5  # standard deviations of a bend of V1-V6 that most people stay within
ROUNDS = 6  # of Gauss and Newton


def most_likely(
    beat: np.ndarray, ends: Ends, rr: float, female: float, years: float
) -> tuple[dict[str, Wave], dict[str, np.ndarray], tuple[float, float]]:
    """The mode of the posterior of waves (in their own time, as a person's) and lead fields; and the
    prior's P duration and PR in ms."""
    known = population()
    mean = known["mean"] + female * known["female"] + (years - 50) / 20 * known["per_20_years_over_50"]
    std, precision = prior()
    first = ends.on - 6 if ends.p_on is None else int(ends.p_on) - 8
    rows = np.arange(first, min(ends.t_end + 30, BEFORE + rr * RATE - (ends.on - first)), 2)
    starts = {"p": (ends.p_on, ends.p_off), "qrs": (ends.on, ends.off), "t": (ends.off, ends.t_end)}
    columns = []
    for name, (start, stop) in starts.items():
        centres, width = np.array(known["grid"][name]["centres"]), known["grid"][name]["width"]
        if start is None:
            columns.append(np.zeros((len(rows), len(centres))))
        else:
            columns.append(np.exp(-0.5 * (((rows - start) / (stop - start))[:, None] - centres) ** 2 / width**2))
    columns.append(atrial_level(rows, ends)[:, None])
    turned, basis = np.linalg.qr(np.concatenate(columns, axis=1))
    data = turned.T @ beat[:, rows.astype(int)].T  # (columns, leads): all that the model can see of the beat
    places = dict(
        zip(
            ("p", "qrs", "t", "level"),
            np.split(basis, np.cumsum([SIZES[n] for n in ("p", "qrs", "t")]), axis=1),
            strict=True,
        )
    )

    traits = started(mean, places, data)
    level = np.zeros(8)
    ms = 1000 / RATE
    read = np.array([np.nan, np.nan, (ends.off - ends.on) * ms, (ends.t_end - ends.on) * ms / rr ** (1 / 3)])
    if ends.p_on is not None:
        read[:2] = (ends.p_off - ends.p_on) * ms, (ends.on - ends.p_on) * ms
    for _ in range(ROUNDS):
        missed, slope = linearised(traits, level, places, data)
        slope = np.concatenate([slope * std, np.kron(places["level"], np.eye(8)) * LEVEL], axis=1) / NOISE
        seen = np.zeros((4, slope.shape[1]))
        seen[:, len(mean) - 4 : len(mean)] = np.diag(np.where(np.isnan(read), 0.0, std[-4:] / 2.0))  # ms
        off = np.where(np.isnan(read), 0.0, (read - traits[-4:]) / 2.0)
        design, wanted = np.concatenate([slope, seen]), np.concatenate([missed / NOISE, off])
        normal = design.T @ design
        normal[: len(mean), : len(mean)] += precision
        normal[len(mean) :, len(mean) :] += np.eye(8)
        pull = np.concatenate([precision @ ((traits - mean) / std), level / LEVEL])
        step = np.linalg.solve(normal, design.T @ wanted - pull)
        step *= min(1.0, 3.0 / np.abs(step).max())
        traits, level = traits + step[: len(mean)] * std, level + step[len(mean) :] * LEVEL
    if not np.isfinite(traits).all():
        raise ValueError("no waves explain the median beat: it is too noisy, or no ECG")
    waves, fields = {}, {}
    for name, vectors, field in unpacked(traits):
        centres = np.array(known["grid"][name]["centres"])
        waves[name], fields[name] = Wave(centres, np.full(len(centres), known["grid"][name]["width"]), vectors), field
    return waves, fields, (float(traits[-4]), float(traits[-3]))


@cache
def prior() -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation (130,) of each trait, and the precision (130, 130) of traits divided by it."""
    components = population()["components"]
    std = np.linalg.norm(components, axis=0)
    correlation = (components / std).T @ (components / std)
    return std, np.linalg.inv((correlation + FREE * np.eye(len(std))) / (1 + FREE))


def usual_field(field: np.ndarray, wave: str) -> np.ndarray:
    """A lead field (8, 3) of "p", "qrs" or "t", each bend of V1-V6 within `USUAL` standard deviations of the
    population's mean."""
    first = 3 + 3 * sum(SIZES.values()) + 18 * list(SIZES).index(wave)
    mean, std = (x[first : first + 18].reshape(6, 3) for x in (population()["mean"], prior()[0]))
    bends = np.clip(field[2:] - DOWER[2:], mean - USUAL * std, mean + USUAL * std)
    return np.concatenate([field[:2], DOWER[2:] + bends])


def atrial_level(rows: np.ndarray, ends: Ends) -> np.ndarray:
    """How the atria's own repolarisation moves the baseline: from P on, gone 0.2 s after the QRS onset."""
    if ends.p_on is None:
        return np.zeros(len(rows))
    rise = np.clip((rows - ends.p_on) / (ends.on - ends.p_on), 0, 1)
    return rise * np.exp(-0.5 * (np.clip(rows - ends.on, 0, None) / (0.1 * RATE)) ** 2)


def started(mean: np.ndarray, places: dict[str, np.ndarray], data: np.ndarray) -> np.ndarray:
    """Traits from which to begin: the population's, with the waves that Dower's matrix gives back of
    the heights in the leads."""
    traits, at = mean.copy(), 3
    basis = np.concatenate([places[name] for name in SIZES], axis=1)
    ridge = 5e-3 * np.trace(basis.T @ basis) / basis.shape[1]
    heights = np.linalg.solve(basis.T @ basis + ridge * np.eye(basis.shape[1]), basis.T @ data)
    vectors = heights @ np.linalg.pinv(DOWER).T
    for number, size in enumerate(SIZES.values()):
        own, vectors = vectors[:size], vectors[size:]
        if own.any():
            traits[number] = np.log(np.sqrt(np.mean(own**2)))
            traits[at : at + 3 * size] = (own / np.exp(traits[number])).ravel()
        at += 3 * size
    return traits


def unpacked(traits: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Of P, QRS and T: name, vectors (bumps, 3) in mV, lead field (8, 3)."""
    out, at = [], 3
    bends = traits[at + 3 * sum(SIZES.values()) :][:54].reshape(3, 6, 3)
    for gain, bend, (name, size) in zip(np.exp(traits[:3]), bends, SIZES.items(), strict=True):
        out.append(
            (name, gain * traits[at : at + 3 * size].reshape(size, 3), np.concatenate([DOWER[:2], DOWER[2:] + bend]))
        )
        at += 3 * size
    return out


def linearised(
    traits: np.ndarray, level: np.ndarray, places: dict[str, np.ndarray], data: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the model misses of the data (columns * leads,), and how the model changes with each trait
    (columns * leads, traits)."""
    rows, leads = data.shape
    slope = np.zeros((rows, leads, len(traits)))
    missed = data - places["level"] * level
    at, bend = 3, 3 + 3 * sum(SIZES.values())
    for number, (name, vectors, field) in enumerate(unpacked(traits)):
        size, basis = len(vectors), places[name]
        seen = basis @ vectors  # (columns, 3)
        slope[:, :, number] = seen @ field.T
        missed -= slope[:, :, number]
        slope[:, :, at : at + 3 * size] = np.exp(traits[number]) * np.einsum("ib,lk->ilbk", basis, field).reshape(
            rows, leads, -1
        )
        for lead in range(2, leads):
            slope[:, lead, bend + 3 * (lead - 2) : bend + 3 * (lead - 1)] = seen
        at, bend = at + 3 * size, bend + 18
    return missed.ravel(), slope.reshape(rows * leads, -1)
