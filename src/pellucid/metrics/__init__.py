"""Metrics of explanations: how well a ranking of the words says what the model's output depends on."""
