"""Work that several runs share: each takes every n-th piece."""

import re
from reprlib import repr as brief
from typing import NamedTuple


class Turn(NamedTuple):
    """The k-th (from 1) of n runs."""

    k: int
    n: int

    @classmethod
    def of(cls, text: str) -> "Turn":
        """ "2/8". ValueError for anything else."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"shard {brief(text)}: expected K/N, such as 2/8 for the second of eight runs")
        return cls(int(found[1]), int(found[2]))

    def takes(self, piece: int) -> bool:
        """Whether a piece, counted from 0, is its own."""
        return piece % self.n == self.k - 1

    def __str__(self) -> str:
        return f"{self.k}-of-{self.n}"
