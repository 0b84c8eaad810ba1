import pytest
import torch

from ecgtwin.twin.condition import Condition, stack
from ecgtwin.twin.config import ModelConfig, TextConfig


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


def test_conditions_as_tensors():
    embed = lambda reports: [[float(len(r))] * 2 for r in reports]  # noqa: E731
    c = stack([Condition(("ab", "c"), "male", 64.25, 77.95), Condition(heart_rate=98.32), Condition()], embed, shapes(2, 4))
    assert c.tokens.shape == (3, 2, 5)
    torch.testing.assert_close(c.tokens[0, 0], torch.tensor([0.0, 0.0, -1.0, 2.0, 2.0]))
    torch.testing.assert_close(c.tokens[1, 0], torch.tensor([1.0, 0, 0, 0, 0]), atol=1e-5, rtol=0)
    assert c.mask.tolist() == [[True, True], [True, False], [True, False]]
    assert c.known.tolist() == [[True] * 3, [True, False, False], [False] * 3]
    assert c.keep_condition.tolist() == [True, True, False]


def test_too_many_statements_are_refused():
    with pytest.raises(ValueError, match="at most 2"):
        stack([Condition(("a", "b", "c"))], lambda r: [[0.0]] * len(r), shapes(1, 2))
