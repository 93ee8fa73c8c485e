"""The engine: evaluates a Problem in batches that fit into memory. Nothing here knows a transformer or a method."""
