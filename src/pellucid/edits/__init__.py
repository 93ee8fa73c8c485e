"""Edits that matter: the fewest words that keep a prediction, and the fewest replacements that change it."""

from .flipping import Flip, flip
from .reduction import Reduction, reduce

__all__ = ["Flip", "Reduction", "flip", "reduce"]
