"""An Explanation → what a person reads: `terminal`, `html`, `plots`, and the `files` that hold them."""
