from types import SimpleNamespace

import numpy as np
import pytest

from ecgtwin.evaluation import tasks
from ecgtwin.evaluation.strength import STRENGTHS, TARGET, of_strength

from .readings import reading
from .test_diversity import hearts
from .test_tasks import held


def of(shares):
    """Edits that went these shares of the way from one beat to another."""
    judges = SimpleNamespace(statements=SimpleNamespace(names=("a", TARGET)))
    start, end = hearts(3, 0.2), hearts(3, 0.2) * np.linspace(0.5, 1.5, 8).repeat(96)
    p = np.array([[0.0, 0.1]] * 3)
    rows = {
        f"{k}": reading(3, judges, beats=start + share * (end - start), probabilities=p + share / 2)
        for k, share in enumerate(shares)
    }
    task = tasks.change_of(held(), 3, TARGET, 0)
    figures, table = of_strength(task, rows)
    return {f.name: f.rows["counterfactual"].value for f in figures}, table


def test_half_the_strength_is_half_the_change():
    found, table = of(STRENGTHS)
    assert found["dose-response of strength"] == pytest.approx(1)
    assert found["steps of strength that change more"] == 1
    np.testing.assert_allclose([line[0] for line in table.lines.values()], STRENGTHS, atol=1e-9)
    assert table.lines["1"][2] == pytest.approx(0.6)


def test_a_strength_that_is_all_or_nothing_is_seen():
    found, _ = of((0, 0, 0, 1, 1))
    assert found["steps of strength that change more"] == pytest.approx(0.25)
