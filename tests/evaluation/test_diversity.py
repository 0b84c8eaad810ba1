import numpy as np
import pytest

from ecgtwin.evaluation import tasks
from ecgtwin.evaluation.diversity import between_people, between_samples, pairwise
from ecgtwin.metrics.bootstrap import Estimate
from ecgtwin.metrics.identity import POINTS

from .readings import reading
from .test_tasks import held


def hearts(n: int, size: float) -> np.ndarray:
    """One QRS each, of heights that grow by `size` mV from heart to heart."""
    wave = np.exp(-(((np.arange(POINTS) - 40) / 6.0) ** 2))
    return np.stack([np.tile((1 + size * k) * wave, 8) for k in range(n)])


def test_distances_of_each_with_each():
    far = pairwise(hearts(3, 0.5))
    assert np.isnan(np.diag(far)).all() and far[0, 2] == pytest.approx(2 * far[0, 1]) and far[1, 0] == far[0, 1]
    wave = hearts(1, 0)[0][:POINTS]
    assert far[0, 1] == pytest.approx(1000 * 0.5 * wave.std())
    assert np.isnan(pairwise(np.zeros((2, 8 * POINTS)))).all()


def test_a_state_with_one_face_is_seen():
    task = tasks.exchange(held(), 20, 0)
    rows = {"real": reading(20, beats=hearts(20, 0.1)), "one face": reading(20, beats=hearts(20, 0.0))}
    found = between_people(task, rows).rows
    assert found["one face"].value == 0 < found["real"].low


def test_samples_of_one_person_are_compared_among_themselves():
    task = tasks.repeated(tasks.redraw(held(), 4, 0), 3)
    people, samples = np.arange(12) % 4, np.arange(12) // 4
    beats = np.stack([hearts(12, 0.1)[s] * (1 + p) for p, s in zip(people, samples, strict=True)])
    found = between_samples(task, 3, {"twin": reading(12, beats=beats)}, Estimate(50, 40, 60))
    one = pairwise(hearts(3, 0.1))
    assert found.rows["twin"].value == pytest.approx(np.nanmean(one) * np.mean([1, 2, 3, 4]))
    assert found.rows["real later ECG"].value == 50 and found.n == 4
