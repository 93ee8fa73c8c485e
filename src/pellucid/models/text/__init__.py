"""From a text to token ids and back: what a user may pass in, its tokens, and which of them belong together."""
