"""The folder of a run, on a disk or at an fsspec address: its shards, its manifest, and the lock that one run holds.

A file is there whole or not at all: it is written under a temporary name, flushed to the disk and renamed; an object
store puts a whole object or none. What is done is what the shards say, so a manifest that is a moment behind loses
nothing.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..sources.addresses import filesystem

Stamp = tuple[int, str]
"""The size of a file, and when it was written."""
MANIFEST = "manifest.json"
_TEMPORARY = ".writing-"
_WRITTEN = ("ETag", "etag", "LastModified", "last_modified", "updated", "mtime", "created", "md5Hash", "content_md5")
"""Under which names the file systems of fsspec say which version of a file is there."""
_HELD_FOR = 300.0
"""Seconds after which the lock of a run at an address, which nothing releases when its process is killed, is void
unless the run renews it."""


@dataclass(frozen=True)
class Folder:
    """Where a run is. path: a folder, or an fsspec address such as "s3://bucket/run"."""

    path: str

    @property
    def is_local(self) -> bool:
        return "://" not in self.path

    @property
    def _remote(self) -> tuple[Any, str]:
        return filesystem(self.path)

    @property
    def filesystem(self) -> Any:
        """What pyarrow reads the folder by; None for a disk."""
        return None if self.is_local else self._remote[0]

    def make(self) -> None:
        """Makes the folder."""
        if self.is_local:
            try:
                (Path(self.path) / "shards").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(f"Could not make the folder {self.path!r}: {error.strerror}.") from error

    def shards(self) -> list[str]:
        """The paths of the shards, in the order of their names."""
        if self.is_local:
            folder = Path(self.path) / "shards"
            return sorted(str(p) for p in folder.glob("*.parquet")) if folder.is_dir() else []
        fs, path = self._remote
        fs.invalidate_cache()
        try:
            return sorted(p for p in fs.ls(f"{path}/shards", detail=False) if p.endswith(".parquet"))
        except FileNotFoundError:
            return []

    def at(self, name: str) -> str:
        """The path of a file of the folder, as its file system knows it."""
        return str(Path(self.path) / name) if self.is_local else f"{self._remote[1]}/{name}"

    def stamps(self, under: str, suffix: str) -> dict[str, Stamp]:
        """The files of a folder in it whose names end so, by name, each with what tells it from another file that had
        or will have that name: an empty text instead of a time where a store does not say when a file was written."""
        if self.is_local:
            try:
                with os.scandir(Path(self.path) / under) as entries:
                    each = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(suffix)]
            except (FileNotFoundError, NotADirectoryError):
                return {}
            return {name: (told.st_size, f"{told.st_mtime_ns}-{told.st_ctime_ns}") for name, told in sorted(each)}
        fs, path = self._remote
        fs.invalidate_cache()
        try:
            found = fs.ls(f"{path}/{under}", detail=True)
        except FileNotFoundError:
            return {}
        stamps: dict[str, Stamp] = {}
        for told in sorted(found, key=lambda told: told["name"]):
            name = told["name"].rsplit("/", 1)[-1]
            when = [str(told[key]) for key in _WRITTEN if told.get(key)]
            if name.endswith(suffix):
                stamps[name] = (told["size"], "-".join(when))
        return stamps

    def remove(self, name: str) -> None:
        """Removes a file of the folder, where it is there."""
        if self.is_local:
            Path(self.at(name)).unlink(missing_ok=True)
        else:
            self._remote[0].rm_file(self.at(name))

    def write(self, name: str, content: bytes) -> int:
        """Writes a file of the folder, whole or not at all. Returns its size. Raises RunError without room."""
        if not self.is_local:
            fs, path = self._remote
            fs.pipe_file(f"{path}/{name}", content)
            return len(content)
        path = Path(self.path) / name
        temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}")
        try:
            path.parent.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync(path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RunError(
                f"Could not write {str(path)!r}: {error.strerror}. What was written before is whole; the same command "
                "goes on from there."
            ) from error
        return len(content)

    def read(self, name: str) -> bytes | None:
        """The content of a file of the folder; None where there is none."""
        if self.is_local:
            path = Path(self.path) / name
            return path.read_bytes() if path.is_file() else None
        fs, path = self._remote
        return fs.cat_file(f"{path}/{name}") if fs.exists(f"{path}/{name}") else None

    def manifest(self) -> dict[str, Any] | None:
        """The manifest; None where no run has begun here. Raises RunError for another file of that name."""
        content = self.read(MANIFEST)
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError as error:
            raise RunError(f"{self.path}/{MANIFEST} is not what `pellucid run` writes: {error}.") from error

    def write_manifest(self, told: Mapping[str, Any]) -> None:
        self.write(MANIFEST, json.dumps(told, indent=2, ensure_ascii=False).encode())

    @contextmanager
    def locked(self) -> Iterator[_Lock]:
        """Inside, no other run may write here. What a killed run left unfinished is removed. Raises RunError where
        another run holds the folder."""
        if self.is_local:
            with _locked_disk(Path(self.path)) as lock:
                for under in (".", "shards", "_index"):
                    for file in (Path(self.path) / under).glob(f"{_TEMPORARY}*"):
                        file.unlink(missing_ok=True)
                yield lock
            return
        lock = _Lock(self, uuid.uuid4().hex)
        held = json.loads(self.read("lock.json") or b"{}")
        if held and time.time() - held["at"] < _HELD_FOR:
            raise _held(self.path, f"since {time.time() - held['at']:.0f} s, by process {held['process']}")
        lock.renew()
        try:
            yield lock
        finally:
            fs, path = self._remote
            fs.rm_file(f"{path}/lock.json")


@dataclass
class _Lock:
    """A lock that is held; one at an address is renewed from time to time."""

    folder: Folder | None = None
    token: str = ""
    renewed: float = 0.0

    def renew(self) -> None:
        """Says that the run is alive, at most once in ten seconds."""
        if self.folder is not None and time.time() - self.renewed > 10:
            self.renewed = time.time()
            said = {"at": self.renewed, "process": os.getpid(), "token": self.token}
            self.folder.write("lock.json", json.dumps(said).encode())


@contextmanager
def _locked_disk(path: Path) -> Iterator[_Lock]:
    """The operating system releases the lock when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        take = lambda file: msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        take = lambda file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        file = (path / ".lock").open("a+b")
    except OSError as error:
        raise RunError(f"Could not open the folder {str(path)!r}: {error.strerror}.") from error
    with file:
        try:
            take(file)
        except OSError as error:
            raise _held(str(path), "") from error
        yield _Lock()


def _held(path: str, more: str) -> RunError:
    return RunError(
        f"Another run writes to {path!r} at this moment{' (' + more + ')' if more else ''}; expected a folder of its "
        "own for each run. Wait until the other has ended, or name another folder."
    )


def _sync(folder: Path) -> None:
    """Makes the renaming of a file last through a power cut."""
    if os.name == "posix":
        there = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(there)
        finally:
            os.close(there)
