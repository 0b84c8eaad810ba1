"""What is in a store and what is wrong with it: figures, splits, pairs, and whether anything leaks between splits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..files.fields import SEXES
from ..quality import BAD, FLAGS
from .columns import GAIN, SPLITS
from .duplicates import near_identical
from .pairs import Pairs
from .split import across, digest
from .store import Store

SAMPLE = 4096
"""ECGs that amplitudes are measured on, evenly spread."""
GAPS = {"1 day": 1, "1 week": 7, "30 days": 30, "1 year": 365.25, "5 years": 5 * 365.25}
QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def audit(store: Store, against: Sequence[Store] = ()) -> dict[str, Any]:
    """The report as plain data (numbers, texts, lists, dicts).

    against: other stores of the same training: patients and signals that they share with this one in another split are
    leaks too. `report["leaks"]["found"]` is how many there are.
    """
    usable = store.usable
    report: dict[str, Any] = {
        "source": store.source,
        "digest": store.digest,
        "ecgs": len(store),
        "usable": int(usable.sum()),
        "hours": round(len(store) * store.facts["seconds"] / 3600, 2),
        "rate_hz": store.rate,
        "samples": store.samples,
        "leads": list(store.leads),
        "flags": {
            name: {"ecgs": n, "unusable": name in BAD, "meaning": FLAGS[name]}
            for name, n in store.facts["flags"].items()
        },
        "problems": store.facts["problems"],
        "unreadable": store.facts["unreadable"],
        "unmapped": store.facts["unmapped"],
        "patients": patients(store, usable),
        "heart_rate": heart_rates(store, usable),
        "age": spread(np.asarray(store.column("age"))[usable]),
        "sex": {str(name): int(np.sum(np.asarray(store.column("sex"))[usable] == k)) for k, name in enumerate(SEXES)},
        "amplitude_mv": amplitudes(store, usable),
        "statements": statements(store, usable),
        "pairs": pair_figures(store),
        "splits": splits(store, usable),
        "leaks": leaks([store, *against]),
    }
    return report


def spread(values: np.ndarray) -> dict[str, float | int | None]:
    """Count, mean, standard deviation and quantiles of what is known."""
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        return {"known": 0, "mean": None, "sd": None, **{f"q{100 * q:g}": None for q in QUANTILES}}
    points = np.quantile(known, QUANTILES)
    figures = {f"q{100 * q:g}": round(float(v), 3) for q, v in zip(QUANTILES, points, strict=True)}
    return {"known": len(known), "mean": round(float(known.mean()), 3), "sd": round(float(known.std()), 3), **figures}


def patients(store: Store, usable: np.ndarray) -> dict[str, Any]:
    """How many patients are known, and how many of them have how many usable ECGs."""
    people = store.people[usable]
    counts = np.bincount(people[people >= 0])
    each, how_many = np.unique(counts[counts > 0], return_counts=True)
    return {
        "patients": int(how_many.sum()),
        "with_several": int(how_many[each > 1].sum()),
        "most": int(each.max(initial=0)),
        "ecgs_without_patient_id": int(np.sum(people < 0)),
        "ecgs_per_patient": {str(e): int(n) for e, n in zip(each, how_many, strict=True)},
    }


def heart_rates(store: Store, usable: np.ndarray) -> dict[str, Any]:
    """Measured and given heart rates in beats/min, and how far apart they are."""
    measured, given = (np.asarray(store.column(name))[usable] for name in ("heart_rate", "heart_rate_given"))
    return {"measured": spread(measured), "given": spread(given), "measured_minus_given": spread(measured - given)}


def sampled(usable: np.ndarray, most: int = SAMPLE) -> np.ndarray:
    rows = np.flatnonzero(usable)
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)] if len(rows) else rows


def amplitudes(store: Store, usable: np.ndarray) -> dict[str, Any]:
    """Per lead: the largest deflection of an ECG from its lead's median, in mV, as quantiles over ECGs."""
    rows = sampled(usable)
    peaks = np.empty((len(rows), len(store.leads)))
    for k in range(0, len(rows), 256):
        peaks[k : k + 256] = np.abs(store.read(rows[k : k + 256]).astype(np.int32)).max(axis=2) / GAIN
    return {"measured_on": len(rows), "peak": {lead: spread(peaks[:, k]) for k, lead in enumerate(store.leads)}}


