"""The arithmetic: the lockstep walk, its rules, and quadrature tables. Nothing here knows a transformer."""
