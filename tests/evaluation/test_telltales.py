import numpy as np
import pytest

from ecgtwin.evaluation import telltales as module
from ecgtwin.evaluation.telltales import Against, floor, telltales

from .readings import reading


@pytest.fixture
def groups(monkeypatch):
    monkeypatch.setattr(module, "GROUPS", {k: module.GROUPS[k] for k in ("RR variation", "median beat")})


def made(n, rng, rr=0.0, beat=0.0):
    rhythm = np.c_[rng.normal(70, 9, n), rng.normal(0.03 + rr, 0.01, (n, 3))]
    return reading(n, rhythm=rhythm, beats=rng.normal(beat, 1, (n, 768)))


def test_the_group_that_differs_gives_away_and_copies_do_not(groups):
    rng = np.random.default_rng(0)
    real, jumping = made(120, rng), made(120, rng, rr=0.05)
    found = {f.name: f.rows for f in telltales({"jumping": Against(real, jumping), "copy": Against(real, real)}, 0)}
    rr, beat = found["given away by RR variation"], found["given away by median beat"]
    assert rr["jumping"].low > 0.9 and rr["copy"].value == pytest.approx(0.5, abs=0.05)
    assert 0.35 < beat["jumping"].value < 0.65 and beat["copy"].value == pytest.approx(0.5, abs=0.05)


def test_the_floor_is_of_other_patients():
    rng = np.random.default_rng(1)
    whole = made(100, rng)
    against = floor(whole, whole.first(30), 0)
    assert not set(against.real.patients) & set(against.made.patients) and len(against.real) == 70
    against = floor(whole, whole, 0)
    assert not set(against.real.patients) & set(against.made.patients) and len(against.real) == 50


def test_what_is_above_40_hz_is_seen_down_to_a_microvolt():
    t = np.arange(1024) / 102.4
    quiet = np.zeros((1, 8, 1024), np.float32)
    loud = quiet + 0.002 * np.sin(2 * np.pi * 45 * t).astype(np.float32)
    of = module.GROUPS["power above 40 Hz"][0]
    a, b = (module.Reading(x, 102.4, np.arange(1), None) for x in (quiet, loud))
    assert (of(a) == -6).all() and of(b).max() == pytest.approx(np.log10(2e-6 + 1e-6), abs=0.1)
