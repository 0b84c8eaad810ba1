"""A data set as one folder: `Store` opens one, `prepare` and `collect` make one."""

from ..files.fields import SEXES
from ..quality import BAD, FLAGS, bits
from .columns import FORMAT, GAIN, SPLITS
from .store import Store

__all__ = ["BAD", "FLAGS", "FORMAT", "GAIN", "SEXES", "SPLITS", "Store", "bits"]
