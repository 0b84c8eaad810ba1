"""The suite from its questions to the page, with a generator that needs no model."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from ecgtwin.ecg.change_heart_rate import change_heart_rate
from ecgtwin.ecg.leads import INDEPENDENT
from ecgtwin.ecg.rhythm import r_peaks
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.evaluation import page
from ecgtwin.evaluation.makers import Stranger
from ecgtwin.evaluation.reading import Judges
from ecgtwin.evaluation.suite import SIZES, chosen_parts, prepare, suite

RATE = 102.4
STATES = ("sinus rhythm", "atrial fibrillation", "left ventricular hypertrophy", "complete right bundle branch block")
SIZE = replace(SIZES["quick"], ecgs=40, pairs=16, samples=2, sampled=8, series=4, edits=8, strengths=0, people=0)


@dataclass(frozen=True)
class People:
    """As much of `Recordings` as is asked for: `each` simulated ECGs of each of n people."""

    signals: np.ndarray
    patient: np.ndarray
    said: tuple
    age: np.ndarray
    rate: float = RATE

    @staticmethod
    def drawn(first: int, n: int, each: int) -> "People":
        who = np.repeat(np.arange(first, first + n), each)
        said = [STATES[k % 4] for k in range(len(who))]
        ecgs = [
            simulate(Person.draw(int(p)), s, seed=k).resample(RATE)
            for k, (p, s) in enumerate(zip(who, said, strict=True))
        ]
        signals = np.stack([e.select(INDEPENDENT).signal[:, :1024] for e in ecgs]).astype(np.float32)
        return People(signals, who, tuple((s,) for s in said), np.array([Person.draw(int(p)).age for p in who]))

    def __len__(self):
        return len(self.said)

    def millivolts(self, rows=slice(None)):
        return self.signals[rows]

    def statements(self, k):
        return self.said[k]

    def sexes(self, k):
        return None

    def years(self, k):
        return float(self.age[k])


@dataclass(frozen=True)
class Warping:
    """The reference at the wanted heart rate, with a little noise of its own seed: does nothing else that is asked."""

    name: str = "warped"
    key: str = "warped"

    def make(self, task):
        out = []
        for x, wanted, seed in zip(task.references, task.wanted, task.seeds, strict=True):
            peaks = r_peaks(x, RATE)
            if wanted.heart_rate is not None and len(peaks) > 3:
                now = 60 * RATE / np.diff(peaks).mean()
                x = change_heart_rate(x, RATE, peaks, now / wanted.heart_rate)
            out.append(x + np.random.default_rng(int(seed)).normal(0, 0.02, x.shape))
        return np.stack(out)


@pytest.fixture(scope="module")
def report():
    train, held = People.drawn(0, 100, 1), People.drawn(500, 24, 2)
    stage = prepare(train, held, Judges.load(), SIZE, cache=None, seed=0, say=lambda _: None)
    stranger = Stranger(stage.held, "the model without a reference")
    found = suite(stage, Warping(), {"no reference": stranger}, None, chosen_parts(None, "quick"))
    data = {"split": "validation", "held_out": len(held), "patients": 24}
    quality = {"statement_auroc_validation": 0.9, "identity": stage.judges.identity.figures, "text": {}}
    facts = {"data": data, "judge_quality": quality, "seed": 0}
    return {"name": "a warped copy", "maker": "warped", "suite": "quick", "facts": facts, **found}


def test_every_figure_is_explained_and_stands_beside_an_interval_or_a_floor(report):
    titles = [s["title"] for s in report["sections"]]
    assert len(titles) == len(set(titles)) >= 9
    for s in report["sections"]:
        for f in s["figures"]:
            assert len(f["meaning"]) > 30, f["name"]
            value, low, high = f["rows"]["warped"]
            assert value is not None and low is not None and low <= high, (f["name"], f["rows"])
            assert len(f["rows"]) > 1, f"{f['name']} stands alone"


def test_what_the_warped_copy_does_and_does_not_do_is_seen(report):
    rows = {}
    for f in page.figures(report):
        rows.setdefault(f["name"], {k: v[0] for k, v in f["rows"].items()})
    assert rows["recognised"]["warped"] > 0.8 > 0.2 > rows["recognised"]["the model without a reference"]
    assert rows["statement agreement"]["warped"] < 0.65 < rows["statement agreement"]["real ECG of another patient"]
    assert rows["dose-response of the heart rate"]["warped"] > 0.9
    assert abs(rows["dose-response of age"]["warped"]) < 0.1 < rows["dose-response of age"]["real"] + 1
    assert rows["given away by power above 40 Hz"]["warped"] > 0.9
    assert rows["calibration: truth among the samples"]["calibrated"] == pytest.approx(1 / 3, abs=1e-3)


def test_the_page_shows_every_figure_and_fetches_nothing(report):
    text = page.page(report)
    for f in page.figures(report):
        assert page.escape(f["name"]) in text
    assert "http" not in text and "<script" not in text and text.count("<h2") == len(report["sections"]) + 3
