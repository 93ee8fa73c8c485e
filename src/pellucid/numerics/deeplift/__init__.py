"""Exact DeepLIFT: the lockstep walk over two autograd graphs, its rules, and what is recorded for them."""
