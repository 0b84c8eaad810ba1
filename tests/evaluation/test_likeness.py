"""Which pairs count as such in which a state differs."""

import numpy as np
import pytest

from ecgtwin.evaluation.likeness import nearer_where_states_differ
from ecgtwin.evaluation.tasks import Task
from ecgtwin.twin.condition import Condition


def test_pairs_are_counted_where_statements_and_where_rhythm_or_conduction_differ():
    own = ["sinus rhythm", "sinus rhythm", "sinus rhythm|long QT interval", "paced rhythm", "atrial fibrillation"]
    wanted = ["sinus rhythm", "sinus tachycardia", "sinus rhythm", "sinus rhythm", "sinus rhythm|normal ECG"]
    n = len(own)
    task = Task(
        "factual",
        np.zeros((n, 8, 8), np.float32),
        tuple(Condition(text) for text in own),
        tuple(Condition(text) for text in wanted),
        np.arange(n),
        np.arange(n),
    )
    nearer = {"twin": np.array([0.0, 0.0, 1.0, 1.0, 1.0])}
    found = {f.name: f.rows["twin"].value for f in nearer_where_states_differ(task, nearer)}
    assert found["nearer than a copy, where statements differ"] == pytest.approx(3 / 4)
    assert found["nearer than a copy, where rhythm or conduction differ"] == 1
    alike = Task("same", task.references[:2], task.own[:2], task.own[:2], task.patients[:2], task.seeds[:2])
    assert nearer_where_states_differ(alike, {"twin": np.zeros(2)}) == []
