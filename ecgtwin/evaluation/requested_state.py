"""Do twins of real patients show the state that was asked for? An independent judge reads them (extra `judge`)."""

from typing import Any

import numpy as np

from ..ecg.store.recordings import Recordings
from ..metrics.identity import GRID, POINTS, median_beats
from ..metrics.judge import CLASSES, Judge
from ..twin.condition import Condition
from ..twin.twin import ECGTwin

ASKED = {
    "sinus rhythm": ("sinus", ("sinus rhythm",)),
    "atrial fibrillation": ("afib", ("atrial fibrillation",)),
    "right bundle branch block": ("bbb", ("sinus rhythm", "complete right bundle branch block")),
    "left bundle branch block": ("bbb", ("sinus rhythm", "complete left bundle branch block")),
    "paced rhythm": ("paced", ("paced rhythm",)),
}
"""What is asked for -> the judge's class of it, statements."""
OTHERWISE = (
    "atrial fibrillation",
    "atrial flutter",
    "paced rhythm",
    "complete left bundle branch block",
    "complete right bundle branch block",
    "Wolff-Parkinson-White syndrome",
)
"""What a reference must not show."""


def plain(held: Recordings, n: int, seed: int) -> np.ndarray:
    """Rows of at most n held-out ECGs in sinus rhythm that show nothing of `OTHERWISE`. ValueError where
    there are fewer than two."""
    said = [set(held.statements(k)) for k in range(len(held))]
    rows = np.array([k for k, s in enumerate(said) if "sinus rhythm" in s and not s & set(OTHERWISE)])
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} validation ECGs in plain sinus rhythm: expected 2 or more")
    return np.sort(np.random.default_rng(seed).permutation(rows)[:n])


def followed(
    model: ECGTwin,
    held: Recordings,
    judge: Judge,
    *,
    references: int = 24,
    seed: int = 0,
    batch: int = 16,
    **options: Any,
) -> dict[str, Any]:
    """Real references in sinus rhythm, each drawn in five states at its own heart rate.

    options: of `ECGTwin.sample`. For each state: `read`, share of twins that the judge reads as the class asked for;
    and for comparison `real`, share of real validation ECGs with that statement that it reads so (n_real of them), and
    `references`, share of the references. `right`: median of V1's net QRS area in mV ms, which is negative in left
    bundle branch block and far less so in right; real ECGs' beside it.
    """
    rhythm = model.config.signal.rate
    said = [set(held.statements(k)) for k in range(len(held))]
    rows = plain(held, references, seed)
    signals = held.millivolts(rows)

    def read(x: np.ndarray) -> np.ndarray:
        return np.array([CLASSES[int(judge(lead, rhythm).argmax())] for lead in x[:, held.leads.index("II")]])

    before = read(signals)
    found: dict[str, Any] = {}
    for name, (label, reports) in ASKED.items():
        if not set(reports) <= set(model.statements):
            continue
        wanted = [Condition(reports, held.sexes(k), held.years(k), 75.0) for k in rows]
        requests = model.requests_for(signals, wanted, seed)
        twins = model.sample_in_parts(requests, batch, **options).cpu().numpy()
        real = held.millivolts(np.array([k for k, s in enumerate(said) if set(reports) <= s], int))
        found[name] = {
            "class": label,
            "n": len(rows),
            "read": float((read(twins) == label).mean()),
            "references": float((before == label).mean()),
            "n_real": len(real),
            "real": float((read(real) == label).mean()) if len(real) else None,
            "v1_area": v1_area(twins, held),
            "v1_area_real": v1_area(real, held) if len(real) else None,
        }
    return found


def v1_area(signals: np.ndarray, held: Recordings) -> float:
    """Median over ECGs of the area under V1's median beat from 40 ms before to 100 ms after R, mV ms; QRS points down
    in left bundle branch block and ends upwards in right."""
    beats = median_beats(signals, held.rate).reshape(len(signals), -1, POINTS)[:, held.leads.index("V1")]
    inside = (GRID >= -0.04) & (GRID <= 0.10)
    return float(np.median(beats[:, inside].sum(1)) * (GRID[1] - GRID[0]) * 1000)
