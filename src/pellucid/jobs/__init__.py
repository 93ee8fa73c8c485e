"""Data sets: explains all of one into a folder of Parquet files, opens it, and says what drives each class."""

from ..errors import MissingExtra

try:
    import pyarrow as pyarrow
except ImportError as error:
    raise MissingExtra("Data sets are explained and read with pyarrow: pip install 'pellucid[jobs]'.") from error

from ._open import open
from ._run import run
from .mapping import mapper
from .stored import Run

__all__ = ["Run", "mapper", "open", "run"]
