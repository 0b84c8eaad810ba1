"""Splits: by patient only, stable, PTB-XL's folds kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgtwin.ecg.store import SPLITS
from ecgtwin.ecg.store.split import SHARES, across, assign, digest, split_of, split_of_fold

PATIENTS = st.lists(st.tuples(st.text(max_size=4), st.integers(0, 10)), min_size=1, max_size=60)


@given(PATIENTS)
def test_no_table_makes_a_patient_land_in_two_splits(rows):
    patients, folds = [p for p, _ in rows], [f for _, f in rows]
    splits, contradicting = assign(patients, folds)
    assert len(set(zip(patients, splits.tolist(), strict=True))) == len(set(patients))
    _, place = np.unique(np.array(patients, dtype=object), return_inverse=True)
    assert len(across(place, splits)) == 0
    claimed = {p: {split_of_fold(f) for q, f in rows if q == p and f} for p in set(patients)}
    assert contradicting == sum(len(s) > 1 for s in claimed.values())


@given(PATIENTS, st.lists(st.text(max_size=4), max_size=30))
def test_adding_patients_moves_nobody(rows, more):
    patients = [p for p, _ in rows]
    before, _ = assign(patients)
    after, _ = assign(patients + more)
    assert np.array_equal(before, after[: len(before)])
    assert all(SPLITS[s] == split_of(p) for p, s in zip(patients, before, strict=True))


def test_folds_are_kept_and_contradictions_stay_away_from_training():
    splits, contradicting = assign(["a", "b", "c", "c", "d", "d"], [1, 8, 9, 9, 3, 10])
    assert [SPLITS[s] for s in splits] == [
        "train",
        "train",
        "validation",
        "validation",
        "test",
        "test",
    ] and contradicting == 1
    with pytest.raises(ValueError, match="fold 11"):
        split_of_fold(11)


def test_shares_are_kept():
    names = [split_of(f"patient {k}") for k in range(20_000)]
    counts = [names.count(split) / len(names) for split in SPLITS]
    assert np.abs(np.array(counts) - SHARES).max() < 0.01
    assert split_of("x", (1, 0, 0)) == "train" and split_of("x", (0, 0, 1)) == "test"
    for shares in ((0.5, 0.5), (0.9, 0.2, -0.1), (0.5, 0.1, 0.1)):
        with pytest.raises(ValueError, match="shares"):
            split_of("x", shares)


def test_the_hash_is_pinned():
    """Stores made by any version put a patient in the same split: these may never change."""
    assert [split_of(f"mimic_{k}") for k in (10000032, 10001217, 10001725, 10002013, 10002155, 10002428)] == PINNED


PINNED = ["train", "train", "train", "train", "validation", "validation"]


def test_a_digest_tells_who_is_where_whatever_the_order():
    one = digest(["a", "b", "a"], ["train", "test", "train"])
    assert one == digest(["b", "a"], ["test", "train"]) != digest(["b", "a"], ["train", "test"])


def test_patients_across_splits_are_found():
    assert across(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 2, 2, 0])).tolist() == [0]
