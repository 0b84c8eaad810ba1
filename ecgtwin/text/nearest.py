"""Free text: the statements of a table that mean most nearly what a sentence says, for a person to confirm."""

from typing import NamedTuple

import numpy as np

from .encoder import ReportEncoder
from .table import StatementTable


class Near(NamedTuple):
    """A statement and the cosine of its vector with the sentence's, both less the mean of the table: 1 is the same.

    Of eleven sentences in the tests seven have their statement first and all among the first five (raw vectors: ten;
    whitened ones, which are made for the table's own statements: ten).
    """

    statement: str
    cosine: float

    def __str__(self) -> str:
        return f"{self.statement} ({self.cosine:.2f})"


def nearest(table: StatementTable, encoder: ReportEncoder, text: str, n: int = 5) -> tuple[Near, ...]:
    """The n nearest statements, best first. ValueError for an empty text, or an encoder that did not make the table.

    A guess, never a reading: encoders put opposites close together ("no fibrillation",
    "fibrillation"). Nothing here decides.
    """
    if not text.strip():
        raise ValueError("an empty sentence: expected a finding, such as 'the atria fibrillate'")
    table.check(encoder)
    centre = table.raw.mean(0, dtype=np.float64)
    raw, vector = table.raw - centre, np.asarray(encoder.encode([text.strip()])[0], np.float64) - centre
    cosines = raw @ vector / (np.linalg.norm(raw, axis=1) * np.linalg.norm(vector) + 1e-12)
    order = np.argsort(-cosines, kind="stable")[:n]
    return tuple(Near(table.statements[k], float(cosines[k])) for k in order)
