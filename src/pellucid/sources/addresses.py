"""Files by path, pattern or fsspec address, and their formats by name."""

from __future__ import annotations

import glob
import gzip
import os
from pathlib import Path
from typing import IO, Any

from ..errors import InputError, MissingExtra

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
}
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


def format_of(name: str) -> str | None:
    """The format of a file by its name, that of what is compressed by the name without its last suffix; None for a name
    that says none.

    Examples:
        >>> format_of("reviews/a.JSONL"), format_of("a.csv.gz"), format_of("a.doc")
        ('jsonl', 'csv', None)
    """
    low = name.lower()
    low = next((low.removesuffix(c) for c in _COMPRESSED if low.endswith(c)), low)
    return next((kind for suffix, kind in FORMATS.items() if low.endswith(suffix)), None)


def matching(pattern: str) -> list[str]:
    """The files that a path, a pattern or an address means. Raises InputError where there are none."""
    if "://" in pattern:
        fs, path = filesystem(pattern)
        try:
            found = sorted(fs.glob(path)) if any(c in path for c in "*?[") else [path] if fs.exists(path) else []
        except OSError as error:
            raise InputError(
                f"Could not read {pattern!r}: {error}. Expected an address that can be reached."
            ) from error
        found = [fs.unstrip_protocol(f) for f in found]
    else:
        found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise InputError(f"There is no file {pattern!r}; expected a path, a pattern or an address of at least one.")
    return found


def filesystem(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it. Raises MissingExtra."""
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra(f"{address!r} is read by fsspec: pip install 'pellucid[jobs]'") from error
    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise MissingExtra(f"{address!r} cannot be opened: {error}") from error


def opened(path: str) -> IO[bytes]:
    """A file or an address, unpacked where its name says that it is compressed. Raises InputError."""
    try:
        if "://" in path:
            fs, inner = filesystem(path)
            return fs.open(inner, "rb", compression="infer")
        if path.lower().endswith(".gz"):
            return gzip.open(path, "rb")  # type: ignore[return-value]
        if path.lower().endswith(_COMPRESSED):
            import fsspec

            opening: Any = fsspec.open(path, "rb", compression="infer")
            return opening.open()
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"Could not read {path!r}: {reason}. Expected a file that can be opened.") from error
