"""Edits that matter: the fewest words that keep a prediction, and the fewest replacements that change it."""

from .flipping import Flip, flip
from .judging import check_classifies
from .reduction import Reduction, reduce

__all__ = ["Flip", "Reduction", "check_classifies", "flip", "reduce"]
