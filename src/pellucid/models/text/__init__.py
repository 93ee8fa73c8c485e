"""From a text to token ids and back: what a user may pass in, and its tokens. Nothing here knows a network."""
