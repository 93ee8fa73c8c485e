"""Embedding look-ups of integer inputs: the calls that make them, and the integers that each result came from."""
