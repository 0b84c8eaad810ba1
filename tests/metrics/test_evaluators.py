"""The judges that the package carries: their API, and what they read on real ECGs of patients whom they never saw."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ecgtwin.metrics.evaluators import WEIGHTS, ECGText, Statements, read


@pytest.fixture(scope="module")
def held(ptbxl, tmp_path_factory):
    """PTB-XL's fold 9 as a store of the shape that the judges read."""
    from ecgtwin.cli import app
    from ecgtwin.ecg.store import Store

    folder = tmp_path_factory.mktemp("ptbxl") / "store"
    app(["data", "prepare", "ptbxl", str(ptbxl), str(folder), "--no-progress"], standalone_mode=False)
    return Store.open(folder)


def test_statements_are_probabilities_and_do_not_depend_on_the_batch():
    judge, x = Statements.load(), np.random.default_rng(0).normal(0, 0.2, (5, 8, 1024)).astype(np.float32)
    p = judge(x)
    assert p.shape == (5, len(judge.names)) and (p > 0).all() and (p < 1).all()
    np.testing.assert_allclose(judge(x[3:4])[0], p[3], atol=1e-6)
    assert judge(x[:0]).shape == (0, len(judge.names))
    assert judge.features(x).shape == (5, 256)
    np.testing.assert_array_equal(
        judge.of(x, ("atrial fibrillation",))[:, 0], p[:, judge.names.index("atrial fibrillation")]
    )


def test_wrong_input_is_refused():
    judge = Statements.load()
    with pytest.raises(ValueError, match="expected .*8"):
        judge(np.zeros((1, 12, 1024)))
    with pytest.raises(ValueError, match="'wings' is not read"):
        judge.of(np.zeros((1, 8, 1024)), ("wings",))
    with pytest.raises(FileNotFoundError, match="train_evaluators"):
        Statements.load(path=__file__ + ".nowhere")


def test_real_ecgs_are_read_as_well_as_the_card_says(held):
    judge, rows = Statements.load(), held.rows("validation")
    p = judge(held.millivolts(rows))
    said = [set(held.statements(int(r))) for r in rows]
    for name, least in (
        ("atrial fibrillation", 0.97),
        ("complete left bundle branch block", 0.95),
        ("complete right bundle branch block", 0.95),
        ("left ventricular hypertrophy", 0.85),
    ):
        found = roc_auc_score([name in s for s in said], p[:, judge.names.index(name)])
        assert found >= least and found == pytest.approx(judge.auroc[name], abs=0.005)
    known = [v for v in judge.auroc.values() if v is not None]
    assert np.mean(known) > 0.87


def test_identity_tells_people_apart_better_than_median_beats_do(held):
    from ecgtwin.metrics.evaluators import Identity
    from ecgtwin.metrics.identity import identity, median_beats

    judge, rows = Identity.load(), held.rows("validation")
    patients = np.asarray(held.column("patient"))[rows]
    beats = median_beats(held.millivolts(rows), held.rate)
    found, plain = identity(judge.of_beats(beats), patients), identity(beats, patients)
    assert found.rank1 > plain.rank1 + 0.1 and found.eer < plain.eer - 0.05 and found.eer < 0.1
    assert found.rank1 == pytest.approx(judge.figures["rank1"], abs=0.03)


def test_ecgs_and_what_is_said_of_them_find_each_other(held):
    pair, rows = ECGText.load(), held.rows("validation")
    said = [tuple(s for s in held.statements(int(r)) if s in pair.names) for r in rows]
    x, y = pair(held.millivolts(rows)), pair.texts(said)
    there = y.any(1)
    right, wrong = (x * y).sum(1)[there], (x * np.roll(y, 7, 0)).sum(1)[there]
    assert 100 * right.mean() == pytest.approx(pair.figures["clip_score"], abs=1) and right.mean() > 3 * wrong.mean()
    assert pair.figures["ecg_top5"] > 0.4 and pair.figures["top5"] > pair.figures["usual5"]


def test_texts_do_not_depend_on_their_order_and_unknown_ones_are_left_out():
    pair = ECGText.load()
    a, b = pair.names[:2]
    found = pair.texts([(a, b), (b, a, "wings"), ()])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert not found[2].any() and np.linalg.norm(found[0]) == pytest.approx(1, abs=1e-5)


def test_no_beat_is_like_nobody():
    from ecgtwin.metrics.evaluators import Identity

    assert (Identity.load()(np.zeros((2, 8, 1024))) == 0).all()


def test_the_script_trains_what_the_package_carries(monkeypatch):
    """Steps and seeds that are left out are those which the shipped files name."""
    import importlib
    from pathlib import Path

    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    recipes = importlib.import_module("train_evaluators").RECIPES
    for name, recipe in recipes.items():
        facts = read(WEIGHTS / f"{name}.safetensors")[1]
        assert (facts["steps"], facts["seed"]) == recipe, name
