"""The manifest of a run: what was asked of which model, and whether the same is asked again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from ..errors import RunError, quoted
from ..models import Model
from ..request import Request
from ..version import __version__
from .identity import identity

VERSION = 1


def now() -> str:
    """The time of day as a manifest has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def manifest(model: Model, request: Request, data: Mapping[str, Any], shard_rows: int) -> dict[str, Any]:
    """The manifest of a run that begins. data: its name and columns, and which of its rows. Its threads, those of a
    process, are chosen later."""
    return {
        "manifest_version": VERSION,
        "request": request.to_dict(),
        "request_digest": request.digest,
        "model": identity(model),
        "data": dict(data),
        "versions": {"pellucid": __version__, **{n: version(n) for n in ("torch", "transformers", "pyarrow")}},
        "shard_rows": shard_rows,
        "threads": None,
        "began": now(),
    }


def continued(before: Mapping[str, Any], asked: dict[str, Any], shard_rows: int | None, path: str) -> dict[str, Any]:
    """The manifest of a run that goes on. before: that of the folder. shard_rows: as asked. Raises RunError where
    another question is asked now."""
    differs = _differences(before, asked)
    if shard_rows is not None and shard_rows != before["shard_rows"]:
        differs.append(f"shard_rows is {before['shard_rows']} there and {shard_rows} here")
    if differs:
        raise RunError(
            f"{path!r} holds the answers to another question: {'; '.join(differs)}. Expected the same request, model, "
            "columns and sample. Name another folder, or ask as before."
        )
    return {**asked, **{name: before[name] for name in ("shard_rows", "threads", "began")}}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the manifest of a folder and what is asked now, as clauses."""
    found: list[str] = []
    if before["request_digest"] != now["request_digest"]:
        old, new = before["request"], now["request"]
        names = [k for k in new if json.dumps(old.get(k), sort_keys=True) != json.dumps(new[k], sort_keys=True)]
        found += [f"{name} is {quoted(old.get(name), 60)} there and {quoted(new[name], 60)} here" for name in names]
    if before["model"]["digest"] != now["model"]["digest"]:
        a, b = before["model"], now["model"]
        files = [f for f in {*a["files"], *b["files"]} if a["files"].get(f) != b["files"].get(f)]
        more = f", which differ in {', '.join(sorted(files))}" if a["name"] == b["name"] and files else ""
        names = f"{a['name']} ({a['digest'][:8]}) there and {b['name']} ({b['digest'][:8]}) here"
        found.append(f"the model is {names}{more}")
    old, new = before["data"]["columns"], now["data"]["columns"]
    if old != new:
        found.append(f"the columns are {quoted(old, 90)} there and {quoted(new, 90)} here")
    old, new = _sample(before["data"]), _sample(now["data"])
    if old != new:
        found.append(f"the rows are {old} there and {new} here")
    if before["model"]["device"] != now["model"]["device"]:
        found.append(f"the device is {before['model']['device']} there and {now['model']['device']} here")
    return found


def _sample(data: Mapping[str, Any]) -> str:
    """Which rows of the data are asked for, without a limit, which may grow."""
    if data["sample"] is None:
        return "those from the beginning"
    within = "" if data["limit"] is None else f" of the first {data['limit']}"
    return f"a sample of {data['sample']}{within}, drawn with {data.get('seed')}"
