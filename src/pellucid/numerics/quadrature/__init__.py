"""Integration on [0, 1]: fixed rules, and rules that add points until the error is small enough."""