def statements(store: Store, usable: np.ndarray) -> dict[str, Any]:
    """How many usable ECGs have each statement, most frequent first, and how many have none."""
    offsets = np.asarray(store.column("statement_offsets"))
    lengths = np.diff(offsets)
    mine = np.repeat(usable, lengths)
    counts = np.bincount(np.asarray(store.column("statements"))[mine], minlength=len(store.vocabulary))
    order = np.argsort(-counts, kind="stable")
    return {
        "ecgs_without": int(np.sum(usable & (lengths == 0))),
        "ecgs_with": {store.vocabulary[k]: int(counts[k]) for k in order if counts[k]},
    }


def pair_figures(store: Store) -> dict[str, Any]:
    """Pairs of each split, and the time between the two ECGs of a pair (at most 200 of a patient)."""
    report: dict[str, Any] = {}
    days: list[np.ndarray] = []
    time = np.asarray(store.column("time"))
    for name in SPLITS:
        forward = Pairs.of(store, name, reverse=False)
        counts = forward.counts
        report[name] = {
            "patients": int(np.sum(counts > 0)),
            "pairs": forward.total,
            "with_cap": len(forward),
            "with_reverse": 2 * forward.total,
        }
        for chunk in forward.stream():
            gap = (time[chunk[:, 1]] - time[chunk[:, 0]]).astype("timedelta64[s]")
            days.append(gap[~np.isnat(gap)].astype(np.float64) / 86_400)
    gaps = np.concatenate(days) if days else np.empty(0)
    report["gap_days"] = spread(gaps)
    report["gap_within"] = {name: int(np.sum(gaps <= limit)) for name, limit in GAPS.items()}
    return report


def splits(store: Store, usable: np.ndarray) -> dict[str, Any]:
    """Usable ECGs and known patients of each split, with a fingerprint of who is where."""
    split, patient, known = np.asarray(store.column("split")), np.asarray(store.column("patient")), store.people
    names = store.texts("patients")
    table = {
        name: {
            "ecgs": int(np.sum(usable & (split == k))),
            "patients": len(np.unique(known[usable & (split == k) & (known >= 0)])),
        }
        for k, name in enumerate(SPLITS)
    }
    _, first = np.unique(patient, return_index=True)
    now = digest((names[int(patient[r])] for r in first), (SPLITS[split[r]] for r in first))
    return {"table": table, "digest": now, "as_written": now == store.facts["split_digest"]}


def leaks(stores: Sequence[Store]) -> dict[str, Any]:
    """Patients, identical and near-identical signals in more than one split, within and between stores; usable rows
    only.

    ECGs of unknown patients are nobody's: two of them that share a name are not one person.
    """
    rows = [s.rows() for s in stores]
    where = np.concatenate([np.full(len(r), k) for k, r in enumerate(rows)])
    own = np.concatenate(rows)
    split = np.concatenate([np.asarray(s.column("split"))[r] for s, r in zip(stores, rows, strict=True)])
    hashes = np.concatenate([np.asarray(s.column("hash"))[r] for s, r in zip(stores, rows, strict=True)])
    marks = np.concatenate([np.asarray(s.column("print"))[r] for s, r in zip(stores, rows, strict=True)])
    people: dict[str, int] = {}
    for store in stores:
        for name in store.texts("patients"):
            people.setdefault(name, len(people))
    places = [
        np.array([*(people[n] for n in s.texts("patients")), -1], np.int64) for s in stores
    ]  # place -1 is the last
    patient = np.concatenate([p[s.people[r]] for s, r, p in zip(stores, rows, places, strict=True)])
    names = list(people)

    def label(k: int) -> str:
        store = stores[where[k]]
        return f"{store.source}:{store.texts('name')[int(own[k])]} ({SPLITS[split[k]]})"

    def read(chosen: np.ndarray) -> np.ndarray:
        from_one = {k: stores[k].millivolts(own[chosen[where[chosen] == k]]) for k in np.unique(where[chosen]).tolist()}
        return resized(from_one, where[chosen])

    crossing = [names[k] for k in across(patient, split)]
    _, group = np.unique(hashes, return_inverse=True)
    several = across(group, split)
    identical = [np.flatnonzero(group == g) for g in several[:20]]
    pairs, like = near_identical(marks, read)
    twice = hashes[pairs[:, 0]] != hashes[pairs[:, 1]]
    pairs, like = pairs[twice], like[twice]
    apart = split[pairs[:, 0]] != split[pairs[:, 1]]
    known = (patient[pairs] >= 0).all(axis=1)
    other = (patient[pairs[:, 0]] != patient[pairs[:, 1]]) & known & ~apart
    examples = [
        (label(a), label(b), round(float(v), 4)) for (a, b), v in list(zip(pairs[apart], like[apart], strict=True))[:20]
    ]
    return {
        "found": len(crossing) + len(several) + int(apart.sum()),
        "patients_across_splits": crossing[:20],
        "patients_across_splits_count": len(crossing),
        "identical_across_splits": [[label(k) for k in rows] for rows in identical],
        "identical_across_splits_count": len(several),
        "near_identical_across_splits": examples,
        "near_identical_across_splits_count": int(apart.sum()),
        "near_identical_within_a_split": int((~apart).sum()),
        "near_identical_of_two_patients_within_a_split": int(other.sum()),
    }


