import numpy as np
import pytest

from ecgtwin.metrics.beat_to_beat import beat_to_beat, beats_to_beats, of_intervals


def test_intervals_in_closed_form():
    found = of_intervals([1.0, 1.0, 1.0, 1.0])
    assert found.heart_rate == 60 and found.variation == found.jump == found.odd == 0
    found = of_intervals([0.8, 1.2, 0.8, 1.2])
    assert (
        found.heart_rate == pytest.approx(60)
        and found.variation == pytest.approx(0.2)
        and found.jump == pytest.approx(0.4)
    )


def test_a_premature_beat_and_its_pause_are_odd_and_a_slow_drift_is_not():
    assert of_intervals([0.8, 0.8, 0.5, 1.1, 0.8, 0.8, 0.8, 0.8]).odd == pytest.approx(2 / 8)
    assert of_intervals(np.linspace(0.7, 1.0, 12)).odd == 0


def test_of_signals_and_where_there_are_no_beats():
    rate = 250.0
    t = np.arange(2500) / rate
    beats = sum(np.exp(-0.5 * ((t - at) / 0.015) ** 2) for at in np.arange(0.4, 10, 0.75))
    found = beat_to_beat(np.stack([beats, 0.5 * beats]), rate)
    assert found.heart_rate == pytest.approx(80, abs=0.5) and found.variation < 0.01
    table = beats_to_beats(np.stack([np.stack([beats] * 2), np.zeros((2, 2500))]), rate)
    assert table.shape == (2, 4) and np.isnan(table[1]).all()
