"""`pellucid.open`: what a run wrote, read as it is needed."""

from __future__ import annotations

import os

from ..errors import RunNotFound
from .folder import Folder
from .stored import Run


def open(out: str | os.PathLike[str]) -> Run:
    """The Run in a folder, or at an fsspec address. Nothing is read before it is asked for.

    Raises RunNotFound where no run has begun there.

    Examples:
        >>> import pellucid, tempfile
        >>> with tempfile.TemporaryDirectory() as out:
        ...     _ = pellucid.run(pellucid.load(), ["a good film", "a dull film"], out)
        ...     [e.text for e in pellucid.open(out).where(prediction="negative")]
        ['a dull film']
    """
    folder = Folder(os.fspath(out))
    if folder.manifest() is None:
        raise RunNotFound(
            f"There is no run in {folder.path!r}; expected a folder that `pellucid run DATA --out` wrote."
        )
    return Run(folder)
