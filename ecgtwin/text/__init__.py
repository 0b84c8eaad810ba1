"""Report statements: the vocabulary, synonyms and codes that lead to it, and the vectors that networks read."""

from .encoder import CachedEncoder, NomicEncoder, ReportEncoder, SentenceTransformerEncoder
from .phrases import from_phrase
from .statements import Assumption, Vocabulary, from_scp, from_snomed
from .table import StatementTable

__all__ = [
    "Assumption",
    "CachedEncoder",
    "NomicEncoder",
    "ReportEncoder",
    "SentenceTransformerEncoder",
    "StatementTable",
    "Vocabulary",
    "from_phrase",
    "from_scp",
    "from_snomed",
]
