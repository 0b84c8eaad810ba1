import math

import torch

from ecgtwin.train.batch import stream
from ecgtwin.training.condition_table import ConditionTable, Drop, rarity
from ecgtwin.twin.condition import Condition, stack
from ecgtwin.twin.config import ModelConfig, TextConfig

NAMES = ("atrial fibrillation", "sinus rhythm", "sinus bradycardia", "sinus tachycardia", "normal ECG")
AF, SR, SB, ST, NORM = range(5)
EMBEDDINGS = torch.eye(5)


def labels(statements, rates=75.0, age=40.0, sex=1.0):
    n = len(statements)
    longest = max(map(len, statements))
    ids = torch.tensor([list(row) + [-1] * (longest - len(row)) for row in statements], dtype=torch.int16)
    rates = torch.full((n, 1), rates) if isinstance(rates, float) else torch.tensor(rates)
    return ConditionTable(ids, rates, torch.full((n,), age), torch.full((n,), sex), NAMES, EMBEDDINGS)


def batch(made):
    rows = torch.arange(len(made.statements))
    return made.conditions(rows, torch.zeros_like(rows))


def test_labels_equal_conditions_stacked_one_by_one():
    made = labels([(AF, NORM), (), (SR,)], rates=[[75.0], [math.nan], [90.0]])
    expected = stack(
        [
            Condition((NAMES[AF], NAMES[NORM]), "female", 40, 75),
            Condition((), "female", 40, None),
            Condition((NAMES[SR],), "female", 40, 90),
        ],
        lambda reports: EMBEDDINGS[[NAMES.index(r) for r in reports]].numpy(),
        ModelConfig(text=TextConfig(width=5, statements=5)),
    )
    found = batch(made)
    torch.testing.assert_close(found.tokens * found.mask[..., None], expected.tokens * expected.mask[..., None])
    assert torch.equal(found.mask, expected.mask) and torch.equal(found.known, expected.known)
    unknown = batch(labels([(AF,)], age=math.nan, sex=0.0))
    assert unknown.known.tolist() == [[True, False, False]] and unknown.tokens.isfinite().all()


def test_dropping_is_per_sample_and_repeats():
    whole = batch(labels([(AF, NORM)] * 400))
    a, b = (Drop.draw(400, stream(5), condition=0.25, base=0.5, field=0.1).apply(whole) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True) if x is not None)
    assert 0.15 < 1 - a.keep_condition.float().mean() < 0.35
    assert 0.4 < 1 - a.keep_base.float().mean() < 0.6
    assert 0.05 < 1 - a.known.float().mean() < 0.15
    assert (a.tokens[~a.known[:, 0], :, 0] == 0).all()
    untouched = Drop.draw(400, stream(5), condition=0, base=0, field=0).apply(whole)
    assert all(torch.equal(x, y) for x, y in zip(untouched, whole, strict=True) if x is not None)


def test_rare_statements_are_drawn_more_often():
    weight = rarity(torch.tensor([[AF, -1]] * 90 + [[SR, AF]] * 10), len(NAMES), floor=1)
    assert abs(weight.mean().item() - 1) < 1e-6
    assert abs((weight[-1] / weight[0]).item() - 10**0.5) < 1e-4


def test_statements_follow_the_heart_rate():
    def at(statements, rate):
        made = labels([statements])
        ids = made.at(made.statements.long(), torch.tensor([rate]))[0]
        return [int(k) for k in ids if k >= 0]

    assert at((SR, NORM), 75.0) == [SR, NORM]
    assert at((SR, NORM), 120.0) == [ST]
    assert at((AF, ST), 50.0) == [AF, SB]
    assert at((AF,), 130.0) == [AF]
    assert at((SR,), math.nan) == [SR]
    assert at((SR, ST), 70.0) == [SR]