def resized(signals: dict[int, np.ndarray], where: np.ndarray) -> np.ndarray:
    """Signals of several stores in uV as one array, in the order of `where`; other lengths
    are stretched to the longest."""
    most = max(x.shape[-1] for x in signals.values())
    first = next(iter(signals.values()))
    together = np.empty((len(where), first.shape[1], most), np.int16)
    for k, x in signals.items():
        place = np.arange(most) * x.shape[-1] // most
        together[where == k] = np.clip(np.rint(x[..., place] * GAIN), -32767, 32767)
    return together


def summary(report: dict[str, Any]) -> str:
    """The report as text for a terminal."""
    p, hr, leak = report["patients"], report["heart_rate"]["measured"], report["leaks"]
    lines = [
        f"{report['source']}: {report['ecgs']} ECGs ({report['usable']} usable, {report['hours']} h) of "
        f"{p['patients']} patients, {report['samples']} samples at {report['rate_hz']:g} Hz, digest {report['digest']}",
        f"patients with several ECGs: {p['with_several']} (most: {p['most']})"
        + (f"; ECGs without a patient id: {p['ecgs_without_patient_id']}" if p["ecgs_without_patient_id"] else ""),
        f"heart rate measured on {hr['known']}: {span(hr)} beats/min; "
        f"given for {report['heart_rate']['given']['known']}",
        f"age known for {report['age']['known']}: {span(report['age'])} years; sex "
        + ", ".join(f"{'not known' if s == 'None' else s} {n}" for s, n in report["sex"].items()),
        f"statements: {len(report['statements']['ecgs_with'])} kinds; "
        f"{report['statements']['ecgs_without']} ECGs without; most frequent: "
        + ", ".join(f"{name} {n}" for name, n in list(report["statements"]["ecgs_with"].items())[:5]),
        "",
        f"{'split':<12}{'ECGs':>9}{'patients':>10}{'pairs':>10}{'with cap':>10}",
    ]
    for name, row in report["splits"]["table"].items():
        pair = report["pairs"][name]
        lines.append(f"{name:<12}{row['ecgs']:>9}{row['patients']:>10}{pair['pairs']:>10}{pair['with_cap']:>10}")
    gaps = report["pairs"]["gap_days"]
    lines += [
        f"split digest {report['splits']['digest']}"
        + ("" if report["splits"]["as_written"] else ": NOT the one that was written"),
        f"pairs: earlier to later; as many back; days between: {span(gaps)}",
        "",
    ]
    lines += [f"  {row['ecgs']:>8}  {name}{' (unusable)' if row['unusable'] else ''}: {row['meaning']}" for name, row in
              report["flags"].items()] or ["  no flags"]  # fmt: skip
    lines += ["", *(f"  {n:>8}  {what}" for what, n in report["problems"].items())] if report["problems"] else []
    if report["unmapped"]:
        lines += [
            "",
            "without a statement: " + ", ".join(f"{code} ({n})" for code, n in list(report["unmapped"].items())[:10]),
        ]
    lines += [f"  unreadable: {name}: {why}" for name, why in list(report["unreadable"].items())[:10]]
    lines += [
        "",
        f"LEAKS FOUND: {leak['found']}" if leak["found"] else "no leaks between splits",
        f"  patients in several splits: {leak['patients_across_splits_count']} "
        + ", ".join(leak["patients_across_splits"][:5]),
        f"  bit-identical signals across splits: {leak['identical_across_splits_count']}",
        f"  near-identical signals across splits: {leak['near_identical_across_splits_count']} "
        f"(within a split: {leak['near_identical_within_a_split']})",
    ]
    lines += [f"    {a} = {b} ({v})" for a, b, v in leak["near_identical_across_splits"][:5]]
    return "\n".join(lines)


def span(figures: dict[str, Any]) -> str:
    if not figures["known"]:
        return "none"
    return f"median {figures['q50']:g} (1 % {figures['q1']:g}, 99 % {figures['q99']:g})"
