"""What changed: exact on people whose twins were simulated, whole on the shipped model."""

import json
import re

import numpy as np
import pytest

from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate, simulate_truth
from ecgtwin.evaluation.candidates import ranked
from ecgtwin.evaluation.explain import circular_middle, explain, row
from ecgtwin.evaluation.explain_page import draw, page
from ecgtwin.twin.condition import Condition

RBBB = "complete right bundle branch block"


@pytest.fixture(scope="module")
def block():
    """A person in sinus rhythm, and six recordings of the same person with right bundle
    branch block, at a twin's rate."""
    person = Person.draw(31)
    plain = simulate_truth(person, "sinus rhythm", 70, seed=1)
    twins = [simulate_truth(person, RBBB, 70, seed=k) for k in range(6)]
    return plain, twins, explain(plain.ecg, [t.ecg.resample(102.4) for t in twins], Condition(RBBB, heart_rate=70))


def test_changes_are_those_of_the_simulator(block):
    plain, twins, one = block
    rows = one.changes().set_index(["quantity", "lead"])
    qrs = rows.loc[("qrs", "")]
    assert qrs["reference"] == pytest.approx(plain.qrs_ms, abs=10) and qrs["twins"] == pytest.approx(
        twins[0].qrs_ms, abs=10
    )
    assert (
        qrs["change"] == pytest.approx(twins[0].qrs_ms - plain.qrs_ms, abs=12) and qrs["clear"] and qrs["measured"] == 6
    )
    assert qrs["low"] <= qrs["twins"] <= qrs["high"] and qrs["change_low"] <= qrs["change"] <= qrs["change_high"]
    assert not rows.loc[("heart_rate", ""), "clear"] and not rows.loc[("pr", ""), "clear"]
    assert rows.loc[("regularity", ""), "twins"] == "regular" and not rows.loc[("regularity", ""), "clear"]
    assert rows.loc[("r_amplitude", "V1"), "change"] > 0.2


def test_rules_are_counted_over_samples(block):
    one = block[2]
    rules = one.rules().set_index("rule")
    assert rules.loc["QRS at least 120 ms", "holds"] == 6 and rules.loc["QRS at least 120 ms", "reference"] is False
    assert rules.loc["heart rate within 10 % of 70/min", "holds"] == 6
    assert one.doubts == () and one.validity == (1.0,) * 6
    wrong = explain(one.reference, one.twins, Condition(("atrial fibrillation", RBBB), heart_rate=120))
    said = " ".join(wrong.doubts)
    assert (
        "no P wave in front of QRS” holds in 0 of 6" in said
        and "heart rate within 10 % of 120/min” holds in 0 of 6" in said
    )


def test_nothing_changes_in_the_same_state():
    person = Person.draw(33)
    one = explain(
        simulate(person, "sinus rhythm", 70, seed=1),
        [simulate(person, "sinus rhythm", 70, seed=k) for k in range(2, 7)],
    )
    assert not [r for r in one.rows if r["clear"]]
    assert one.likeness.min() > 0.95 and one.doubts == ()


def test_a_stranger_is_named():
    person, rng = Person.draw(33), np.random.default_rng(0)
    x = simulate(person, "sinus rhythm", seed=1)
    upside = ECG(-x.signal + 0.01 * rng.standard_normal(x.signal.shape), 500, x.leads)
    assert "strangers" in " ".join(explain(x, [upside], Condition("sinus rhythm")).doubts)


def test_axes_turn_around_the_circle():
    assert circular_middle(np.array([170.0, -170.0, 180.0])) == pytest.approx(180, abs=1)
    one = row("qrs_axis", "", 175.0, "degrees", [-170.0, -175.0, -172.0])
    assert one["change"] == pytest.approx(13, abs=1) and one["clear"]


def test_not_measurable_is_said(block):
    one = row("pr", "", None, "ms", [None, None])
    assert one["twins"] is None and one["clear"] is None and one["measured"] == 0
    with pytest.raises(ValueError, match="no twins"):
        explain(block[0].ecg, [])


def test_candidates_are_ranked_and_none_is_lost(block):
    plain, twins, _ = block
    mixed = [plain.ecg.resample(102.4), *(t.ecg.resample(102.4) for t in twins[:3])]
    order = ranked(explain(plain.ecg, mixed, Condition(RBBB, heart_rate=70)))
    assert sorted(r.index for r in order) == [0, 1, 2, 3] and order[-1].index == 0
    judged = ranked(explain(plain.ecg, mixed, Condition(RBBB)), judge=lambda lead, rate: np.full(6, 0.25))
    assert all(r.judge == 0.25 and r.rate_error is None for r in judged)


def test_the_page_is_whole_and_asks_nobody(block, tmp_path):
    one = block[2]
    text = page(one, title="Müller & <b>", facts={"seed": 0})
    assert "Müller &amp; &lt;b&gt;" in text and "<script" not in text
    assert not re.search(r"(src|href)=[\"'](?!data:)", text) and "@import" not in text and "url(" not in text
    assert text.count("<img") == 1 + 1 + 4 and "not for clinical diagnosis" in text
    data = json.loads(one.json())
    assert len(data["changes"]) == len(one.rows) and data["samples"] == 6 and data["likeness"][0] > 0.3
    for ending in ("png", "svg", "pdf"):
        assert draw(one, tmp_path / f"a.{ending}").stat().st_size > 5000
    with pytest.raises(ValueError, match="png"):
        draw(one, tmp_path / "a.txt")
