import numpy as np

from ecgtwin.evaluation.training_records import privacy
from ecgtwin.metrics.identity import POINTS

from .readings import reading


def people(rng, first: int, n: int, who=None, beats=None):
    r = reading(
        n,
        who=rng.normal(size=(n, 6)) if who is None else who,
        beats=rng.normal(size=(n, 8 * POINTS)) if beats is None else beats,
    )
    r.patients[:] = first + np.arange(n)
    return r


def test_who_keeps_training_records_is_caught_by_all_three_figures_and_who_does_not_is_not():
    rng = np.random.default_rng(0)
    training, held = people(rng, 0, 200), people(rng, 1000, 260)
    some = held.some(slice(60))  # the references: their own records are not among those that they are measured against
    thief = people(rng, 1000, 60, training.who[:60] + 0.01, training.beats[:60] + 0.1 * rng.normal(size=(60, 768)))
    found = {f.name: f for f in privacy({"thief": thief, "real held-out ECGs": some}, training, held, 0)}
    for name in ("nearer to a training record", "most alike training beat"):
        rows = found[name].rows
        assert rows["thief"].low > rows["real held-out ECGs"].high, (name, rows)
    attack = found["membership inference"].rows
    assert attack["thief"].low > 0.52 > attack["real held-out ECGs"].low  # 30 of 200 records were kept, in each half
    assert found["nearer to a training record"].rows["real held-out ECGs"].high < 0.7
    everybody = {"honest": people(rng, 1000, 260), "real held-out ECGs": held}  # made of every held-out patient
    for f in privacy(everybody, training, held, 0)[:2]:
        assert 0.4 < f.rows["honest"].value < 0.6 and f.rows["honest"].high - f.rows["honest"].low < 0.25, f
    assert found["most alike training beat"].rows["thief"].value > 0.9
