import torch

from ecgtwin.train.loop import stream
from ecgtwin.twin.bank import codes_at
from ecgtwin.twin.condition import Condition, stack
from ecgtwin.twin.labels import Labels, drop, rarity

NAMES = ("a", "b", "c")
EMBEDDINGS = torch.eye(3).numpy()
CONDITIONS = [
    [Condition(("a", "c"), "female", 40, 60), Condition(("b",), "female", 40, 90)],
    [Condition((), None, None, 75), Condition((), None, None, None)],
]


def test_labels_equal_conditions_stacked_one_by_one():
    labels = Labels.of(CONDITIONS, NAMES, EMBEDDINGS)
    batch = labels.conditions(torch.tensor([0, 1]), torch.tensor([0, 0]))
    embed = lambda reports: EMBEDDINGS[[NAMES.index(r) for r in reports]]  # noqa: E731
    expected = stack([CONDITIONS[0][0], CONDITIONS[1][0]], embed, 3, 5)
    torch.testing.assert_close(batch.tokens * batch.mask[..., None], expected.tokens * expected.mask[..., None])
    assert torch.equal(batch.mask, expected.mask) and torch.equal(batch.known, expected.known)


def test_dropping_is_per_sample_and_repeats():
    labels = Labels.of([CONDITIONS[0]] * 400, NAMES, EMBEDDINGS)
    batch = labels.conditions(torch.arange(400), torch.zeros(400, dtype=torch.long))
    a, b = (drop(batch, stream(5), condition=0.25, base=0.5, field=0.1) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert 0.15 < 1 - a.keep_condition.float().mean() < 0.35
    assert 0.4 < 1 - a.keep_base.float().mean() < 0.6
    assert 0.05 < 1 - a.known.float().mean() < 0.15
    assert (a.tokens[~a.known[:, 0], :, 0] == 0).all()
    untouched = drop(batch, stream(5), condition=0, base=0, field=0)
    assert all(torch.equal(x, y) for x, y in zip(untouched, batch, strict=True))


def test_rare_statements_are_drawn_more_often():
    rows = [[Condition(("a",))]] * 90 + [[Condition(("b",))]] * 10
    labels = Labels.of(rows, NAMES, EMBEDDINGS)
    weight = rarity(labels, torch.ones(100, dtype=torch.bool), floor=1)
    assert weight.mean().item() == 1.0 or abs(weight.mean().item() - 1) < 1e-6
    assert abs((weight[-1] / weight[0]).item() - 3) < 1e-4


def test_codes_follow_the_heart_rate():
    assert codes_at(["NORM", "SR"], 75) == ("NORM", "SR")
    assert codes_at(["NORM", "SR"], 120) == ("STACH",)
    assert codes_at(["STACH", "LVH"], 50) == ("SBRAD", "LVH")
    assert codes_at(["AFIB"], 130) == ("AFIB",)
    assert codes_at(["SR"], float("nan")) == ("SR",)
