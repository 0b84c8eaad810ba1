"""What a cardiologist would check on twins of real references, state by state: beats, voltages,
intervals, and whose heart it is."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ecg.intervals import Measurements, measure_many
from ..ecg.store.recordings import Recordings
from ..metrics.evaluators import Statements
from ..metrics.identity import median_beats, unit, whitening
from ..metrics.judge import CLASSES
from ..metrics.two_sample import auroc
from ..twin.condition import Condition
from ..twin.request import Request
from ..twin.twin import ECGTwin
from .requested_state import plain

SINUS = ("sinus rhythm", "normal ECG")
STATES = {
    "sinus rhythm": (SINUS, 75.0),
    "atrial fibrillation": (("atrial fibrillation",), 95.0),
    "left bundle branch block": (("sinus rhythm", "complete left bundle branch block"), 75.0),
    "right bundle branch block": (("sinus rhythm", "complete right bundle branch block"), 75.0),
    "left anterior fascicular block": (("sinus rhythm", "left anterior fascicular block"), 75.0),
    "left ventricular hypertrophy": (("sinus rhythm", "left ventricular hypertrophy"), 75.0),
    "anteroseptal infarction": (("sinus rhythm", "anteroseptal myocardial infarction"), 75.0),
    "anterior infarction": (("sinus rhythm", "anterior myocardial infarction"), 75.0),
    "inferior infarction": (("sinus rhythm", "inferior myocardial infarction"), 75.0),
    "first-degree block": (("sinus rhythm", "first degree AV block"), 75.0),
    "long QT": (("sinus rhythm", "long QT interval"), 70.0),
    "paced rhythm": (("paced rhythm",), 75.0),
}
"""Name -> statements asked for, and beats/min."""
CONDUCTION = frozenset({
    "complete left bundle branch block", "incomplete left bundle branch block", "complete right bundle branch block",
    "incomplete right bundle branch block", "left anterior fascicular block", "left posterior fascicular block",
    "non-specific intraventricular conduction disturbance", "paced rhythm", "Wolff-Parkinson-White syndrome",
})  # fmt: skip
"""Statements about the way on which the ventricles are activated."""
ENOUGH = 8
MEASURED = ("pr", "qrs", "qtc_fridericia", "qrs_axis", "sokolow")
QUARTILES = (25, 50, 75)


class References(NamedTuple):
    """Real recordings from which twins are drawn: rows of the held-out set, signals (N, 8, L) in
    mV, their own conditions."""

    rows: np.ndarray
    signals: np.ndarray
    conditions: list[Condition]


def references(model: ECGTwin, held: Recordings, rows: np.ndarray) -> References:
    signals = held.millivolts(rows)
    signals = signals - np.median(signals, axis=-1, keepdims=True)
    known = set(model.statements)
    conditions = [
        Condition(tuple(s for s in held.statements(k) if s in known), held.sexes(k), held.years(k), None) for k in rows
    ]
    return References(rows, signals.astype(np.float32), conditions)


def twins(
    model: ECGTwin, refs: References, reports: Sequence[str] | None, heart_rate: float | None, seed: int, **options: Any
) -> tuple[np.ndarray, list[Request]]:
    """One twin of each reference (N, 8, L) mV under statements (None: its own), and what was asked for."""
    requests = []
    for k, (signal, own) in enumerate(zip(refs.signals, refs.conditions, strict=True)):
        asked = Condition(own.reports if reports is None else tuple(reports), own.sex, own.age, heart_rate)
        requests += model.requests_of(signal, asked, [seed + k], own)
    return model.sample_in_parts(requests, **options).cpu().numpy(), requests


def summary(found: Sequence[Measurements]) -> dict[str, Any]:
    """Quartiles of what was measured, the fraction with a P wave and with an odd RR interval, n."""
    row: dict[str, Any] = {"n": len(found)}
    for name in (*MEASURED, "rr_variation"):
        values = [v for m in found if (v := getattr(m, name)) is not None]
        row[name] = [float(q) for q in np.percentile(values, QUARTILES)] if values else None
    row["p_present"] = float(np.mean([bool(m.p_present) for m in found]))
    row["odd"] = float(np.mean([(m.odd_fraction or 0) > 0 for m in found]))
    return row


def sizes(signals: np.ndarray, rate: float) -> np.ndarray:
    """Peak-to-peak voltage of the median beat in each lead, medians over ECGs: (8,) mV."""
    return np.median(np.ptp(median_beats(signals, rate).reshape(len(signals), signals.shape[1], -1), axis=-1), axis=0)


def finder(recordings: Recordings) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Who is found as their own reference: of median beats (N, D) and held-out rows (N,) of their references, whether
    that is the nearest of all held-out ECGs, whitened within training patients."""
    rate, held, training = recordings.rate, recordings.only("validation"), recordings.only("train")
    white = whitening(median_beats(training.millivolts(), rate), training.patient, components=100)
    everyone = unit(white(median_beats(held.millivolts(), rate)))
    return lambda beats, rows: (unit(white(beats)) @ everyone.T).argmax(1) == rows


