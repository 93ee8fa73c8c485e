"""Reads data sets row by row: files of five formats, data sets of Hugging Face, frames, loaders and streams."""

from .finding import source_of
from .source import Source, Unreadable

__all__ = ["Source", "Unreadable", "source_of"]
