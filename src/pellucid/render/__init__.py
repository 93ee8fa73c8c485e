"""A View drawn for a person: in the `terminal`, as `html`, as `plots`, and the `files` that hold them."""
