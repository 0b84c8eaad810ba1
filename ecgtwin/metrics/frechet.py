"""How far apart are two sets of features? Frechet distance and kernel distance, on (N, D) arrays of any network's.

Frechet distance is biased by the number of samples: compare it only at equal N, beside the distance of two real sets.
The kernel distance is unbiased, so that it is 0 on average for two sets of one source, and may then be negative.
"""

import numpy as np

Array = np.ndarray


def frechet_distance(a: Array, b: Array) -> float:
    """Squared 2-Wasserstein distance of the Gaussians fitted to two sets of features, (N, D) and (M, D): the FID.

    Heusel et al. 2017, arXiv 1706.08500, eq. 6. Covariances divide by N - 1.
    """
    a, b = pair(a, b)
    return frechet_gaussians(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))


def frechet_gaussians(mean_a: Array, covariance_a: Array, mean_b: Array, covariance_b: Array) -> float:
    """|m_a - m_b|² + tr(S_a + S_b - 2 (S_a S_b)^1/2), by symmetric roots only, so that nothing turns complex."""
    covariance_a, covariance_b = np.atleast_2d(covariance_a), np.atleast_2d(covariance_b)
    values, vectors = np.linalg.eigh(covariance_a)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    # tr (S_a S_b)^1/2 = tr (S_a^1/2 S_b S_a^1/2)^1/2, and the latter is symmetric.
    cross = np.sqrt(np.linalg.eigvalsh(root @ covariance_b @ root).clip(min=0)).sum()
    apart = np.sum((np.asarray(mean_a) - np.asarray(mean_b)) ** 2)
    return float(apart + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross)


def frechet_infinite(a: Array, b: Array, *, draws: int = 30, seed: int = 0) -> float:
    """Frechet distance extrapolated to infinitely many samples: fitted as c0 + c1 / n on random parts, c0 is returned.

    Chong and Forsyth 2020, arXiv 1911.07023, section 4. Parts hold 1/2 to all of either set, so that both sizes
    shrink alike; the fit is good where each part holds several times as many samples as there are dimensions.
    It may be slightly negative.
    """
    a, b = pair(a, b)
    generator = np.random.default_rng(seed)
    shares = np.linspace(0.5, 1.0, draws)
    found = []
    for share in shares:
        rows = [generator.permutation(len(x))[: max(2, round(share * len(x)))] for x in (a, b)]
        found.append(frechet_distance(a[rows[0]], b[rows[1]]))
    return float(np.polyfit(1 / shares, found, 1)[1])


def kernel_distance(a: Array, b: Array, degree: int = 3) -> float:
    """Unbiased squared maximum mean discrepancy under (x·y / D + 1)^degree, between (N, D) and (M, D): the KID.

    Binkowski et al. 2018, arXiv 1801.01401, eq. 4 and section 4: no pair of a sample with itself is counted.
    """
    a, b = pair(a, b)
    n, m, width = len(a), len(b), a.shape[1]

    def kernel(x: Array, y: Array) -> Array:
        return (x @ y.T / width + 1) ** degree

    within_a, within_b = kernel(a, a), kernel(b, b)
    same_a = (within_a.sum() - np.trace(within_a)) / (n * (n - 1))
    same_b = (within_b.sum() - np.trace(within_b)) / (m * (m - 1))
    return float(same_a + same_b - 2 * kernel(a, b).mean())


def kernel_distance_drawn(a: Array, b: Array, weights_a: Array, weights_b: Array, degree: int = 3) -> Array:
    """Kernel distances (times,) of bootstrap samples, given as how often each row of a and b
    occurs, (times, N) and (times, M).

    A row drawn twice makes no pair with itself, or the distance of two equal sources would not be 0 on average.
    """
    a, b = pair(a, b)
    width = a.shape[1]

    def among(x: Array, w: Array) -> Array:
        k = (x @ x.T / width + 1) ** degree
        np.fill_diagonal(k, 0)
        return ((w @ k) * w).sum(1) / (w.sum(1) ** 2 - (w**2).sum(1))

    wa, wb = np.asarray(weights_a, float), np.asarray(weights_b, float)
    across = ((wa @ (a @ b.T / width + 1) ** degree) * wb).sum(1) / (wa.sum(1) * wb.sum(1))
    return among(a, wa) + among(b, wb) - 2 * across


def pair(a: Array, b: Array) -> tuple[Array, Array]:
    """Both sets in float64; ValueError where they cannot be compared."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features of shapes {a.shape} and {b.shape}: expected (N, D) and (M, D) with N, M >= 2")
    for name, x in (("first", a), ("second", b)):
        if not np.isfinite(x).all():
            raise ValueError(f"the {name} set of features holds values that are not finite: check its network")
    return a, b


def inception_score(probabilities: np.ndarray, parts: int = 10) -> tuple[float, float]:
    """exp E KL(p(y | x) || p(y)) of a classifier's probabilities (N, K), and its standard deviation over `parts` of the
    samples (Salimans et al. 2016, arXiv 1606.03498, section 4): 1 (nothing recognised, or all alike) to K."""
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or len(p) < parts or (p < 0).any() or not np.allclose(p.sum(1), 1, atol=1e-4):
        raise ValueError(f"probabilities {p.shape}: expected (N, K), N of {parts} or more, each row with a sum of 1")
    scores = []
    for part in np.array_split(p, parts):
        mean = part.mean(0, keepdims=True)
        ratio = np.log(np.maximum(part, 1e-300)) - np.log(np.maximum(mean, 1e-300))
        scores.append(np.exp((part * ratio).sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))
