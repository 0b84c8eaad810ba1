"""A simulated person: a draw of traits that stay with them whatever state their heart is in."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np

from .dipole import DOWER, Wave, frontal, frontal_axis

SIZES = {"p": 5, "qrs": 9, "t": 9}  # bumps of each wave in population.json


@dataclass(frozen=True, eq=False)
class Person:
    """Who is simulated. Draw one with `Person.draw(seed)`; change a trait with `dataclasses.replace`.

    p, qrs, t: the dipole waves of a normal beat in their own time (0 = onset, 1 = end; for t 0 = end of the QRS
    complex), mV. p_field, qrs_field, t_field: the lead field (8, 3) by which each is seen: Dower's, of which V1-V6,
    near the heart, are bent by this chest, these electrodes and where in the heart the wave comes from. p_ms,
    pr_ms, qrs_ms: durations at 60 beats/min, as qtc_ms, the QT. axis_deg: frontal QRS axis (90 = down).
    resting_rate: beats/min. breaths: per minute. variability_ms: standard deviation of the RR interval at rest.
    sex: "female" | "male"; age: years. spread: how far from their middle the further traits lie (`own`): 1 as in the
    population, 0 in the middle.
    """

    seed: int
    sex: str
    age: float
    p: Wave
    qrs: Wave
    t: Wave
    p_field: np.ndarray
    qrs_field: np.ndarray
    t_field: np.ndarray
    p_ms: float
    pr_ms: float
    qrs_ms: float
    qtc_ms: float
    axis_deg: float
    resting_rate: float
    breaths: float
    variability_ms: float
    spread: float = 1.0

    @staticmethod
    def draw(seed: int, *, sex: str | None = None, age: float | None = None) -> "Person":
        """The person number `seed`, the same each time, with the sex and age (18 to 95 years) asked for, if any.

        Traits are drawn from the joint distribution that was fitted to the normal ECGs of PTB-XL; a draw that no reader
        would call a normal ECG (`looks_normal`) is drawn again. ValueError for another sex or age.
        """
        if sex not in (None, "female", "male"):
            raise ValueError(f'sex is {sex!r}, expected "female" or "male"')
        if age is not None and not 18 <= age <= 95:
            raise ValueError(f"age is {age}, expected 18 to 95 years: the population that was fitted is adult")
        rng = np.random.default_rng([seed, crc32(b"person")])
        drawn_sex = "female" if rng.random() < 0.5 else "male"
        drawn_age = float(np.round(np.clip(rng.normal(56, 17), 18, 95)))
        sex, age = sex or drawn_sex, float(drawn_age if age is None else age)
        for _ in range(500):
            person = _built(seed, sex, age, rng)
            if looks_normal(person):
                return person
        raise RuntimeError(f"no normal person after 500 draws from seed {seed}: population.json does not fit this code")

    def own(self, what: str, low: float, high: float) -> float:
        """A further trait of this person, uniform in [low, high], the same each time for the same `what`; nearer to the
        middle with less `spread`."""
        middle = (low + high) / 2
        return (
            self.choice(what, low, high)
            if self.spread == 1
            else middle + self.spread * (self.choice(what, low, high) - middle)
        )

    def choice(self, what: str, low: float = 0.0, high: float = 1.0) -> float:
        """As `own`, of what is one thing or another, so that there is no middle: of any `spread`."""
        return float(np.random.default_rng([self.seed, crc32(what.encode())]).uniform(low, high))


@cache
def population() -> dict:
    """The fitted population (scripts/fit_population.py): mean trait vector, pull of sex and
    age, principal components."""
    raw = json.loads((Path(__file__).parent / "population.json").read_text())
    keys = ("mean", "female", "per_20_years_over_50", "components")
    return {**{k: np.array(raw[k]) for k in keys}, "grid": raw["grid"]}


def _built(seed: int, sex: str, age: float, rng: np.random.Generator) -> Person:
    known = population()
    z = np.clip(rng.standard_normal(len(known["components"])), -2.6, 2.6)
    traits = known["mean"] + (sex == "female") * known["female"] + (age - 50) / 20 * known["per_20_years_over_50"]
    traits = traits + z @ known["components"]
    gains, at = np.exp(traits[:3]), 3
    waves = {}
    for gain, (name, size) in zip(gains, SIZES.items(), strict=True):
        centres = np.array(known["grid"][name]["centres"])
        widths = np.full(size, known["grid"][name]["width"])
        shape = traits[at : at + 3 * size].reshape(size, 3)
        waves[name] = Wave(centres, widths, gain * shape / np.sqrt(np.mean(shape**2)))
        at += 3 * size
    bends = traits[at : at + 54].reshape(3, 6, 3)  # of V1-V6; I and II are far enough to see what Dower's see
    p_field, qrs_field, t_field = (np.concatenate([DOWER[:2], DOWER[2:] + bend]) for bend in bends)
    p_ms, pr_ms, qrs_ms, qtc_ms = traits[at + 54 :]
    time = np.linspace(0, 1, 101)  # of the QRS complex
    return Person(
        seed=seed,
        sex=sex,
        age=age,
        **waves,
        p_field=p_field,
        qrs_field=qrs_field,
        t_field=t_field,
        p_ms=float(p_ms),
        pr_ms=float(pr_ms),
        qrs_ms=float(qrs_ms),
        qtc_ms=float(qtc_ms),
        axis_deg=frontal_axis(
            (waves["qrs"](time) + waves["t"]((time - 1) * qrs_ms / (qtc_ms - qrs_ms))).mean(1), DOWER
        ),
        resting_rate=float(np.clip(rng.normal(69 + 3 * (sex == "female"), 9), 52, 95)),
        breaths=float(rng.uniform(11, 19)),
        variability_ms=float(np.exp(rng.normal(np.log(29) - 0.008 * (age - 50), 0.55))),
    )


def looks_normal(person: Person) -> bool:
    """Whether a reader would let this pass as a normal ECG: axis, intervals, upright P and T, R
    wave growing from V1 to V4."""
    grid = np.linspace(-0.1, 1.2, 131)
    p = person.p_field @ person.p(grid)
    qrs_dipole = person.qrs(grid)
    qrs, t = person.qrs_field @ qrs_dipole, person.t_field @ person.t(grid)
    one, two, v1, v2, v3, v4, v5, v6 = range(8)
    late = t[:, 45:]
    upright = late.max(1) > 2.0 * np.abs(late.min(1))
    r, s = qrs.max(1), -qrs.min(1)
    p_size, t_size = np.linalg.norm(p, axis=0), np.linalg.norm(t, axis=0)
    net = np.linalg.norm(frontal(person.qrs_field) @ qrs_dipole.mean(1))
    limbs = max(np.ptp(qrs[lead]) for lead in (one, two))
    return bool(
        -25 < person.axis_deg < 95
        and net > 0.11  # mV over the QRS complex: with less there is no axis to speak of
        and 75 <= person.p_ms <= 125
        and 120 <= person.pr_ms <= 200
        and 68 <= person.qrs_ms <= 108
        and 350 <= person.qtc_ms <= (455 if person.sex == "female" else 445)
        and p[two].max() > 0.05
        and p[two].max() > 3 * -p[two].min()
        and p_size[[0, 130]].max() < 0.15 * p_size.max()
        and t_size[122:].max() < 0.2 * t_size[:122].max()  # no U wave to speak of
        and upright[[one, two, v3, v4, v5, v6]].all()
        and 0.08 < late[two].max() < 0.7
        and late[v2].max() < 1.3
        and np.abs(t[:, 13:30]).max() < 0.3
        and limbs > 0.5
        and r.max() < 3.0
        and s.max() < 3.0
        and r[one] > 0.15
        and r[v1] < s[v1]
        and 0.03 < r[v1] < r[v3] < r[v4] * 1.3
        and r[v5] > 1.5 * s[v5]
        and r[v6] > 2.0 * s[v6]
        and s[v1] + max(r[v5], r[v6]) < 3.5
    )
