"""`python -m pellucid`."""

from .cli import main

main()
