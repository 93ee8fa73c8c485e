"""Recording: a forward pass runs as it is, and what autograd does not keep is written down on its nodes."""
