"""Pairs of one patient's ECGs: which there are, how often each is drawn, in flat memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.store.collect import collect
from ecgtwin.ecg.store.pairs import Pairs

from .test_prepare import ecg


def pairs(patients, times=None, states=None, **options) -> Pairs:
    n = len(patients)
    times = np.arange(n) if times is None else np.asarray(times)
    return Pairs(
        np.arange(n) + 100,
        np.asarray(patients),
        times,
        np.arange(n) if states is None else np.asarray(states),
        **options,
    )


def listed(p: Pairs, size=3) -> list[tuple[int, int]]:
    return [tuple(pair) for chunk in p.stream(size) for pair in chunk.tolist()]


def brute(patients, times, states, reverse) -> set[tuple[int, int]]:
    """All pairs by the definition."""
    rows = range(len(patients))
    return {
        (i + 100, j + 100)
        for i in rows
        for j in rows
        if i != j
        and patients[i] == patients[j]
        and states[i] != states[j]
        and (reverse or (times[i], i) < (times[j], j))
    }


ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 3)), max_size=30)


@settings(deadline=None)
@given(ROWS, st.booleans(), st.integers(1, 7))
def test_all_pairs_of_a_patient_that_differ_and_no_others(rows, reverse, size):
    patients, times, states = ([row[k] for row in rows] for k in range(3))
    p = pairs(patients, np.array(times, int), np.array(states, int), reverse=reverse, cap=10_000)
    expected = brute(patients, times, states, reverse)
    found = listed(p, size)
    assert len(found) == len(set(found)) == len(p) == p.total and set(found) == expected
    if expected:
        drawn = {tuple(d) for d in p.draw(50, np.random.default_rng(0)).tolist()}
        assert drawn <= expected
    else:
        with pytest.raises(ValueError, match="no pairs"):
            p.draw(1, np.random.default_rng(0))


def test_the_cap_holds_and_chooses_by_seed():
    p = pairs([7] * 30 + [8] * 3, cap=20)
    found = listed(p, 11)
    of_seven = [f for f in found if f[0] < 130]
    assert len(of_seven) == 20 == len(set(of_seven)) and len(found) == 26 == len(p) and p.total == 870 + 6
    other = {tuple(x) for chunk in p.stream(seed=1) for x in chunk.tolist()}
    assert other != set(found) and listed(p, 11) == found
    assert max(len(chunk) for chunk in p.stream(7)) == 7


def test_a_patient_with_260_ecgs_does_not_dominate():
    patients = [0] * 260 + [k for k in range(1, 101) for _ in range(2)]
    share = {}
    for power, cap in ((1.0, 10**9), (0.5, 200), (0.0, 200)):
        drawn = pairs(patients, power=power, cap=cap).draw(20_000, np.random.default_rng(0))
        share[power] = np.mean(drawn[:, 0] < 360)
    assert share[1.0] > 0.99
    assert abs(share[0.5] - 200**0.5 / (200**0.5 + 100 * 2**0.5)) < 0.01
    assert abs(share[0.0] - 1 / 101) < 0.005


def test_draws_within_a_patient_are_even_and_both_ways():
    p = pairs([0] * 4, states=[0, 0, 1, 2])
    drawn, counts = np.unique(p.draw(10_000, np.random.default_rng(1)), axis=0, return_counts=True)
    assert len(drawn) == 10 and np.abs(counts / 10_000 - 0.1).max() < 0.02
    forward = pairs([0] * 4, states=[0, 0, 1, 2], reverse=False).draw(100, np.random.default_rng(1))
    assert (forward[:, 0] < forward[:, 1]).all()


def test_a_patient_whose_ecgs_are_nearly_all_alike():
    p = pairs([0] * 400, states=[0] * 399 + [1])
    drawn = p.draw(200, np.random.default_rng(0))
    assert ((drawn == 499).sum(1) == 1).all() and p.total == 798


def test_time_decides_and_unknown_times_come_last():
    when = np.array(["2020-01-02", "NaT", "2020-01-01"], "datetime64[s]")
    assert set(listed(pairs([1, 1, 1], when, reverse=False))) == {(102, 100), (102, 101), (100, 101)}


def test_wrong_arguments():
    with pytest.raises(ValueError, match="length"):
        Pairs(np.arange(3), np.arange(2), np.arange(3), np.arange(3))
    for options in ({"cap": 0}, {"power": 2.0}):
        with pytest.raises(ValueError, match="cap"):
            pairs([1, 1], **options)


def test_memory_is_a_few_numbers_for_each_ecg():
    n = 200_000
    generator = np.random.default_rng(0)
    tracemalloc.start()
    p = Pairs(np.arange(n), generator.integers(0, n // 40, n), np.arange(n), np.arange(n))
    assert p.total > 7_000_000
    p.draw(1000, generator)
    next(p.stream(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * n, f"{peak / n:.0f} bytes for each ECG"


def test_equal_in_text_and_heart_rate_is_no_pair(tmp_path):
    def visit(seed: int, text: str, patient: str = "p") -> ECG:
        return ecg(seed, patient=patient, reports=(text,))

    faster = ECG(np.tile(ecg(5).signal[:, ::2], 2), 500, ecg().leads, patient="p", reports=("same",))
    visits = [visit(1, "same"), visit(2, "same"), visit(3, "other"), faster, visit(4, "same", "q"), ecg(6)]
    store = collect(visits, tmp_path / "store", shares=(1, 0, 0))
    assert abs(store.column("heart_rate")[3] - 2 * store.column("heart_rate")[0]) < 10
    assert {frozenset(pair) for pair in listed(Pairs.of(store))} == {
        frozenset(s) for s in ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    }
    assert Pairs.of(store, "test").total == 0
