"""Which statements can be trusted: what counts as few, whose word counts, and how far an ECG is from training data."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.evaluation.reliability import Judged, Measured, Reliability, Trust, asked_as, measure
from ecgtwin.evaluation.training_distance import TrainingDistance, levelled
from ecgtwin.twin.twin import ECGTwin

from ..twin.tiny import model


def signals(state, people):
    ecgs = [simulate(Person.draw(k), state, 70.0, seed=k).select(INDEPENDENT).resample(102.4) for k in people]
    return np.stack([np.pad(e.signal, ((0, 0), (0, 8)), mode="edge")[:, :1024] for e in ecgs])


@pytest.mark.parametrize(
    ("learned", "constructed", "judged", "verdict"),
    [
        (29, 300, Judged(recorded=29, auroc=1.0, reader=1.0), "few"),
        (30, 0, Judged(recorded=29, auroc=0.91, reader=0.9), "good"),
        (30, 0, Judged(recorded=30, auroc=0.8, reader=0.9), "fair"),
        (300, 0, Judged(recorded=30, auroc=0.6, reader=0.9), "poor"),
        (300, 0, Judged(recorded=30, auroc=0.99, reader=0.74), "not judged"),
        (300, 0, Judged(recorded=30, auroc=0.99), "not judged"),
        (None, 0, None, "not judged"),
    ],
)
def test_verdicts(learned, constructed, judged, verdict):
    one = Trust("trigeminy", learned, constructed, judged)
    assert one.verdict == verdict and bool(one.doubt) == (verdict in ("few", "poor"))
    assert one.data()["verdict"] == verdict and json.dumps(one.data())


def test_a_statement_is_asked_with_its_rhythm():
    assert asked_as("atrial fibrillation") == ("atrial fibrillation",)
    assert asked_as("long QT interval") == ("sinus rhythm", "long QT interval")


@pytest.fixture(scope="module")
def distance():
    return TrainingDistance.fit(signals("sinus rhythm", range(20)), signals("sinus rhythm", range(50, 58)))


def test_what_was_seen_is_near_and_what_was_not_is_far(distance):
    near = distance([simulate(Person.draw(k), "sinus rhythm", 70.0, seed=k) for k in range(80, 85)])
    noise = np.random.default_rng(0).standard_normal((3, 12, 5000)).astype(np.float32) * 0.5
    far = distance([ECG(x, 500.0, simulate(Person.draw(1), "sinus rhythm").leads) for x in noise])
    assert np.median(near) < 0.9 and far.min() > 0.95
    short = simulate(Person.draw(1), "sinus rhythm")
    assert np.isnan(distance([replace(short, signal=short.signal[:, :1000])]))


def test_the_distance_comes_back_from_a_file(distance):
    again = TrainingDistance.of(distance.stored())
    x = distance.apart(np.ones((1, 256)))
    np.testing.assert_array_equal(again.apart(np.ones((1, 256))), x)
    other = distance.stored().model_copy(update={"reader_sha256": "another"})
    assert TrainingDistance.of(other) is None
    with pytest.raises(ValueError, match="does not fit"):
        TrainingDistance.of(distance.stored().model_copy(update={"mean": ""}))
    assert levelled(np.array([[[1.0, 2.0, 9.0]]])).tolist() == [[[-1.0, 0.0, 7.0]]]


def test_figures_go_with_the_weights_that_they_were_measured_on(tmp_path):
    """Saved and loaded with the model; of other weights, or damaged, it is said."""
    one = model()
    folder = one.save_pretrained(tmp_path / "model")
    mine = ECGTwin.from_pretrained(folder, device="cpu")
    assert "was not measured" in Reliability.of(mine).note
    figures = {"trigeminy": Judged(recorded=3), "atrial fibrillation": Judged(recorded=100, auroc=0.97, reader=0.99)}
    found = Measured(weights_sha256=mine.parts.weights_hash, data="none", samples=2, statements=figures)
    (folder / "reliability.json").write_text(found.model_dump_json())
    mine = ECGTwin.from_pretrained(folder, device="cpu")
    known = Reliability.of(mine)
    assert known.note == "" and known.distance is None and known.statements["atrial fibrillation"].verdict == "good"
    assert set(known.statements) == set(mine.statements)
    again = ECGTwin.from_pretrained(mine.save_pretrained(tmp_path / "copy"), device="cpu")
    assert Reliability.of(again).statements == known.statements and Reliability.of(again).note == ""
    mine.save_pretrained(tmp_path / "half", half=True)
    assert "other weights" in Reliability.of(ECGTwin.from_pretrained(tmp_path / "half", device="cpu")).note
    for wrong in ("[]", "{", '{"statements": 3}', json.dumps(found.model_dump() | {"samples": "many"})):
        (folder / "reliability.json").write_text(wrong)
        with pytest.raises(ValueError, match="reliability.json"):
            Reliability.of(ECGTwin.from_pretrained(folder, device="cpu"))


def test_measured_on_a_store(simulated_store):
    from ecgtwin.ecg.store.recordings import Recordings

    recordings = Recordings.of([simulated_store])
    recordings = replace(recordings, simulated=np.zeros(len(recordings), bool))
    steps = []
    found = measure(model(), recordings, people=2, told=lambda found: steps.append(dict(found)), steps=1)
    assert set(found.statements) == set(model().statements) and len(steps) == 4 and found.samples == 2
    block = found.statements["complete left bundle branch block"]
    assert block.auroc is not None and 0 <= block.auroc <= 1 and block.reader > 0.9
    assert found.statements["sinus rhythm"].auroc is None and found.training is not None
    assert found.statements["sinus rhythm"].recorded > 10


def test_the_shipped_model_brings_its_own():
    one = ECGTwin.from_pretrained(device="cpu")
    known = Reliability.of(one)
    few = [name for name, trust in known.statements.items() if trust.verdict == "few"]
    assert "trigeminy" in few and "atrial fibrillation" not in few
    assert known.doubts(["trigeminy", "sinus rhythm"]) and not known.doubts(["sinus rhythm"])
