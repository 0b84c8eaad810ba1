"""Do generated ECGs look like real ones, as a set? Everything beside real against real, and beside real ECGs made
worse by known amounts.

References and the real ECGs that the generated are compared with are never of the same patient: the patients are
halved, what was made of the first half is compared with the second half's real ECGs and the other way round, and the
two figures are averaged. A copy of the references is therefore the floor itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ..metrics.bootstrap import Estimate, draws, interval
from ..metrics.degradations import LADDER, misranked
from ..metrics.distributions import apart
from ..metrics.features import standardised
from ..metrics.frechet import frechet_infinite, kernel_distance, kernel_distance_drawn
from ..metrics.neighbours import neighbours
from ..metrics.two_sample import two_sample
from .figures import Figure, bare
from .reading import MEASURED, Reading

FLOOR = "real"
COMPONENTS = 24


def halves(patients: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Patients -> whether each is in the first half."""
    names = np.unique(patients)
    first = set(np.random.default_rng([seed, 9]).permutation(names)[: len(names) // 2].tolist())
    return lambda p: np.array([x in first for x in np.asarray(p).tolist()], bool)


def realism(
    real: Reading,
    fitted: Reading,
    sets: Mapping[str, Reading],
    seed: int,
    first: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[Figure]:
    """real: held-out ECGs, of all patients. fitted: real training ECGs, to which features are standardised. sets:
    rows; the row `FLOOR` is the references themselves."""
    first = first or halves(real.patients, seed)
    figures = []
    for title, place in (("learned", learned(fitted)), ("hand-made", hand_made(fitted))):
        rows = {k: (place(r), r.patients) for k, r in sets.items()}
        figures += distances(title, place(real), real.patients, rows, first)
    figures.append(told_apart(real, sets, first))
    return [marked(f) for f in figures]


Place = Callable[[Reading], np.ndarray]


def learned(fitted: Reading) -> Place:
    place = standardised(fitted.learned, COMPONENTS)
    return lambda r: place(r.learned)


def hand_made(fitted: Reading) -> Place:
    """Half of the components of the median beat, a third of the spectrum, a sixth of the rhythm, each group apart: else
    the spectrum, which varies most, would hide that a beat runs backwards. The first 8 are of all three."""
    middle = np.nanmedian(fitted.rhythm, axis=0)
    parts: tuple[tuple[int, Place], ...] = (
        (12, lambda r: r.beats),
        (8, lambda r: r.spectrum),
        (4, lambda r: np.where(np.isfinite(r.rhythm), r.rhythm, middle)),
    )
    places = [(of, standardised(of(fitted), n)) for n, of in parts]
    order = [*range(4), 12, 13, 20, 21, *range(4, 12), *range(14, 20), 22, 23]
    return lambda r: np.concatenate([place(of(r)) for of, place in places], 1)[:, order]


def degraded(real: Reading) -> dict[str, Reading]:
    """The rungs of the ladder, made of these ECGs; the first is `FLOOR`, these themselves."""
    return {
        name: real if name == FLOOR else Reading(make(real.signals, real.rate), real.rate, real.patients, real.judges)
        for name, make in LADDER.items()
    }


def marked(figure: Figure) -> Figure:
    """With a note where the figure does not rank the degraded real ECGs among its rows as it should."""
    values = {name: row.value for name, row in figure.rows.items()}
    wrong = misranked(values, worse_is_more=figure.better == "less") if "time-reversed" in values else []
    return replace(figure, note=f"Of the degraded real ECGs it {'; '.join(wrong)}.") if wrong else figure


def distances(
    title: str, real: np.ndarray, owners: np.ndarray, sets: Mapping[str, tuple[np.ndarray, np.ndarray]], first: Callable
) -> list[Figure]:
    kernel, frechet, density, coverage = {}, {}, {}, {}
    side = first(owners)
    n = 0
    for name, (x, patients) in sets.items():
        at = first(patients)
        n = len(x)
        pairs = [(x[at == k], real[side != k], patients[at == k], owners[side != k]) for k in (True, False)]
        kernel[name] = 1000 * float(np.mean([kernel_distance(a, b) for a, b, _, _ in pairs]))
        drawn = np.mean([kernel_distance_drawn(a, b, draws(p, 300, 5), draws(q, 300, 6)) for a, b, p, q in pairs], 0)
        kernel[name] = Estimate(kernel[name], *interval(1000 * drawn))
        frechet[name] = spread([frechet_infinite(a[:, :8], b[:, :8]) for a, b, _, _ in pairs])
        near = [neighbours(b, a, k=5) for a, b, _, _ in pairs]
        density[name], coverage[name] = (spread([getattr(v, what) for v in near]) for what in ("density", "coverage"))
    about = f"{title} features, {COMPONENTS} principal components"
    return [
        Figure(
            f"kernel distance, {title}",
            "x 1000",
            "less",
            f"Unbiased; 0 on average for two real sets. {about}.",
            kernel,
            n,
        ),
        Figure(
            f"Frechet distance, {title}", "", "less", f"First 8 of the {about}, extrapolated to infinite n.", frechet, n
        ),
        Figure(
            f"density, {title}",
            "",
            "real",
            "How often a made ECG lies in a real one's neighbourhood; below the real row: odd ECGs; "
            "above it: too typical ones.",
            density,
            n,
        ),
        Figure(
            f"coverage, {title}",
            "",
            "more",
            "Real ECGs that have a made one in their neighbourhood; depends on n.",
            coverage,
            n,
        ),
    ]


def spread(values: list[float]) -> Estimate:
    """Mean of the two halves' values, with these as its ends: an idea of the uncertainty, not a confidence interval."""
    return Estimate(float(np.mean(values)), float(min(values)), float(max(values)))


def told_apart(real: Reading, sets: Mapping[str, Reading], first: Callable) -> Figure:
    """The two-sample test on hand-made features; ECGs of all patients,
    each judged by a classifier that has not seen its patient."""
    rows = {}
    for name, made in sets.items():
        a, b = unpaired(real, made, first)
        x, y = np.r_[real.hand_made[a]], made.hand_made[b]
        rows[name] = two_sample(x, y, real.patients[a], made.patients[b])
    meaning = "Classifier two-sample test on beat, spectrum and rhythm; 0.5: it cannot tell."
    return Figure("told from real by a classifier", "AUROC", "less", meaning, rows, len(next(iter(sets.values()))))


def unpaired(real: Reading, made: Reading, first: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Rows of real and of made ECGs such that no patient is in both:
    of real ones those whose patient made nothing, and so on."""
    a = ~np.isin(real.patients, made.patients)
    if a.sum() >= 40:
        return np.flatnonzero(a), np.arange(len(made))
    return np.flatnonzero(first(real.patients)), np.flatnonzero(~first(made.patients))


def physiology(real: Reading, sets: Mapping[str, Reading], first: Callable) -> list[Figure]:
    """Distances between distributions of each measurement; made of one half against real of the other, averaged."""
    names = [*MEASURED, "RR variation", "odd RR intervals"]

    def table(r: Reading) -> np.ndarray:
        return np.c_[r.measured, r.rhythm[:, [1, 3]]]

    whole, side = table(real), first(real.patients)
    figures = []
    tables = {key: table(made) for key, made in sets.items()}
    for column, name in enumerate(names):
        rows, measurable = {}, {}
        for key, made in sets.items():
            x, at = tables[key][:, column], first(made.patients)
            found = [apart(whole[side != k, column], x[at == k]) for k in (True, False)]
            rows[key] = spread([f.distance for f in found])
            measurable[key] = bare(np.mean([f.measured_made for f in found]))
        word, unit = name.rsplit(" ", 1) if name in MEASURED else (name, "")
        meaning = "Wasserstein distance of the distribution to that of real ECGs; measurable in " + ", ".join(
            f"{v.value:.0%} ({k})" for k, v in measurable.items()
        )
        n = len(next(iter(sets.values())))
        drawn = {key: x[:, column] for key, x in tables.items() if key not in LADDER or key == FLOOR}
        figures.append(Figure(f"{word}, distribution", unit, "less", meaning + ".", rows, n, values=drawn))
    return figures
