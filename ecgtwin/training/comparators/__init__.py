"""Generators of other kinds, small, on the same core: rows beside the twin in an evaluation. None sees a reference, so
what they draw is of nobody in particular."""
