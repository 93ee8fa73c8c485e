"""Evaluation: how faithful the methods are to a model, measured on its own data."""

from .measuring import evaluate
from .randomising import Shuffled, cascading_randomisation
from .result import Evaluation
from .rows import Cell, MeanCurve, Row

__all__ = ["Cell", "Evaluation", "MeanCurve", "Row", "Shuffled", "cascading_randomisation", "evaluate"]
