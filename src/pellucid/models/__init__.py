"""Everything that knows transformers: a checkpoint and texts go in, a Problem comes out."""

from .load import load
from .model import Model

__all__ = ["Model", "load"]
