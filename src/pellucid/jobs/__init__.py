"""Data sets: explains all of one into a folder of Parquet files, opens it, and says what drives each class."""

from ._open import open
from ._run import run
from .mapping import mapper
from .stored import Run

__all__ = ["Run", "mapper", "open", "run"]
