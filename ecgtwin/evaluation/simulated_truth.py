"""How near a model comes to the exact counterfactual. Only simulated people have one, so
these figures are about them."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch

from ..ecg.simulate import Person, Simulated, simulate_truth, state
from ..metrics.identity import POINTS, median_beats
from ..twin.condition import Condition
from ..twin.twin import ECGTwin

TARGETS = (
    "atrial fibrillation",
    "complete left bundle branch block",
    "complete right bundle branch block",
    "left anterior fascicular block",
    "left ventricular hypertrophy",
    "anterior myocardial infarction",
    "inferior myocardial infarction",
    "long QT-interval",
    "low QRS voltages in the frontal and horizontal leads",
    "normal functioning artificial pacemaker",
)
"""States in which a person in sinus rhythm is drawn again."""


MOST = 12
"""Points of a median beat, 8 ms each, by which it is moved at most."""


class Beats(NamedTuple):
    """Median beats (N, D) of N people: of the reference, of the truth without noise, of what the model drew, and of the
    truth with noise after the auto-encoder, which is the best that a model on these latents can draw."""

    reference: np.ndarray
    truth: np.ndarray
    twin: np.ndarray
    ceiling: np.ndarray


def counterfactuals(
    model: ECGTwin, *, people: int = 16, states: Sequence[str] = TARGETS, seed: int = 0, batch: int = 16, **options: Any
) -> dict[str, Any]:
    """Simulated people in sinus rhythm, drawn in other states, beside what the simulator says they would have shown.

    options: of `ECGTwin.sample`. Returns for each state, as medians over people of the correlation of median beats (8
    leads, -0.30 to 0.45 s around R): `twin` with the truth; `unchanged`, the reference with the truth; `stranger`,
    other people's truth in that state with this one's; `ceiling`, the truth through the auto-encoder; `change`, what
    the model changed with what should change. `size`: how large the twin's beat is beside the truth (root mean square,
    1 is right); `error`: of their difference, relative to the truth, and `error_unchanged` of the reference's; both in
    uV as `uv` and `uv_unchanged`; `left`: how much of the distance from the reference to the truth is left. `own`:
    share of twins that are more like their own person's truth than like anybody else's. `unmeasured`: twins without a
    median beat. States with statements that the model does not know are left out, and named.
    """
    if people < 2:
        raise ValueError(f"{people} people: expected 2 or more, so that there are strangers to compare with")
    known = [name for name in states if knows(model, name)]
    if not known:
        raise ValueError(f"none of the states is known to the model: {', '.join(states)}")
    found = {name: compare(beats) for name, beats in drawn(model, people, known, seed=seed, batch=batch, **options)}
    mean = {
        key: float(np.mean([row[key] for row in found.values()]))
        for key in next(iter(found.values()))
        if key != "unmeasured"
    }
    return {"people": people, "states": found, "mean": mean, "left_out": [name for name in states if name not in known]}


def drawn(
    model: ECGTwin, people: int, states: Sequence[str], *, seed: int = 0, batch: int = 16, **options: Any
) -> Iterator[tuple[str, Beats]]:
    """State by state, the beats of all people; the same people for the same seed."""
    rng = np.random.default_rng([seed, crc32(b"counterfactuals")])
    persons = [Person.draw(int(k)) for k in rng.integers(2**31, size=people)]
    references = [simulate_truth(p, "sinus rhythm", seed=seed) for p in persons]
    signals, rate = model.signals([r.ecg for r in references]), model.config.signal.rate
    for name in states:
        truths = [simulate_truth(p, name, seed=seed) for p in persons]
        requests = model.requests_for(signals, [wanted(t) for t in truths], seed)
        twins = model.sample_in_parts(requests, batch, **options)
        with torch.inference_mode():
            best = model.parts.vae.decode(model.parts.vae.encode(model.signals([t.ecg for t in truths])))
        clean = model.signals([t.clean for t in truths])
        yield name, Beats(*(median_beats(x.cpu().numpy(), rate) for x in (signals, clean, twins, best)))


def compare(beats: Beats) -> dict[str, float]:
    """The figures of one state; see `counterfactuals`."""
    truth = centred(beats.truth)
    measured = beats.twin.any(1)
    reference, twin, ceiling = (aligned(b, truth) for b in (beats.reference, beats.twin, beats.ceiling))
    # Each against each: row i is one ECG, aligned to the truth of person k.
    strangers = np.stack([paired(aligned(beats.truth, truth[k]), truth[k]) for k in range(len(truth))], 1)
    own = np.stack([paired(aligned(beats.twin, truth[k]), truth[k]) for k in range(len(truth))], 1)
    apart = ~np.eye(len(truth), dtype=bool)
    medians = {
        "twin": paired(twin, truth),
        "unchanged": paired(reference, truth),
        "stranger": strangers[apart],
        "ceiling": paired(ceiling, truth),
        "change": paired(twin - reference, truth - reference),
        "size": ratio(twin, truth),
        "error": ratio(twin - truth, truth),
        "error_unchanged": ratio(reference - truth, truth),
        "uv": microvolts(twin - truth),
        "uv_unchanged": microvolts(reference - truth),
        "left": ratio(twin - truth, reference - truth),
    }
    right = (own.argmax(1) == np.arange(len(truth)))[measured]
    return {
        **{name: float(np.median(values)) for name, values in medians.items()},
        "own": float(right.mean()) if len(right) else float("nan"),
        "unmeasured": int((~measured).sum()),
    }


def centred(beats: np.ndarray) -> np.ndarray:
    """Each lead of each beat (N, leads * POINTS) without its mean, so that a cosine is a correlation within leads."""
    x = beats.reshape(len(beats), -1, POINTS)
    return (x - x.mean(-1, keepdims=True)).reshape(len(beats), -1)


def aligned(beats: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Beats (N, D), each moved by up to 95 ms so that it is most like its truth (N, D) or (D,), and centred.

    Wide complexes have several peaks, and which of them is called R is chance.
    """
    x = np.pad(beats.reshape(len(beats), -1, POINTS), ((0, 0), (0, 0), (MOST, MOST)), mode="edge")
    moved = np.stack([centred(x[..., k : k + POINTS].reshape(len(beats), -1)) for k in range(2 * MOST + 1)])
    likeness = np.stack([paired(m, truth) for m in moved])
    return moved[likeness.argmax(0), np.arange(len(beats))]


def paired(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each row with the other's row; 0 where one of them is empty."""
    return (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-12)


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square of each row over that of the other's row."""
    return np.linalg.norm(a, axis=-1) / np.maximum(np.linalg.norm(b, axis=-1), 1e-12)


def microvolts(a: np.ndarray) -> np.ndarray:
    """Root mean square of each row in uV."""
    return 1000 * np.sqrt((a**2).mean(-1))


def wanted(truth: Simulated) -> Condition:
    return Condition(truth.state.reports, truth.person.sex, truth.person.age, truth.rate)


def knows(model: ECGTwin, name: str) -> bool:
    try:
        model.normalise(state(name).reports)
    except ValueError:
        return False
    return True
