"""The engine: runs a function many times, in batches that fit into memory. Nothing here knows a transformer."""
