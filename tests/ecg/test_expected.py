"""Unknown leads are those that linear models expect: exact where leads are linear in each other."""

import numpy as np
import pytest

from ecgtwin.ecg import expected
from ecgtwin.ecg.beats import take
from ecgtwin.ecg.expected import RATE, Expected, on_grid, resampled, shipped, together
from ecgtwin.ecg.simulate import Person, simulate

RNG = np.random.default_rng(0)
MIXTURE = RNG.normal(0, 0.6, (5, 3))
"""Leads V2-V6 are this much of I, II and V1."""


def mixed(seed: int) -> np.ndarray:
    """A simulated ECG whose last five leads are mixtures of the first three."""
    x = np.asarray(simulate(Person.draw(seed), "sinus rhythm", 70.0, seed=seed, fs=RATE).signal, float)[
        [0, 1, 6], :1024
    ]
    x = x - np.median(x, -1, keepdims=True)
    return np.concatenate([x, MIXTURE @ x])


@pytest.fixture(scope="module")
def table():
    return Expected.fit([mixed(k) for k in range(60)], directions=40)


KNOWN = np.array([True] * 3 + [False] * 5)


def correlation(a, b):
    return np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])


def complete(table, x, known, rate=RATE):
    beats, beat = take(np.where(known[:, None], x, 0.0), rate)
    return table.complete(x, known, beats, table.beat(beat, known), rate)


def test_leads_that_follow_from_others_are_found(table):
    x = mixed(99)
    made = complete(table, x, KNOWN)
    assert np.array_equal(made[:3], x[:3].astype(np.float32))
    assert correlation(made[3:], x[3:]) > 0.98
    nonsense = complete(table, np.where(KNOWN[:, None], x, 7.0), KNOWN)
    assert np.array_equal(nonsense, made)  # what is unknown is never read


def test_of_one_direction_the_mean_is_the_closed_form():
    rng = np.random.default_rng(2)
    mean, direction = rng.normal(size=(2, 8, len(expected.GRID)))
    table = Expected(mean, direction[None], np.zeros((8, 8, 3)))
    beat = take(mixed(99), RATE)[1]
    found = on_grid(table.beat(beat, KNOWN).shapes[0], beat.before)
    apart, own = on_grid(beat.shapes[0], beat.before)[:3] - mean[:3], direction[:3]
    wanted = mean + direction * (own * apart).sum() / ((own**2).sum() + expected.SPREAD)
    inside = slice(5, 60)  # of the grid, where this beat is
    assert np.allclose(found[3:, inside], wanted[3:, inside], atol=0.02)
    assert np.allclose(found[:3], on_grid(beat.shapes[0], beat.before)[:3])


def test_what_is_left_is_filtered_with_its_delay():
    x = np.random.default_rng(1).normal(size=(8, 4000))
    x[3:] = 0.5 * np.roll(x[:1], 4, -1)  # four samples after lead I
    table = Expected(np.zeros((8, len(expected.GRID))), np.zeros((1, 8, len(expected.GRID))), together(x, 10) / 4000)
    made = table.carried(x[:3], KNOWN, RATE)
    assert np.abs(made - x[3:])[:, 20:-20].max() < 0.2 and correlation(made, x[3:]) > 0.99


def test_doubt_grows_with_what_is_unknown(table):
    assert table.doubt(KNOWN) < 0.08
    one, many = np.arange(8) != 3, np.arange(8) < 2
    assert 0 < shipped().doubt(one) < 0.1 < shipped().doubt(many) < 1


def test_a_table_is_written_and_read(table, tmp_path):
    again = Expected.load(table.save(tmp_path / "t.safetensors"))
    assert np.abs(complete(again, mixed(99), KNOWN) - complete(table, mixed(99), KNOWN)).max() < 0.02
    with pytest.raises(ValueError, match="0 recordings"):
        Expected.fit([np.zeros((8, 1024))])


def test_another_rate_gives_the_same_leads():
    x = mixed(99)
    fast = resampled(x, RATE, 250.0)
    slow, quick = complete(shipped(), x, KNOWN), complete(shipped(), fast, KNOWN, 250.0)
    assert correlation(resampled(quick, 250.0, RATE, x.shape[-1])[3:], slow[3:]) > 0.99
