"""The process of a worker: `python -m pellucid.jobs.worker FILE`."""

import sys

from .workers import serve

if __name__ == "__main__":
    serve(sys.argv[1])
