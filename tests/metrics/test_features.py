import numpy as np

from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.metrics.features import ecg_features, intervals, standardised
from ecgtwin.metrics.frechet import kernel_distance

RATE = 102.4


def signals(state, seeds, rate=70.0):
    made = [
        simulate(Person.draw(s), state, rate, seed=s).select(INDEPENDENT).resample(RATE).signal[:, :1024] for s in seeds
    ]
    return np.stack(made)


def test_intervals_are_those_of_the_rhythm():
    mean, variation = intervals(signals("sinus rhythm", [1], rate=60.0)[0], RATE)
    assert abs(mean - 1.0) < 0.03 and variation < 0.1
    assert intervals(np.zeros((8, 1024), np.float32), RATE) == (0.0, 0.0)


def test_another_state_is_further_away_than_other_people():
    a, b, c = (
        signals("sinus rhythm", range(20)),
        signals("sinus rhythm", range(20, 40)),
        signals("atrial fibrillation", range(20)),
    )
    features = [ecg_features(x, RATE) for x in (a, b, c)]
    assert np.isfinite(features[0]).all() and len({f.shape for f in features}) == 1
    place = standardised(features[0], components=8)
    same, other = (kernel_distance(place(f), place(features[0])) for f in features[1:])
    assert other > 3 * abs(same)
    assert np.abs(place(100 * features[2])).max() == 3.0
