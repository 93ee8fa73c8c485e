"""Attention, taken apart: its logits, probabilities, values and output projection."""
