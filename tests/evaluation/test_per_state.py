"""Which real ECGs stand for a state beside twins of it."""

from ecgtwin.evaluation.per_state import ENOUGH, SINUS, shown_by

RIGHT, FASCICULAR = "complete right bundle branch block", "left anterior fascicular block"


def test_ecgs_of_a_state_alone_stand_for_it_where_there_are_enough():
    both, alone, other = {"sinus rhythm", RIGHT, FASCICULAR}, {"sinus rhythm", RIGHT}, {"sinus rhythm", "normal ECG"}
    asked = ("sinus rhythm", RIGHT)
    said = [both, other, *[alone] * ENOUGH]
    assert shown_by(said, asked).tolist() == list(range(2, 2 + ENOUGH))
    assert shown_by(said[:-1], asked).tolist() == [0, *range(2, 1 + ENOUGH)]  # too few alone: all of them
    assert shown_by([{RIGHT, "atrial fibrillation"}] * ENOUGH, asked).size == ENOUGH  # in any rhythm
    assert shown_by(said, SINUS).tolist() == [1]
    assert shown_by([other], ("paced rhythm",)).tolist() == []
