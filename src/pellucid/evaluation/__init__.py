"""Evaluation: how faithful the methods are to a model, measured on its own data."""

from .measuring import evaluate
from .result import Cell, Evaluation, Row

__all__ = ["Cell", "Evaluation", "Row", "evaluate"]
