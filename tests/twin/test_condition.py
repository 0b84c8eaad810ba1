import pytest
import torch

from ecgtwin.text.statements import KIND
from ecgtwin.twin.condition import Condition, stack
from ecgtwin.twin.config import ModelConfig, TextConfig
from ecgtwin.twin.contradictions import APART, ELSEWHERE, RATES, SINUS, contradictions


def shapes(width, statements):
    return ModelConfig(text=TextConfig(width=width, statements=statements))


def test_a_text_is_split_and_cleaned():
    assert Condition("a | b||a ").reports == ("a", "b")
    assert Condition(["x"]).reports == ("x",)
    assert Condition().empty and not Condition(age=0).empty


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"age": 400}, "age 400: expected 0-120"),
        ({"age": -1}, "age -1"),
        ({"heart_rate": -5}, "heart rate -5: expected 20-300"),
        ({"heart_rate": float("nan")}, "heart rate nan"),
        ({"sex": "F"}, "'female', 'male'"),
    ],
)
def test_the_impossible_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Condition(**given)


@pytest.mark.parametrize(
    "given", [{"reports": 5}, {"reports": b"AF"}, {"reports": [1]}, {"age": "63"}, {"heart_rate": [70]}, {"age": True}]
)
def test_other_types_are_refused_with_what_to_write(given):
    with pytest.raises(TypeError, match="expected"):
        Condition(**given)
    with pytest.raises(ValueError, match="female"):
        Condition(sex=["x"])


def test_what_is_not_given_comes_from_others():
    first, second = Condition(sex="male"), Condition(sex="female", age=50, heart_rate=70)
    assert Condition("a").or_of(first, second) == Condition("a", "male", 50)
    assert Condition("a", age=3).or_of() == Condition("a", age=3)


@pytest.mark.parametrize(
    ("reports", "rate", "words"),
    [
        (["sinus bradycardia"], 130, "60 or less"),
        (["sinus tachycardia"], 70, "100 or more"),
        (
            ["normal ECG", "complete left bundle branch block"],
            None,
            "'normal ECG' and 'complete left bundle branch block'",
        ),
        (["sinus rhythm", "atrial fibrillation"], 80, "one rhythm at a time"),
        (["complete left bundle branch block", "complete right bundle branch block"], None, "exclude"),
        ([], 20, "30 to 220"),
    ],
)
def test_contradictions_are_named(reports, rate, words):
    (line,) = contradictions(reports, rate)
    assert words in line


@pytest.mark.parametrize(
    ("reports", "rate"),
    [
        (["normal ECG", "sinus rhythm"], 75),
        (["normal ECG", "sinus bradycardia"], 52),
        (["atrial fibrillation", "complete left bundle branch block"], 140),
        (["sinus rhythm", "first degree AV block"], None),
        (["sinus tachycardia"], None),
        ([], None),
    ],
)
def test_what_fits_together_is_no_contradiction(reports, rate):
    assert contradictions(reports, rate) == ()


def test_every_statement_of_the_rules_is_one_of_the_vocabulary():
    named = {*SINUS, *ELSEWHERE, *RATES, *(name for pair in APART for name in pair)}
    assert named <= set(KIND)


def test_conditions_as_tensors():
    embed = lambda reports: [[float(len(r))] * 2 for r in reports]  # noqa: E731
    c = stack(
        [Condition(("ab", "c"), "male", 64.25, 77.95), Condition(heart_rate=98.32), Condition()], embed, shapes(2, 4)
    )
    assert c.tokens.shape == (3, 2, 5)
    torch.testing.assert_close(c.tokens[0, 0], torch.tensor([0.0, 0.0, -1.0, 2.0, 2.0]))
    torch.testing.assert_close(c.tokens[1, 0], torch.tensor([1.0, 0, 0, 0, 0]), atol=1e-5, rtol=0)
    assert c.mask.tolist() == [[True, True], [True, False], [True, False]]
    assert c.known.tolist() == [[True] * 3, [True, False, False], [False] * 3]
    assert c.keep_condition.tolist() == [True, True, False]


def test_too_many_statements_are_refused():
    with pytest.raises(ValueError, match="at most 2"):
        stack([Condition(("a", "b", "c"))], lambda r: [[0.0]] * len(r), shapes(1, 2))