def shown_by(said: Sequence[set[str]], reports: Sequence[str]) -> np.ndarray:
    """Rows of real ECGs that are told to be in a state, of their statements: without another statement about conduction
    (half of real right bundle branch blocks have a left anterior fascicular block too, whose axis is not the state's),
    where `ENOUGH` of them remain."""
    wanted = set(reports) if "normal ECG" in reports else set(reports) - {"sinus rhythm"}
    there = [k for k, s in enumerate(said) if wanted <= s]
    alone = [k for k in there if not (said[k] & CONDUCTION) - wanted]
    return np.array(alone if len(alone) >= ENOUGH else there, int)


def per_state(
    model: ECGTwin,
    recordings: Recordings,
    *,
    references_: int = 32,
    states: Sequence[str] = tuple(STATES),
    seed: int = 0,
    judge: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Twins of real validation references in each state beside real ECGs of that state (training and validation;
    `shown_by`).

    judge: of `metrics.judge`; None leaves it out. For each state: `twins` and `real` (`summary`), `size` (peak-to-peak
    voltage of the median beat beside real ECGs', lead by lead), `auroc` of the 12-lead classifier and of the judge for
    requested against requested sinus rhythm, `own` (fraction of twins whose median beat, whitened within patients, is
    nearest its own reference among all held-out ECGs) and `rate_error` (beats/min, mean absolute). `unchanged`: the
    reference's own condition asked for, with the distance of the median beat in uV.
    """
    rate = model.config.signal.rate
    held = recordings.only("validation")
    refs = references(model, held, plain(held, references_, seed))
    said = [set(recordings.statements(k)) for k in range(len(recordings))]
    own = finder(recordings)
    reader = Statements.load()
    drawn: dict[str, np.ndarray] = {}
    found: dict[str, Any] = {}
    for name in ("unchanged", *states):
        reports, heart_rate = STATES[name] if name != "unchanged" else (None, None)
        drawn[name], requests = twins(model, refs, reports, heart_rate, seed, **options)
        measured = measure_many(drawn[name], rate, held.leads)
        beats = median_beats(drawn[name], rate)
        asked = np.array([r.beats.heart_rate if r.beats else heart_rate or np.nan for r in requests], float)
        got = np.array([m.heart_rate or np.nan for m in measured], float)
        row = {
            "twins": summary(measured),
            "own": float(own(beats, refs.rows).mean()),
            "rate_error": float(np.nanmean(np.abs(got - asked))),
        }
        if name == "unchanged":
            apart = np.sqrt(((beats - median_beats(refs.signals, rate)) ** 2).mean(1))
            row["distance_uv"] = float(1000 * np.median(apart))
            row["references"] = summary(measure_many(refs.signals, rate, held.leads))
        else:
            real = shown_by(said, reports)[:150]
            signals = recordings.millivolts(real)
            row["real"] = summary(measure_many(signals, rate, held.leads))
            row["size"] = (sizes(drawn[name], rate) / sizes(signals, rate)).round(2).tolist()
        found[name] = row
    against(found, drawn, reader, judge, rate)
    return found


JUDGED = {
    "atrial fibrillation": "afib", "left bundle branch block": "bbb", "right bundle branch block": "bbb",
    "paced rhythm": "paced", "first-degree block": "avb",
}  # fmt: skip


def against(found: dict[str, Any], drawn: dict[str, np.ndarray], reader: Statements, judge: Any, rate: float) -> None:
    """Adds AUROC of each state's twins against those asked for in sinus rhythm, by the classifier and by the judge."""
    if "sinus rhythm" not in drawn:
        return
    for name, x in drawn.items():
        if name in ("unchanged", "sinus rhythm"):
            continue
        truth = np.r_[np.zeros(len(drawn["sinus rhythm"])), np.ones(len(x))]
        statement = next(s for s in STATES[name][0] if s not in SINUS)
        both = np.concatenate([drawn["sinus rhythm"], x])
        if statement in reader.names:
            found[name]["auroc"] = float(auroc(reader.of(both, [statement])[:, 0], truth))
        if judge is not None and name in JUDGED:
            scores = np.array([judge(lead, rate)[CLASSES.index(JUDGED[name])] for lead in both[:, 1]])
            found[name]["auroc_judge"] = float(auroc(scores, truth))


def to_normal(
    model: ECGTwin, recordings: Recordings, *, seed: int = 0, judge: Any = None, **options: Any
) -> dict[str, Any]:
    """Real abnormal validation references asked for in normal sinus rhythm: fraction that reads as normal, and QRS.

    Normal: QRS at most 120 ms, P waves and a regular rhythm by the ruler (`rules`); class "sinus" by the
    judge; the classifier's probability of the old statement below the level that as many real ECGs without
    it exceed as have it (`gone`). Identity: `own` as in `per_state`.
    """
    mine = finder(recordings)
    rate, held = model.config.signal.rate, recordings.only("validation")
    said = [set(held.statements(k)) for k in range(len(held))]
    reader = Statements.load()
    everyone = reader(held.millivolts())
    found = {}
    for name in (
        "atrial fibrillation",
        "left bundle branch block",
        "right bundle branch block",
        "paced rhythm",
        "left ventricular hypertrophy",
    ):
        statement = next(s for s in STATES[name][0] if s not in SINUS)
        rows = np.array([k for k, s in enumerate(said) if statement in s])
        if not len(rows):
            continue
        drawn, _ = twins(model, references(model, held, rows), SINUS, 75.0, seed, **options)
        measured = measure_many(drawn, rate, held.leads)
        ruled = [bool(m.p_present) and (m.qrs or 999) <= 120 and (m.odd_fraction or 0) == 0 for m in measured]
        row: dict[str, Any] = {"n": len(rows), "rules": float(np.mean(ruled))}
        row["own"] = float(mine(median_beats(drawn, rate), rows).mean())
        row["narrow"] = float(np.mean([(m.qrs or 999) <= 120 for m in measured]))
        if judge is not None:
            row["judge"] = float(np.mean([CLASSES[int(judge(x[1], rate).argmax())] == "sinus" for x in drawn]))
        if statement in reader.names:
            column = reader.names.index(statement)
            level = np.sort(everyone[:, column])[-len(rows)]
            row["gone"] = float((reader(drawn)[:, column] < level).mean())
        found[name] = row
    return found


def by_rate(
    model: ECGTwin,
    recordings: Recordings,
    *,
    references_: int = 12,
    heart_rates: Sequence[float] = (40, 50, 75, 100, 125, 160),
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Sinus, fibrillating and paced twins at several rates: error of the rate, QTc and PR
    quartiles, P waves, odd intervals."""
    rate, held = model.config.signal.rate, recordings.only("validation")
    refs = references(model, held, plain(held, references_, seed))
    found: dict[str, Any] = {}
    for name in ("sinus rhythm", "atrial fibrillation", "paced rhythm"):
        for heart_rate in heart_rates:
            drawn, _ = twins(
                model,
                refs,
                ("sinus rhythm",) if name == "sinus rhythm" else STATES[name][0],
                float(heart_rate),
                seed,
                **options,
            )
            measured = measure_many(drawn, rate, held.leads)
            errors = np.array([abs((m.heart_rate or np.nan) - heart_rate) for m in measured])
            found[f"{name}, {heart_rate:g}/min"] = summary(measured) | {"rate_error": float(np.nanmean(errors))}
    return found
