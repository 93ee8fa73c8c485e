"""Evaluation: how faithful the methods are to a model, measured on its own data."""
